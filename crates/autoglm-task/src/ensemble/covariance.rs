//! Covariances from few samples of many numbers.

use nalgebra::DMatrix;

/// The covariance of residuals `[n, d]`, each a sample less the mean of its group, of which
/// `freedom` are free to differ. It is shrunk towards the one whose numbers are independent: they
/// are brought to the same spread, shrunk as far as their count commands, and given their own
/// spread back.
///
/// # Source
/// Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices,
/// lemma 3.2 to 3.5.
pub(super) fn shrunk_covariance(residuals: DMatrix<f64>, freedom: usize) -> DMatrix<f64> {
    let (count, width) = residuals.shape();
    let (even, spread) = evened(residuals, freedom);
    let fourth_moments: f64 = even.row_iter().map(|row| row.norm_squared().powi(2)).sum();
    let mut covariance = even.tr_mul(&even) / count as f64;
    let mean_variance = covariance.trace() / width as f64;
    let shrinkage = shrinkage(&covariance, fourth_moments, count as f64);
    covariance *= 1.0 - shrinkage;
    for place in 0..width {
        covariance[(place, place)] += shrinkage * mean_variance;
    }
    for column in 0..width {
        for row in 0..width {
            covariance[(row, column)] *= spread[row] * spread[column];
        }
    }
    covariance
}

/// Residuals of which each number has mean square 1, and the standard deviation that it had; 1
/// where a number does not vary.
fn evened(mut residuals: DMatrix<f64>, freedom: usize) -> (DMatrix<f64>, Vec<f64>) {
    let count = residuals.nrows() as f64;
    let mut spread = Vec::with_capacity(residuals.ncols());
    for mut column in residuals.column_iter_mut() {
        let square = column.norm_squared();
        let (to_one, deviation) = if square > 0.0 {
            let of_samples = (square / freedom.max(1) as f64).sqrt();
            ((square / count).sqrt(), of_samples)
        } else {
            (1.0, 1.0)
        };
        column /= to_one;
        spread.push(deviation);
    }
    (residuals, spread)
}

/// How far to shrink, in [0, 1].
fn shrinkage(covariance: &DMatrix<f64>, fourth_moments: f64, count: f64) -> f64 {
    let width = covariance.nrows() as f64;
    let trace = covariance.trace();
    let squares = covariance.norm_squared();
    let mean_variance = trace / width;
    let noise = (fourth_moments / count - squares) / (width * count);
    let distance = (squares - 2.0 * mean_variance * trace + width * mean_variance.powi(2)) / width;
    let noise = noise.min(distance);
    if noise <= 0.0 || distance <= 0.0 {
        return 0.0;
    }
    noise / distance
}
