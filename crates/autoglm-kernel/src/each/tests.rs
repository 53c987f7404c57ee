use super::*;
use crate::format::BlockFormat;
use crate::random::{Random, random_weights};
use crate::test_data::{bits, pool, values};

fn matrices(format: BlockFormat, count: usize, rows: usize, cols: usize) -> Vec<PackedMatrix> {
    let mut random = Random::new(5);
    (0..count)
        .map(|_| {
            let bytes = random_weights(&mut random, format, rows, cols);
            PackedMatrix::pack(&pool(1), format, rows, cols, &bytes).unwrap()
        })
        .collect()
}

#[test]
fn each_product_has_the_bits_of_one_alone() {
    let (rows, cols) = (40, 96);
    for format in [BlockFormat::F32, BlockFormat::Q8_0, BlockFormat::Q4_1] {
        for (count, tokens) in [(1, 3), (5, 1), (3, 20), (4, 0)] {
            let w = matrices(format, count, rows, cols);
            let x = values(1, count * tokens * cols);
            let mut expected = vec![0.0; count * tokens * rows];
            for n in 0..count {
                let mut activations = Activations::new();
                let x = &x[n * tokens * cols..][..tokens * cols];
                activations.load(&pool(1), x, cols);
                let y = &mut expected[n * tokens * rows..][..tokens * rows];
                matmul(&pool(1), &w[n], &activations, y);
            }
            let mut scratch = Vec::new();
            for threads in 1..=3 {
                let mut found = vec![f32::NAN; expected.len()];
                matmul_each(&pool(threads), &w, &x, &mut scratch, &mut found);
                assert_eq!(bits(&found), bits(&expected), "{count} by {tokens}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "matmul_each: elements of x and y for 2 matrices of 16 rows by 32")]
fn a_part_of_a_row_is_refused() {
    let w = matrices(BlockFormat::F32, 2, 16, 32);
    matmul_each(&pool(1), &w, &[0.0; 65], &mut Vec::new(), &mut [0.0; 32]);
}
