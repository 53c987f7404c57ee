//! Covariances from few samples of many numbers.

use nalgebra::DMatrix;

/// The covariance of samples `[n, d]`, shrunk towards the one whose numbers are independent: they
/// are brought to the same spread, shrunk as far as their number commands, and given their own
/// spread back. Zeros for one sample.
///
/// # Source
/// Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices,
/// lemma 3.2 to 3.5; on numbers of the same spread as scikit-learn's `shrinkage="auto"` does.
pub(super) fn shrunk_covariance(samples: &DMatrix<f64>) -> DMatrix<f64> {
    let (centred, spread) = standardised(samples);
    let count = samples.nrows() as f64;
    let width = samples.ncols();
    let fourth_moments: f64 = centred
        .row_iter()
        .map(|row| row.norm_squared().powi(2))
        .sum();
    let mut covariance = centred.tr_mul(&centred) / count;
    let mean_variance = covariance.trace() / width as f64;
    let shrinkage = shrinkage(&covariance, fourth_moments, count);
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

/// Samples less their mean, divided by their standard deviation, and that deviation; 1 where a
/// number is always the same.
fn standardised(samples: &DMatrix<f64>) -> (DMatrix<f64>, Vec<f64>) {
    let mut centred = samples.clone();
    let mut spread = Vec::with_capacity(samples.ncols());
    for mut column in centred.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
        let deviation = (column.norm_squared() / column.len() as f64).sqrt();
        let deviation = if deviation > f64::EPSILON * mean.abs() {
            deviation
        } else {
            1.0
        };
        column /= deviation;
        spread.push(deviation);
    }
    (centred, spread)
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
