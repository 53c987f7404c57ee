//! The product of two vectors.

use autoglm_kernel::products;

/// The sum of the products of two vectors' numbers; the same, bit for bit, as among those of many
/// rows.
///
/// # Panics
/// If they differ in length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of different spaces");
    let mut product = [0.0];
    if !a.is_empty() {
        products(a, b, &mut product);
    }
    product[0]
}

#[cfg(test)]
mod tests {
    use super::dot;

    #[test]
    fn products_of_all_lengths_are_right() {
        for length in 0..130 {
            let a: Vec<f32> = (0..length).map(|n| (n as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..length).map(|n| (n as f32 * 1.3).cos()).collect();
            let exact: f64 = a
                .iter()
                .zip(&b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum();
            assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-4, "{length}");
        }
    }
}
