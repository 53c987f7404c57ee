//! The gate of a gated feed-forward layer.

#[cfg(test)]
mod tests;

use crate::elementwise::{chunk_len, zip_in_place};
use crate::pool::Pool;
use crate::simd::{LANES, Simd, Variant, sigmoid, with_simd};

/// The function that is applied to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateActivation {
    /// `x · sigmoid(x)`.
    Silu,
    /// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`, the approximation that models are trained with.
    GeluTanh,
}

/// `2·√(2/π)`, and its product with the cubic term's factor; doubled because
/// `(1 + tanh u)/2 = sigmoid(2u)`.
const GELU_LINEAR: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2;
const GELU_CUBIC: f32 = GELU_LINEAR * 0.044_715;

/// `gate = activation(gate) · up`.
///
/// # Accuracy
/// Relative error below `2⁻²⁰ + |u|·2⁻²²`, where `u` is the argument of the sigmoid (`gate` for `Silu`,
/// `√(8/π)·(gate + 0.044715·gate³)` for `GeluTanh`), and an absolute `|gate·up|·2⁻¹²⁶` where it underflows.
///
/// # Panics
/// If the lengths differ.
///
/// # Source
/// Shazeer, GLU Variants Improve Transformer, 2020, section 2; Hendrycks and Gimpel, Gaussian Error
/// Linear Units, 2016, section 2.
pub fn gated(pool: &Pool, activation: GateActivation, gate: &mut [f32], up: &[f32]) {
    gated_with(Variant::best(), pool, activation, gate, up);
}

fn gated_with(
    variant: Variant,
    pool: &Pool,
    activation: GateActivation,
    gate: &mut [f32],
    up: &[f32],
) {
    assert_eq!(gate.len(), up.len(), "gated: gate and up differ in length");
    let chunk_len = chunk_len(pool, gate.len(), LANES);
    pool.for_each_chunk(gate, chunk_len, |chunk, gate| {
        let up = &up[chunk * chunk_len..][..gate.len()];
        gate_rows(variant, activation, gate, up);
    });
}

/// [`gated`] on the calling thread.
pub(crate) fn gate_rows(
    variant: Variant,
    activation: GateActivation,
    gate: &mut [f32],
    up: &[f32],
) {
    match activation {
        GateActivation::Silu => with_simd!(variant, s => silu_rows(s, gate, up)),
        GateActivation::GeluTanh => with_simd!(variant, s => gelu_rows(s, gate, up)),
    }
}

#[inline(always)]
fn silu_rows<S: Simd>(s: S, gate: &mut [f32], up: &[f32]) {
    zip_in_place(
        s,
        gate,
        up,
        #[inline(always)]
        |x, up| s.mul(s.mul(x, sigmoid(s, x)), up),
    );
}

#[inline(always)]
fn gelu_rows<S: Simd>(s: S, gate: &mut [f32], up: &[f32]) {
    let (linear, cubic) = (s.splat(GELU_LINEAR), s.splat(GELU_CUBIC));
    zip_in_place(
        s,
        gate,
        up,
        #[inline(always)]
        |x, up| {
            let slope = s.fma(s.mul(x, x), cubic, linear);
            s.mul(s.mul(x, sigmoid(s, s.mul(x, slope))), up)
        },
    );
}
