//! Functions on lanes: exponentials and the fixed order of horizontal reductions.

use super::{LANES, Simd};

/// Adding it to |x| ≤ 2²² leaves the integer nearest to `x` in the low bits of the sum: 1.5·2²³,
/// plus the bias of the exponent, which [`Simd::shift_into_exponent`] wants.
const ROUNDER: f32 = 12_582_912.0 + 127.0;

/// −127 in the exponent's bits is the number 0, so that everything below −126.5 gives exactly 0.
const LEAST_EXPONENT: f32 = -127.0;
const GREATEST_EXPONENT: f32 = 127.0;

/// `(2^f - 1) / f` on `|f| ≤ 1/2`, highest power first: the minimax fit of `2^f` for the relative
/// error among polynomials with constant term 1 (error 2.0e-9, far below half an `f32` step).
const EXP2_COEFFICIENTS: [f32; 6] = [
    0.00015353362,
    0.0013398875,
    0.009618437,
    0.055503324,
    0.24022648,
    std::f32::consts::LN_2,
];

/// `2^x`; `exp2(0) = 1` exactly, 0 below −126.5, `2^127` above 127. NaN stays NaN.
///
/// # Accuracy
/// Relative error below 2⁻²³ where the result is a normal number (two roundings of the last steps
/// of Horner's rule plus the fit's 2e-9; the product with a power of two is exact).
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(LEAST_EXPONENT), x);
    let x = s.min(s.splat(GREATEST_EXPONENT), x);
    let shifted = s.add(x, s.splat(ROUNDER));
    let fraction = s.sub(x, s.sub(shifted, s.splat(ROUNDER)));
    let mut power = s.splat(EXP2_COEFFICIENTS[0]);
    for coefficient in &EXP2_COEFFICIENTS[1..] {
        power = s.fma(power, fraction, s.splat(*coefficient));
    }
    let power = s.fma(power, fraction, s.splat(1.0));
    s.mul(power, s.shift_into_exponent(shifted))
}

/// `e^x` in the range of [`exp2`]: 0 below about −87.7, constant above 88.
///
/// # Accuracy
/// Relative error below `2⁻²³ + |x|·2⁻²³`: the product `x·log₂e` is rounded once, which an exponential
/// turns into a relative error of `|x|·2⁻²⁴`, and the constant is itself rounded.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    exp2(s, s.mul(x, s.splat(std::f32::consts::LOG2_E)))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    let e = exp2(s, s.mul(x, s.splat(-std::f32::consts::LOG2_E)));
    s.div(one, s.add(one, e))
}

/// The sum of the lanes: halves are added to halves, 16 → 8 → 4 → 2 → 1.
#[inline(always)]
pub(crate) fn sum_lanes<S: Simd>(s: S, x: S::V) -> f32 {
    fold_lanes(s, x, |a, b| a + b)
}

/// The greatest lane; NaN where the lanes that decide are NaN.
#[inline(always)]
pub(crate) fn horizontal_max<S: Simd>(s: S, x: S::V) -> f32 {
    fold_lanes(s, x, |a, b| if a > b { a } else { b })
}

#[inline(always)]
fn fold_lanes<S: Simd>(s: S, x: S::V, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(x, &mut lanes);
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = f(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}
