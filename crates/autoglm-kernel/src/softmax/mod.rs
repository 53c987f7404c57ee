//! Reductions of one row of logits: greatest element, log of the summed exponentials, softmax.

#[cfg(test)]
mod tests;

use crate::elementwise::map_in_place;
use crate::simd::{LANES, Simd, Variant, exp, horizontal_max, padded, sum_lanes, with_simd};

/// Elements that are looked at together. Their exponentials are summed in `f32` before the sum goes
/// into an `f64`: 64 additions a lane, so that the error does not grow with the length.
const BLOCK: usize = 64 * LANES;

/// `ln Σ exp(x)`; −∞ for an empty row.
///
/// # Accuracy
/// Absolute error below `2⁻¹⁶` for finite rows: the exponentials carry a relative error of at most
/// `88·2⁻²³`, the sums of 1,024 add `68·2⁻²⁴`.
pub fn log_sum_exp(x: &[f32]) -> f32 {
    log_sum_exp_with(Variant::best(), x)
}

/// The index of the greatest element, the first of equals; NaNs are passed over.
///
/// # Panics
/// If `x` is empty.
pub fn argmax(x: &[f32]) -> usize {
    argmax_with(Variant::best(), x)
}

/// `x = exp(x) / Σ exp(x)`, for a row with a finite greatest element.
///
/// # Accuracy
/// Relative error below `2⁻¹⁵` for elements within 87 of the greatest; those 88 and more below it,
/// −∞ among them, become exactly 0.
pub fn softmax(x: &mut [f32]) {
    softmax_with(Variant::best(), x);
}

fn log_sum_exp_with(variant: Variant, x: &[f32]) -> f32 {
    let greatest = with_simd!(variant, s => greatest(s, x));
    if greatest.is_infinite() {
        return greatest;
    }
    let sum = with_simd!(variant, s => sum_of_exp(s, x, greatest));
    (f64::from(greatest) + sum.ln()) as f32
}

fn argmax_with(variant: Variant, x: &[f32]) -> usize {
    assert!(!x.is_empty(), "argmax of 0 elements");
    let (mut block, mut found) = (0, f32::NEG_INFINITY);
    with_simd!(variant, s => {
        for (i, x) in x.chunks(BLOCK).enumerate() {
            let greatest = greatest(s, x);
            if greatest > found {
                (block, found) = (i, greatest);
            }
        }
    });
    let first = block * BLOCK;
    first + x[first..].iter().position(|x| *x == found).unwrap_or(0)
}

fn softmax_with(variant: Variant, x: &mut [f32]) {
    let greatest = with_simd!(variant, s => greatest(s, x));
    let sum = with_simd!(variant, s => sum_of_exp(s, x, greatest));
    let inverse = (1.0 / sum) as f32;
    with_simd!(variant, s => map_in_place(s, x, #[inline(always)] |x| {
        let e = exp(s, s.sub(x, s.splat(greatest)));
        s.mul(e, s.splat(inverse))
    }));
}

/// The greatest element that is not NaN; −∞ if there is none.
#[inline(always)]
fn greatest<S: Simd>(s: S, x: &[f32]) -> f32 {
    let (vectors, rest) = x.as_chunks::<LANES>();
    // Four chains hide the latency of the comparison.
    let mut chains = [s.splat(f32::NEG_INFINITY); 4];
    let (fours, vectors) = vectors.as_chunks::<4>();
    for four in fours {
        for (chain, vector) in chains.iter_mut().zip(four) {
            *chain = s.max(s.load(vector), *chain);
        }
    }
    for vector in vectors {
        chains[0] = s.max(s.load(vector), chains[0]);
    }
    chains[0] = s.max(s.load(&padded(rest, f32::NEG_INFINITY)), chains[0]);
    let [a, b, c, d] = chains;
    horizontal_max(s, s.max(s.max(a, b), s.max(c, d)))
}

#[inline(always)]
fn sum_of_exp<S: Simd>(s: S, x: &[f32], greatest: f32) -> f64 {
    let greatest = s.splat(greatest);
    let mut total = 0.0;
    for block in x.chunks(BLOCK) {
        let (vectors, rest) = block.as_chunks::<LANES>();
        let mut sum = s.splat(0.0);
        for vector in vectors {
            sum = s.add(sum, exp(s, s.sub(s.load(vector), greatest)));
        }
        total += f64::from(sum_lanes(s, sum));
        for x in rest {
            let mut lanes = [0.0; LANES];
            s.store(exp(s, s.sub(s.splat(*x), greatest)), &mut lanes);
            total += f64::from(lanes[0]);
        }
    }
    total
}
