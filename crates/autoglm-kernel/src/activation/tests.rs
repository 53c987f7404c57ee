use std::num::NonZeroUsize;

use super::{Activations, RECORD, Record, ResidualNorms, RmsNorm, TILE, load_tile};
use crate::elementwise::add_assign;
use crate::format::BlockFormat;
use crate::gated::{GateActivation, gated};
use crate::isa::Isa;
use crate::matmul::Kernels;
use crate::norm::{rms_norm, rms_norm_in_place};
use crate::pack::PackedMatrix;
use crate::pack::coding::{Coding, Meaning};
use crate::pool::Pool;
use crate::random::{Random, random_weights};
use crate::test_data::bits;

/// One block of one row: its integers and its record.
fn load_block(x: &[f32]) -> (Vec<i8>, Vec<u32>) {
    let mut record = vec![0; RECORD];
    load_tile(x, x.len(), &mut record);
    let bytes = record[..8].iter().flat_map(|word| word.to_le_bytes());
    (bytes.map(|byte| byte as i8).collect(), record)
}

#[test]
fn a_block_is_scaled_by_its_largest_magnitude() {
    let mut x = [0.0; 32];
    (x[3], x[4], x[20]) = (-254.0, 100.0, 0.5);
    let (q, record) = load_block(&x);
    assert_eq!((q[3], q[4], q[20], q[0]), (-127, 50, 0, 0));
    assert_eq!(f32::from_bits(record[Record::SCALE]), 2.0);
    assert_eq!(f32::from_bits(record[Record::SCALED_SUM]), -154.0);
    for (format, sums) in [("Q4_0", 8), ("Q5_0", 16), ("Q8_0", 128)] {
        let word = Record::offset(meaning(format));
        assert_eq!(record[word] as i32, 77 * sums, "{format}");
    }
    let word = Record::offset(meaning("Q6_K"));
    assert_eq!([record[word] as i32, record[word + 1] as i32], [77 * 32, 0]);
}

fn meaning(format: &str) -> Meaning {
    let mut all = BlockFormat::ALL.into_iter();
    let format = all.find(|known| known.name() == format).unwrap();
    Coding::of(format).unwrap().meaning
}

#[test]
fn halves_are_rounded_to_the_even_integer() {
    let mut x = [127.0; 32];
    x[..6].copy_from_slice(&[0.5, 1.5, 2.5, -0.5, -1.5, 126.5]);
    assert_eq!(load_block(&x).0[..7], [0, 2, 2, 0, -2, 126, 127]);
}

#[test]
fn the_error_of_a_value_is_at_most_half_a_step() {
    let mut random = Random::new(3);
    for exponent in -100..100 {
        let x: Vec<f32> = random.numbers(32);
        let x: Vec<f32> = x.iter().map(|x| x * 2.0_f32.powi(exponent)).collect();
        let (q, record) = load_block(&x);
        let scale = f64::from(f32::from_bits(record[Record::SCALE]));
        for (x, q) in x.iter().zip(q) {
            let error = (f64::from(*x) - scale * f64::from(q)).abs();
            // The scale and its inverse are off by less than four units in the last place.
            assert!(error <= scale * (0.5 + 127.0 * 4.0 * f64::from(f32::EPSILON)));
        }
    }
}

#[test]
fn tiny_blocks_are_zero_and_infinite_ones_are_not_a_number() {
    for tiny in [0.0, -0.0, 1e-45, 2.0_f32.powi(-120)] {
        let (q, record) = load_block(&[tiny; 32]);
        assert_eq!(q, [0; 32]);
        assert!(record[Record::SCALE..].iter().all(|word| *word == 0));
    }
    for wild in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let mut x = [1.0; 32];
        x[7] = wild;
        let (_, record) = load_block(&x);
        assert!(f32::from_bits(record[Record::SCALE]).is_nan());
    }
}

#[test]
fn every_instruction_set_loads_the_same_words() {
    let mut random = Random::new(4);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for cols in [1, 31, 32, 33, 100, 512] {
            for rows in 1..=TILE {
                let mut x = random.numbers(rows * cols);
                x[0] *= 1e30;
                x[rows * cols / 2] *= 1e-30;
                if cols > 32 {
                    make_blocks_wild(&mut x, cols);
                }
                let words = cols.div_ceil(32) * rows * RECORD;
                let (mut wanted, mut given) = (vec![0; words], vec![1; words]);
                load_tile(&x, cols, &mut wanted);
                (Kernels::of(isa).load_tile)(&x, cols, &mut given);
                assert_eq!(given, wanted, "{} {rows} x {cols}", isa.name());
            }
        }
    }
}

/// Some rows get a first block that is tiny or has a number that is not finite.
fn make_blocks_wild(x: &mut [f32], cols: usize) {
    for (n, row) in x.chunks_exact_mut(cols).enumerate() {
        match n % 8 {
            1 => row[..32].fill(1e-37),
            2 => row[..32].fill(0.0),
            3 => row[7] = f32::INFINITY,
            4 => row[31] = f32::NAN,
            6 => row[..32].fill(2.0_f32.powi(-119)),
            _ => {}
        }
    }
}

#[test]
fn a_buffer_can_be_used_again_for_another_shape() {
    let pool = Pool::new(NonZeroUsize::new(2).unwrap());
    let mut random = Random::new(5);
    let mut used = Activations::new();
    used.load(&pool, &[f32::NAN; 20 * 96], 96);
    for (rows, cols) in [(20, 64), (3, 96), (0, 32), (9, 33), (19, 65)] {
        let x = random.numbers(rows * cols);
        let mut fresh = Activations::new();
        used.load(&pool, &x, cols);
        fresh.load(&pool, &x, cols);
        assert_eq!((used.rows(), used.cols()), (rows, cols));
        for tile in 0..used.tiles() {
            assert_eq!(used.tile(tile, 0).records, fresh.tile(tile, 0).records);
            assert_eq!(
                used.float_tile(tile).columns,
                fresh.float_tile(tile).columns
            );
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            assert_eq!(
                used.brain_tile(tile, &mut ours).columns,
                fresh.brain_tile(tile, &mut theirs).columns
            );
        }
    }
}

#[test]
#[should_panic(expected = "7 numbers are not rows of 3")]
fn an_input_that_is_no_whole_number_of_rows_is_refused() {
    let pool = Pool::new(NonZeroUsize::MIN);
    Activations::new().load(&pool, &[0.0; 7], 3);
}

/// Rows that are prepared in the same pass, beside the same steps one after the other.
#[test]
fn prepared_rows_are_those_of_the_steps_one_by_one() {
    for (threads, rows, cols) in [(1, 1, 64), (3, 5, 32), (2, 44, 96), (2, 0, 32)] {
        let pool = Pool::new(NonZeroUsize::new(threads).unwrap());
        for kinds in [&["Q4_0"][..], &["F32"], &["F16", "Q8_0"]] {
            let weights: Vec<PackedMatrix> =
                kinds.iter().map(|kind| matrix(&pool, kind, cols)).collect();
            let weights: Vec<&PackedMatrix> = weights.iter().collect();
            let steps = Steps::new(&pool, rows, cols);
            steps.normed(&weights);
            steps.residual(&weights);
            steps.gated(weights[0]);
        }
    }
}

/// Random rows, and what the steps are applied with.
struct Steps<'a> {
    pool: &'a Pool,
    cols: usize,
    x: Vec<f32>,
    change: Vec<f32>,
    weight: Vec<f32>,
    other_weight: Vec<f32>,
}

impl<'a> Steps<'a> {
    fn new(pool: &'a Pool, rows: usize, cols: usize) -> Self {
        let mut random = Random::new((rows + cols) as u64);
        Self {
            pool,
            cols,
            x: random.numbers(rows * cols),
            change: random.numbers(rows * cols),
            weight: random.numbers(cols),
            other_weight: random.numbers(cols),
        }
    }

    fn norm(weight: &[f32]) -> RmsNorm<'_> {
        RmsNorm {
            weight,
            epsilon: 1e-5,
        }
    }

    fn normed(&self, weights: &[&PackedMatrix]) {
        let (mut wanted, mut normed) = (vec![0.0; self.x.len()], vec![1.0; self.x.len()]);
        rms_norm(self.pool, &self.x, &self.weight, 1e-5, &mut wanted);
        let mut fused = Activations::new();
        let norm = Self::norm(&self.weight);
        fused.load_normed(self.pool, &self.x, norm, &mut normed, weights);
        assert_eq!(bits(&normed), bits(&wanted));
        self.assert_loaded(&fused, &wanted, weights);
    }

    fn residual(&self, weights: &[&PackedMatrix]) {
        for with_norm in [false, true] {
            let (mut hidden, mut change) = (self.x.clone(), self.change.clone());
            if with_norm {
                rms_norm_in_place(self.pool, &mut change, &self.other_weight, 1e-5);
            }
            add_assign(self.pool, &mut hidden, &change);
            rms_norm(self.pool, &hidden, &self.weight, 1e-5, &mut change);

            let (mut fused_hidden, mut fused_change) = (self.x.clone(), self.change.clone());
            let norms = ResidualNorms {
                change: with_norm.then(|| Self::norm(&self.other_weight)),
                sum: Self::norm(&self.weight),
            };
            let mut fused = Activations::new();
            let rows = (&mut fused_hidden[..], &mut fused_change[..]);
            fused.load_residual(self.pool, rows, norms, weights);
            assert_eq!(bits(&fused_hidden), bits(&hidden));
            assert_eq!(bits(&fused_change), bits(&change));
            self.assert_loaded(&fused, &change, weights);
        }
    }

    fn gated(&self, weights: &PackedMatrix) {
        for activation in [GateActivation::Silu, GateActivation::GeluTanh] {
            let (mut wanted, mut gate) = (self.x.clone(), self.x.clone());
            gated(self.pool, activation, &mut wanted, &self.change);
            let mut fused = Activations::new();
            fused.load_gated(self.pool, activation, (&mut gate, &self.change), weights);
            assert_eq!(bits(&gate), bits(&wanted));
            self.assert_loaded(&fused, &wanted, &[weights]);
        }
    }

    fn assert_loaded(&self, fused: &Activations, x: &[f32], weights: &[&PackedMatrix]) {
        let mut loaded = Activations::new();
        loaded.load_for(self.pool, x, self.cols, weights);
        assert_eq!((fused.rows(), fused.cols()), (loaded.rows(), loaded.cols()));
        assert_eq!(fused.records, loaded.records);
        assert_eq!(bits(&fused.floats), bits(&loaded.floats));
    }
}

/// 16 random rows in a format.
fn matrix(pool: &Pool, format: &str, cols: usize) -> PackedMatrix {
    let mut all = BlockFormat::ALL.into_iter();
    let format = all.find(|known| known.name() == format).unwrap();
    let bytes = random_weights(&mut Random::new(6), format, 16, cols);
    PackedMatrix::pack(pool, format, 16, cols, &bytes).unwrap()
}
