//! Arithmetic on short arrays that compiles to vector instructions and gives the same bits without
//! them.

/// Partial sums of a reduction.
const PARTS: usize = 8;

/// Added to a number below 2²² in magnitude it leaves no bit for a fraction: the sum is rounded to
/// an integer, ties to even.
const ROUNDER: f32 = 1.5 * (1 << 23) as f32;

/// The nearest integer, ties to even, of a number below 2²² in magnitude.
#[inline(always)]
pub(super) fn nearest(x: f32) -> f32 {
    (x + ROUNDER) - ROUNDER
}

/// The sum of `term(0) .. term(N - 1)`: eight chains, joined in pairs. `N` is a multiple of eight.
#[inline(always)]
pub(super) fn sum<const N: usize>(term: impl Fn(usize) -> f32) -> f32 {
    let mut parts = [0.0; PARTS];
    for i in 0..N / PARTS {
        for (j, part) in parts.iter_mut().enumerate() {
            *part += term(i * PARTS + j);
        }
    }
    let [a, b, c, d, e, f, g, h] = parts;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// The smallest and the largest value.
#[inline(always)]
pub(super) fn extremes(x: &[f32]) -> (f32, f32) {
    let smaller = |a: f32, &b: &f32| if b < a { b } else { a };
    let larger = |a: f32, &b: &f32| if b > a { b } else { a };
    (x.iter().fold(x[0], smaller), x.iter().fold(x[0], larger))
}

/// The value of largest magnitude, with its sign; the first where several are.
#[inline(always)]
pub(super) fn peak(x: &[f32]) -> f32 {
    let larger = |a: f32, &b: &f32| if b.abs() > a.abs() { b } else { a };
    x.iter().fold(0.0, larger)
}

/// The reciprocal, and 0 of 0: a block without a scale has zeros alone.
#[inline(always)]
pub(super) fn reciprocal(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { x.recip() }
}
