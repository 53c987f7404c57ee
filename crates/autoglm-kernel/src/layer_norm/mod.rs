//! Layer normalisation of rows: by mean and variance, with a bias.

#[cfg(test)]
mod tests;

use crate::elementwise::{assert_rows, chunk_len};
use crate::pool::Pool;
use crate::simd::{LANES, Simd, Variant, padded, sum_lanes, with_simd};

/// `x = (x - mean(x)) / sqrt(mean((x - mean(x))²) + eps) · weight + bias` for every row.
///
/// # Shapes
/// `x: [T, C]`, `weight, bias: [C]`.
///
/// # Accuracy
/// Sums run in four chains of 16 lanes, then over chains and lanes in pairs. The mean is off by
/// `(C/64 + 8)·2⁻²⁴·mean|x|` at most, the rest as in [`crate::rms_norm`], and the bias is added with
/// one rounding.
///
/// # Panics
/// If `weight` is empty, its length does not divide that of `x`, or `bias` has another one.
///
/// # Source
/// Ba, Kiros and Hinton, Layer Normalization, 2016, equations 3 and 4.
pub fn layer_norm_in_place(pool: &Pool, x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    layer_norm_in_place_with(Variant::best(), pool, x, (weight, bias), eps);
}

fn layer_norm_in_place_with(
    variant: Variant,
    pool: &Pool,
    x: &mut [f32],
    (weight, bias): (&[f32], &[f32]),
    eps: f32,
) {
    assert_rows("layer_norm", x.len(), weight.len());
    assert_eq!(
        bias.len(),
        weight.len(),
        "layer_norm: weight and bias differ in length"
    );
    let chunk_len = chunk_len(pool, x.len(), weight.len());
    pool.for_each_chunk(x, chunk_len, |_, x| {
        with_simd!(variant, s => {
            for row in x.chunks_exact_mut(weight.len()) {
                normalise(s, row, (weight, bias), eps);
            }
        });
    });
}

#[inline(always)]
fn normalise<S: Simd>(s: S, row: &mut [f32], (weight, bias): (&[f32], &[f32]), eps: f32) {
    let columns = row.len() as f32;
    let sum = sum_of(
        s,
        row,
        0.0,
        #[inline(always)]
        |x, sum| s.add(x, sum),
    );
    let mean = sum / columns;
    let means = s.splat(mean);
    let squares = sum_of(
        s,
        row,
        mean,
        #[inline(always)]
        |x, sum| {
            let deviation = s.sub(x, means);
            s.fma(deviation, deviation, sum)
        },
    );
    let inverse = s.splat(1.0 / (squares / columns + eps).sqrt());
    let scaled = |x, weight, bias| s.fma(s.mul(s.sub(x, means), inverse), weight, bias);
    let (vectors, rest) = row.as_chunks_mut::<LANES>();
    let (weights, weights_rest) = weight.as_chunks::<LANES>();
    let (biases, biases_rest) = bias.as_chunks::<LANES>();
    for ((x, weight), bias) in vectors.iter_mut().zip(weights).zip(biases) {
        s.store(scaled(s.load(x), s.load(weight), s.load(bias)), x);
    }
    if !rest.is_empty() {
        let mut lanes = padded(rest, 0.0);
        let [weight, bias] = [weights_rest, biases_rest].map(|x| padded(x, 0.0));
        s.store(
            scaled(s.load(&lanes), s.load(&weight), s.load(&bias)),
            &mut lanes,
        );
        rest.copy_from_slice(&lanes[..rest.len()]);
    }
}

/// The sum that `add` makes of a row; a last part of fewer than [`LANES`] elements is filled up.
/// Vector `i` goes to chain `i % 4`, which hides the latency of the additions.
#[inline(always)]
fn sum_of<S: Simd>(s: S, x: &[f32], fill: f32, add: impl Fn(S::V, S::V) -> S::V) -> f32 {
    let mut chains = [s.splat(0.0); 4];
    let (fours, rest) = x.as_chunks::<{ 4 * LANES }>();
    for four in fours {
        for (chain, vector) in chains.iter_mut().zip(four.as_chunks::<LANES>().0) {
            *chain = add(s.load(vector), *chain);
        }
    }
    for (chain, vector) in chains.iter_mut().zip(rest.chunks(LANES)) {
        *chain = add(s.load(&padded(vector, fill)), *chain);
    }
    let [a, b, c, d] = chains;
    sum_lanes(s, s.add(s.add(a, b), s.add(c, d)))
}
