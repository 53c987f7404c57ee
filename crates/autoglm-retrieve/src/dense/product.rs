//! The product of two vectors.

/// Sums that run beside each other: enough for the widest registers and for the time that an
/// addition takes.
const LANES: usize = 32;

/// The sum of the products of two vectors' numbers.
///
/// # Panics
/// If they differ in length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of different spaces");
    let (whole_a, rest_a) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
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
