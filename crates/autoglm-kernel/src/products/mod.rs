//! Products of a vector with rows of numbers.

#[cfg(test)]
mod tests;

use crate::simd::{LANES, Simd, Variant, padded, sum_lanes, with_simd};

/// `out[n] = Σ_i rows[n, i] · vector[i]`, on the calling thread.
///
/// # Shapes
/// `vector: [C]`, `rows: [N, C]`, `out: [N]`.
///
/// # Accuracy
/// Each is within `(C/64 + 7)·2⁻²⁴ · Σ|rows[n, i] · vector[i]|` of the exact product.
///
/// # Panics
/// If `vector` is empty or the shapes do not fit together.
pub fn products(vector: &[f32], rows: &[f32], out: &mut [f32]) {
    products_with(Variant::best(), vector, rows, out);
}

fn products_with(variant: Variant, vector: &[f32], rows: &[f32], out: &mut [f32]) {
    assert!(!vector.is_empty(), "products: a vector without numbers");
    assert_eq!(
        rows.len(),
        out.len() * vector.len(),
        "products: numbers of {} rows of {}",
        out.len(),
        vector.len()
    );
    with_simd!(variant, s => {
        for (out, row) in out.iter_mut().zip(rows.chunks_exact(vector.len())) {
            *out = sum_of_products(s, row, vector);
        }
    });
}

/// The sum of the products of two rows' numbers. Vector `i` of the rows goes to chain `i % 4`, which
/// hides the latency of the additions; then chains and lanes are added in pairs.
#[inline(always)]
pub(crate) fn sum_of_products<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    let mut chains = [s.splat(0.0); 4];
    let (a_fours, a_rest) = a.as_chunks::<{ 4 * LANES }>();
    let (b_fours, b_rest) = b.as_chunks::<{ 4 * LANES }>();
    for (a, b) in a_fours.iter().zip(b_fours) {
        let vectors = a
            .as_chunks::<LANES>()
            .0
            .iter()
            .zip(b.as_chunks::<LANES>().0);
        for (chain, (a, b)) in chains.iter_mut().zip(vectors) {
            *chain = s.fma(s.load(a), s.load(b), *chain);
        }
    }
    let vectors = a_rest.chunks(LANES).zip(b_rest.chunks(LANES));
    for (chain, (a, b)) in chains.iter_mut().zip(vectors) {
        let (a, b) = (s.load(&padded(a, 0.0)), s.load(&padded(b, 0.0)));
        *chain = s.fma(a, b, *chain);
    }
    let [a, b, c, d] = chains;
    sum_lanes(s, s.add(s.add(a, b), s.add(c, d)))
}
