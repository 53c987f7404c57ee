//! Root-mean-square normalisation of rows.

#[cfg(test)]
mod tests;

use crate::elementwise::{assert_rows, chunk_len, zip_in_place};
use crate::pool::Pool;
use crate::products::sum_of_products;
use crate::simd::{Simd, Variant, with_simd};

/// `out = x / sqrt(mean(x²) + eps) · weight` for every row.
///
/// # Shapes
/// `x, out: [T, C]`, `weight: [C]`.
///
/// # Accuracy
/// The squares are summed in four chains of 16 lanes, then chains and lanes in pairs: the sum's
/// relative error is below `(C/64 + 7)·2⁻²⁴`, the result's half of that plus five roundings.
///
/// # Panics
/// If `weight` is empty, its length does not divide that of `x`, or `out` differs from `x` in
/// length.
///
/// # Source
/// Zhang and Sennrich, Root Mean Square Layer Normalization, 2019, equation 4.
pub fn rms_norm(pool: &Pool, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    rms_norm_with(Variant::best(), pool, x, weight, eps, out);
}

/// [`rms_norm`] with the result in place of `x`. The width is that of `weight`, so that it
/// normalises heads (`x: [T·H, D]`, `weight: [D]`) as well as rows.
///
/// # Panics
/// If `weight` is empty or its length does not divide that of `x`.
pub fn rms_norm_in_place(pool: &Pool, x: &mut [f32], weight: &[f32], eps: f32) {
    rms_norm_in_place_with(Variant::best(), pool, x, weight, eps);
}

fn rms_norm_with(
    variant: Variant,
    pool: &Pool,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    assert_rows("rms_norm", x.len(), weight.len());
    assert_eq!(out.len(), x.len(), "rms_norm: out and x differ in length");
    let chunk_len = chunk_len(pool, x.len(), weight.len());
    pool.for_each_chunk(out, chunk_len, |chunk, out| {
        let x = x[chunk * chunk_len..].chunks_exact(weight.len());
        with_simd!(variant, s => {
            for (out, x) in out.chunks_exact_mut(weight.len()).zip(x) {
                out.copy_from_slice(x);
                normalise(s, out, weight, eps);
            }
        });
    });
}

fn rms_norm_in_place_with(variant: Variant, pool: &Pool, x: &mut [f32], weight: &[f32], eps: f32) {
    assert_rows("rms_norm_in_place", x.len(), weight.len());
    let chunk_len = chunk_len(pool, x.len(), weight.len());
    pool.for_each_chunk(x, chunk_len, |_, x| normalise_rows(variant, x, weight, eps));
}

/// Normalises rows in place, on the calling thread.
pub(crate) fn normalise_rows(variant: Variant, rows: &mut [f32], weight: &[f32], eps: f32) {
    with_simd!(variant, s => {
        for row in rows.chunks_exact_mut(weight.len()) {
            normalise(s, row, weight, eps);
        }
    });
}

#[inline(always)]
fn normalise<S: Simd>(s: S, row: &mut [f32], weight: &[f32], eps: f32) {
    let mean = sum_of_products(s, row, row) / weight.len() as f32;
    let inverse = s.splat(1.0 / (mean + eps).sqrt());
    zip_in_place(
        s,
        row,
        weight,
        #[inline(always)]
        |x, w| s.mul(s.mul(x, inverse), w),
    );
}
