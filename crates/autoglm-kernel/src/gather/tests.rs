use super::*;
use crate::test_data::{bits, pool, values};

const WIDTHS: [usize; 6] = [1, 15, 16, 17, 130, 1_000];

#[test]
fn gathered_rows_are_those_asked_for_in_that_order() {
    for width in WIDTHS {
        let x = values(1, 50 * width);
        let rows: Vec<u32> = [7, 0, 49, 7, 3].repeat(9);
        let expected: Vec<f32> = rows
            .iter()
            .flat_map(|row| x[*row as usize * width..][..width].to_vec())
            .collect();
        for threads in 1..=3 {
            let mut found = vec![f32::NAN; 3];
            gather_rows(&pool(threads), &x, width, &rows, &mut found);
            assert_eq!(bits(&found), bits(&expected), "{width} columns");
        }
    }
}

#[test]
fn rows_are_added_with_one_rounding_and_others_stay() {
    for width in WIDTHS {
        let y = values(1, 60 * width);
        let rows: Vec<u32> = (0..60).filter(|row| row % 7 < 3).collect();
        let (x, weights) = (values(2, rows.len() * width), values(3, rows.len()));
        let mut expected = y.clone();
        for (i, row) in rows.iter().enumerate() {
            for column in 0..width {
                let y = &mut expected[*row as usize * width + column];
                *y = weights[i].mul_add(x[i * width + column], *y);
            }
        }
        for variant in Variant::all() {
            for threads in 1..=3 {
                let mut found = y.clone();
                let which = (&*rows, &*weights);
                scatter_rows_with(variant, &pool(threads), (&x, width), which, &mut found);
                assert_eq!(
                    bits(&found),
                    bits(&expected),
                    "{width} columns, {variant:?}"
                );
            }
        }
    }
}

#[test]
#[should_panic(expected = "scatter_rows: rows do not ascend")]
fn a_row_that_occurs_twice_is_refused() {
    scatter_rows(
        &pool(1),
        &[1.0; 4],
        2,
        (&[1, 1], &[1.0, 1.0]),
        &mut [0.0; 8],
    );
}

#[test]
#[should_panic(expected = "range 8..10 of a slice of 8 elements")]
fn a_row_beyond_the_end_is_refused() {
    scatter_rows(&pool(1), &[1.0; 2], 2, (&[4], &[1.0]), &mut [0.0; 8]);
}
