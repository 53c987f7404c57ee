//! The Gaussian error linear unit of feed-forward layers without a gate.

#[cfg(test)]
mod tests;

use crate::elementwise::{chunk_len, map_in_place};
use crate::pool::Pool;
use crate::simd::{LANES, Simd, Variant, exp2, with_simd};

/// The polynomial in `t = 1 / (1 + 0.4·z)`, highest power first, with which `e^z²·erfc(z)` is
/// `t·P(t)`: least squares of the relative error, reweighted until the greatest is least, over
/// `0 ≤ z ≤ 9.5`, beyond which `e^-z²` is 0 in single precision. The greatest is 5.8e-8, and no
/// coefficient is large, so that rounding adds little.
const ERFC_COEFFICIENTS: [f32; 9] = [
    0.040_270_61,
    -0.135_486_07,
    0.073_872_685,
    0.099_695_19,
    0.071_531_63,
    0.196_953_31,
    0.200_961_01,
    0.226_575_37,
    0.225_626_32,
];
/// `0.4·z` for `z = |x|/√2`.
const ERFC_SLOPE: f32 = 0.4 * std::f32::consts::FRAC_1_SQRT_2;

/// `x = x·Φ(x)`, where Φ is the distribution function of the normal distribution.
///
/// # Accuracy
/// With `e = erfc(|x|/√2)`: within `|x|/2·e·(2⁻²⁰ + x²·2⁻²³) + |x·Φ(x)|·2⁻²³ + |x|·2⁻¹²⁶`.
///
/// # Source
/// Hendrycks and Gimpel, Gaussian Error Linear Units, 2016, section 2.
pub fn gelu(pool: &Pool, x: &mut [f32]) {
    gelu_with(Variant::best(), pool, x);
}

fn gelu_with(variant: Variant, pool: &Pool, x: &mut [f32]) {
    let chunk_len = chunk_len(pool, x.len(), LANES);
    pool.for_each_chunk(x, chunk_len, |_, x| {
        with_simd!(variant, s => map_in_place(s, x, #[inline(always)] |x| x_times_phi(s, x)));
    });
}

/// Φ(x) is `1 - e/2` right of zero and `e/2` left of it, so that `x·Φ(x) = max(x, 0) - |x|/2·e`.
#[inline(always)]
fn x_times_phi<S: Simd>(s: S, x: S::V) -> S::V {
    let zero = s.splat(0.0);
    let magnitude = s.max(s.sub(zero, x), x);
    let half = s.mul(magnitude, s.splat(-0.5));
    let complement = erfc(s, magnitude);
    s.fma(half, complement, s.max(zero, x))
}

/// `erfc(x/√2)` for `x ≥ 0`.
#[inline(always)]
fn erfc<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    let t = s.div(one, s.fma(x, s.splat(ERFC_SLOPE), one));
    let mut series = s.splat(ERFC_COEFFICIENTS[0]);
    for coefficient in &ERFC_COEFFICIENTS[1..] {
        series = s.fma(series, t, s.splat(*coefficient));
    }
    let exponent = s.mul(s.mul(x, x), s.splat(-0.5 * std::f32::consts::LOG2_E));
    s.mul(s.mul(series, t), exp2(s, exponent))
}
