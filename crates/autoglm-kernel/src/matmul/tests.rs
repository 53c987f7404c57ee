use std::num::NonZeroUsize;
use std::rc::Rc;

use proptest::prelude::*;

use super::{Kernels, Product, matmul_all_with, matmul_rows_with, matmul_with};
use crate::activation::Activations;
use crate::format::{BlockFormat, dequantize};
use crate::isa::Isa;
use crate::pack::PackedMatrix;
use crate::pool::Pool;
use crate::random::{Random, random_weights};

/// A matrix and its inputs, kept in every form that a test looks at.
struct Case {
    pool: Pool,
    packed: PackedMatrix,
    /// The weights in single precision.
    w: Vec<f32>,
    /// What the weights would be with all integers zero: the minima.
    mins: Vec<f32>,
    x: Vec<f32>,
    tokens: usize,
}

impl Case {
    fn new(format: BlockFormat, (rows, cols): (usize, usize), tokens: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let bytes = random_weights(&mut random, format, rows, cols);
        let x = random.numbers(tokens * cols);
        Self::of(format, (rows, cols), &bytes, x)
    }

    fn of(format: BlockFormat, (rows, cols): (usize, usize), bytes: &[u8], x: Vec<f32>) -> Self {
        let pool = pool(2);
        let mut w = vec![0.0; rows * cols];
        dequantize(format, bytes, &mut w);
        Self {
            packed: PackedMatrix::pack(&pool, format, rows, cols, bytes).unwrap(),
            pool,
            w,
            mins: minima(format, bytes, rows * cols),
            tokens: x.len() / cols,
            x,
        }
    }

    /// The case, and where its weights can round activations the case in which they do.
    fn all(self) -> Vec<Self> {
        if self.packed.format() != BlockFormat::Bf16 {
            return vec![self];
        }
        let bytes: Vec<u8> = self
            .w
            .iter()
            .flat_map(|w| half::bf16::from_f32(*w).to_le_bytes())
            .collect();
        let shape = (self.packed.rows(), self.packed.cols());
        let mut rounding = Self::of(BlockFormat::Bf16, shape, &bytes, self.x.clone());
        rounding.packed = rounding.packed.rounding_activations();
        assert!(rounding.packed.rounds_activations());
        vec![self, rounding]
    }

    /// All of these with every instruction set.
    fn on_all(self) -> impl Iterator<Item = (Rc<Self>, Isa)> {
        let all = self.all().into_iter().map(Rc::new);
        all.flat_map(|case| available().map(move |isa| (case.clone(), isa)))
    }

    fn product(&self, isa: Isa, pool: &Pool) -> Vec<f32> {
        self.product_of(isa, pool, &self.x)
    }

    fn product_of(&self, isa: Isa, pool: &Pool, x: &[f32]) -> Vec<f32> {
        self.product_with(Kernels::of(isa), pool, x)
    }

    fn product_with(&self, kernels: &Kernels, pool: &Pool, x: &[f32]) -> Vec<f32> {
        let mut activations = Activations::new();
        activations.load(pool, x, self.packed.cols());
        let mut y = vec![f32::NAN; activations.rows() * self.packed.rows()];
        matmul_with(kernels, pool, &self.packed, &activations, &mut y);
        y
    }

    /// The exact product and how far a kernel may be from it.
    ///
    /// A value of `x` is off by half a step, which is 1/254 of the largest of its block. The chain
    /// has at most two operations a block and each rounds at most three times, less than `cols`
    /// roundings of sums of products of `|d·q| + |m| <= |w| + 2|m|`.
    fn oracle(&self, token: usize, row: usize) -> (f64, f64) {
        let cols = self.packed.cols();
        let of_row = row * cols..(row + 1) * cols;
        let weights = self.w[of_row.clone()].chunks(32);
        let mins = self.mins[of_row].chunks(32);
        let x = self.x[token * cols..(token + 1) * cols].chunks(32);
        let (mut sum, mut step, mut magnitude) = (0.0, 0.0, 0.0);
        for ((w, m), x) in weights.zip(mins).zip(x) {
            let largest = x.iter().fold(0.0_f64, |m, x| m.max(f64::from(x.abs())));
            for ((w, m), x) in w.iter().zip(m).zip(x) {
                let (w, m, x) = (f64::from(*w), f64::from(*m), f64::from(*x));
                sum += w * x;
                step += w.abs() * largest / 254.0;
                magnitude += (w.abs() + 2.0 * m.abs()) * largest;
            }
        }
        if self.packed.rounds_activations() {
            // Every number is off by 1/256 of itself, and so of the largest, at most.
            step *= 254.0 / 256.0;
        } else if self.packed.format().block_len() == 1 {
            step = 0.0;
        }
        // The quotient max|x| / 127 and its inverse are rounded too: less than 0.1 % of a step.
        let rounding = cols as f64 * f64::from(f32::EPSILON) * magnitude;
        (sum, 1.001 * step + rounding)
    }
}

/// Every weight's minimum; zero where the format has none.
fn minima(format: BlockFormat, bytes: &[u8], len: usize) -> Vec<f32> {
    let mut mins = vec![0.0; len];
    let scale_bytes = match format {
        BlockFormat::Q4_1 | BlockFormat::Q5_1 => 4,
        BlockFormat::Q4K | BlockFormat::Q5K => 16,
        _ => return mins,
    };
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        block[scale_bytes..].fill(0);
    }
    dequantize(format, &bytes, &mut mins);
    mins
}

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap())
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

fn assert_same_bits(given: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(given.len(), wanted.len(), "{what}");
    for (i, (given, wanted)) in given.iter().zip(wanted).enumerate() {
        assert!(
            given.to_bits() == wanted.to_bits() || given.is_nan() && wanted.is_nan(),
            "{what}, output {i}: {given} instead of {wanted}"
        );
    }
}

/// Every instruction set gives the bits of the scalar one, and those are near the exact product.
fn check(case: Case) {
    for case in case.all() {
        check_one(&case);
    }
}

fn check_one(case: &Case) {
    let scalar = case.product(Isa::Scalar, &case.pool);
    for token in 0..case.tokens {
        for row in 0..case.packed.rows() {
            let (wanted, bound) = case.oracle(token, row);
            let given = f64::from(scalar[token * case.packed.rows() + row]);
            assert!(
                (given - wanted).abs() <= bound,
                "{} token {token} row {row}: {given} is not within {bound} of {wanted}",
                case.packed.format().name()
            );
        }
    }
    for isa in available() {
        for (way, kernels) in ways(isa) {
            let what = format!("{} on {}, {way}", case.packed.format().name(), isa.name());
            let given = case.product_with(&kernels, &case.pool, &case.x);
            assert_same_bits(&given, &scalar, &what);
        }
    }
}

/// The kernels of an instruction set as they are, and so that any number of tokens is multiplied in
/// one of the two ways.
fn ways(isa: Isa) -> [(&'static str, Kernels); 3] {
    [
        ("as it is", *Kernels::of(isa)),
        ("streamed", streaming(isa, usize::MAX)),
        ("unpacked", streaming(isa, 0)),
    ]
}

fn streaming(isa: Isa, streamed_tiles: usize) -> Kernels {
    Kernels {
        streamed_tiles,
        wide: None,
        ..*Kernels::of(isa)
    }
}

#[test]
fn every_number_of_tokens_is_multiplied_rightly() {
    for format in BlockFormat::ALL {
        let cols = 64_usize.next_multiple_of(format.block_len());
        for tokens in 0..=40 {
            check(Case::new(format, (19, cols), tokens, tokens as u64));
        }
    }
}

#[test]
fn every_number_of_rows_is_multiplied_rightly() {
    for format in BlockFormat::ALL {
        for rows in [1, 2, 15, 16, 17, 31, 32, 33, 70] {
            check(Case::new(format, (rows, 256), 3, rows as u64));
        }
    }
}

#[test]
fn every_number_of_columns_is_multiplied_rightly() {
    for format in BlockFormat::ALL {
        for blocks in [1, 2, 3, 4, 5, 7, 15, 16, 17, 33] {
            let cols = blocks * format.block_len();
            for tokens in [1, 9, 17] {
                check(Case::new(format, (16, cols), tokens, blocks as u64));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape_is_multiplied_rightly(
        format in proptest::sample::select(&BlockFormat::ALL),
        rows in 1_usize..50,
        blocks in 1_usize..30,
        tokens in 0_usize..40,
        seed in any::<u64>(),
    ) {
        let cols = (blocks * 32).next_multiple_of(format.block_len());
        check(Case::new(format, (rows, cols), tokens, seed));
    }
}

#[test]
fn the_largest_integers_do_not_saturate() {
    let ordinary = half::f16::from_f32(0.01).to_le_bytes();
    for format in BlockFormat::ALL.into_iter().filter(|f| f.block_len() > 1) {
        for fill in [0x00, 0xff, 0x80, 0x7f] {
            let cols = format.block_len();
            let mut bytes = vec![fill; 16 * format.block_bytes()];
            for block in bytes.chunks_exact_mut(format.block_bytes()) {
                let at = if format == BlockFormat::Q6K { 208 } else { 0 };
                block[at..at + 2].copy_from_slice(&ordinary);
                if matches!(format.name(), "Q4_1" | "Q5_1" | "Q4_K" | "Q5_K") {
                    block[2..4].copy_from_slice(&ordinary);
                }
            }
            for x in [1.0, -1.0] {
                check(Case::of(format, (16, cols), &bytes, vec![x; 9 * cols]));
            }
        }
    }
}

#[test]
fn zero_inputs_and_zero_weights_give_zero() {
    for format in BlockFormat::ALL {
        let (rows, cols) = (17, 256);
        let zeros = vec![0; rows * format.row_bytes(cols).unwrap()];
        let mut random = Random::new(6);
        let some = random_weights(&mut random, format, rows, cols);
        let nothing = vec![0.0; 2 * cols];
        let something = random.numbers(2 * cols);
        for (bytes, x) in [(zeros, something), (some, nothing)] {
            let case = Case::of(format, (rows, cols), &bytes, x);
            for isa in available() {
                assert_eq!(case.product(isa, &case.pool), [0.0; 34], "{}", isa.name());
            }
        }
    }
}

#[test]
fn inputs_of_every_magnitude_are_multiplied_rightly() {
    for format in BlockFormat::ALL {
        let (rows, cols) = (16, 256);
        let mut random = Random::new(7);
        let bytes = random_weights(&mut random, format, rows, cols);
        let mut x = random.numbers(10 * cols);
        for (block, x) in x.chunks_exact_mut(32).enumerate() {
            let magnitude = 2.0_f32.powi(block as i32 % 60 - 30);
            for x in x {
                *x *= magnitude;
            }
        }
        check(Case::of(format, (rows, cols), &bytes, x));
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch_on_any_number_of_threads() {
    for format in BlockFormat::ALL {
        for (case, isa) in Case::new(format, (50, 768), 21, 8).on_all() {
            let all = case.product(isa, &pool(1));
            for threads in [2, 3, 7] {
                let what = format!("{threads} threads");
                assert_same_bits(&case.product(isa, &pool(threads)), &all, &what);
            }
            let rows = case.x.chunks_exact(768).zip(all.chunks_exact(50));
            for (x, wanted) in rows {
                let alone = case.product_of(isa, &case.pool, x);
                assert_same_bits(&alone, wanted, format.name());
            }
        }
    }
}

#[test]
fn chosen_rows_have_the_bits_of_the_whole_product() {
    for format in BlockFormat::ALL {
        for tokens in [0, 1, 5, 8, 20] {
            let ids = [3_u32, 69, 4, 5, 5, 0, 33, 64, 16];
            for (case, isa) in Case::new(format, (70, 512), tokens, 9).on_all() {
                let all = case.product(isa, &case.pool);
                let mut x = Activations::new();
                x.load(&case.pool, &case.x, 512);
                let mut y = vec![f32::NAN; tokens * ids.len()];
                let kernels = Kernels::of(isa);
                matmul_rows_with(kernels, &case.pool, &case.packed, (&ids, &x), &mut y);
                let wanted: Vec<f32> = all
                    .chunks_exact(70)
                    .flat_map(|all| ids.map(|id| all[id as usize]))
                    .collect();
                assert_same_bits(&y, &wanted, format.name());
            }
        }
    }
}

#[test]
fn several_products_in_one_run_have_the_bits_of_each_alone() {
    for format in BlockFormat::ALL {
        for tokens in [1, 5, 16, 17, 40] {
            let mut cases = [70, 16, 33].map(|rows| Case::new(format, (rows, 256), tokens, 14));
            // Of weights that can, the last ones round activations, the others do not.
            cases[2] = Case::new(format, (33, 256), tokens, 14)
                .all()
                .pop()
                .unwrap();
            let (pool, x) = (pool(3), &cases[0].x);
            let bias = Random::new(15).numbers(70);
            for isa in available() {
                let mut given = cases.each_ref().map(|case| {
                    let outputs = tokens * case.packed.rows();
                    (vec![f32::NAN; outputs], case.packed.rows() == 70)
                });
                let mut activations = Activations::new();
                activations.load(&pool, x, 256);
                let mut products: Vec<Product<'_>> = cases
                    .iter()
                    .zip(&mut given)
                    .map(|(case, (y, biased))| Product {
                        w: &case.packed,
                        bias: biased.then_some(bias.as_slice()),
                        y,
                    })
                    .collect();
                matmul_all_with(Kernels::of(isa), &pool, &activations, &mut products);
                for (case, (y, biased)) in cases.iter().zip(&given) {
                    let mut wanted = case.product_of(isa, &pool, x);
                    if *biased {
                        crate::add_bias(&pool, &mut wanted, &bias);
                    }
                    assert_same_bits(y, &wanted, format.name());
                }
            }
        }
    }
}

#[test]
fn activations_are_rounded_where_that_is_asked_for_and_nowhere_else() {
    // 1 + 2⁻⁹ lies between 1 and the next number in bfloat16, 1 + 2⁻⁷, nearer to 1.
    let x = 1.0 + 0.5_f32.powi(9);
    let bytes: Vec<u8> = [half::bf16::ONE; 40]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    for tokens in [1, 17] {
        let case = Case::of(BlockFormat::Bf16, (1, 40), &bytes, vec![x; tokens * 40]);
        let [exact, rounding] = &case.all()[..] else {
            panic!("want both")
        };
        for isa in available() {
            assert_eq!(exact.product(isa, &exact.pool), vec![40.0 * x; tokens]);
            assert_eq!(rounding.product(isa, &rounding.pool), vec![40.0; tokens]);
        }
    }
}

#[test]
fn no_chosen_rows_give_no_output() {
    let case = Case::new(BlockFormat::Q8_0, (16, 32), 2, 10);
    let mut x = Activations::new();
    x.load(&case.pool, &case.x, 32);
    crate::matmul_rows(&case.pool, &case.packed, &[], &x, &mut []);
}

#[test]
fn inputs_loaded_for_the_weights_at_hand_are_enough() {
    for format in BlockFormat::ALL {
        for case in Case::new(format, (20, 256), 9, 11).all() {
            let mut x = Activations::new();
            x.load_for(&case.pool, &case.x, 256, &[&case.packed]);
            let mut y = vec![f32::NAN; 9 * 20];
            crate::matmul(&case.pool, &case.packed, &x, &mut y);
            let wanted = case.product(Isa::best(), &case.pool);
            assert_same_bits(&y, &wanted, format.name());
        }
    }
}

#[test]
#[should_panic(expected = "row Some(16) of 16 rows")]
fn a_chosen_row_that_does_not_exist_is_refused() {
    let case = Case::new(BlockFormat::F32, (16, 4), 1, 12);
    let mut x = Activations::new();
    x.load(&case.pool, &case.x, 4);
    crate::matmul_rows(&case.pool, &case.packed, &[16], &x, &mut [0.0]);
}

#[test]
#[should_panic(expected = "columns of x and of the weights")]
fn inputs_of_another_width_are_refused() {
    let case = Case::new(BlockFormat::F32, (16, 4), 1, 13);
    let mut x = Activations::new();
    x.load(&case.pool, &case.x, 2);
    crate::matmul(&case.pool, &case.packed, &x, &mut [0.0; 32]);
}
