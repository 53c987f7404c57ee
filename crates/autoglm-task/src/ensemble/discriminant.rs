//! A linear probe: which label a vector speaks for.

use nalgebra::{Cholesky, DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::covariance::shrunk_covariance;
use crate::numeric::log_softmax;

/// What a label without a single sample gets, in log-probability before they are made to add up to
/// 1: next to nothing, and never minus infinity.
const UNSEEN: f64 = -30.0;
/// What is added to the variances, as a share of their mean, where the covariance has no inverse.
const JITTER: f64 = 1e-6;

/// A linear discriminant with equal priors: each label has a mean, all have one covariance.
///
/// # Source
/// Fisher 1936; the covariance is the mean of the labels' own, each shrunk by Ledoit and Wolf,
/// as in scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Discriminant {
    /// One row of weights a label, `[K, d]` row-major; empty for labels without samples.
    weights: Vec<Vec<f32>>,
    offsets: Vec<f64>,
}

impl Discriminant {
    /// Fits the probe to vectors with the places of their labels.
    ///
    /// # Shapes
    /// `vectors`: n of d numbers; `labels`: n, each below `label_count`.
    pub(super) fn fit(vectors: &[&[f32]], labels: &[usize], label_count: usize) -> Self {
        let groups: Vec<Option<DMatrix<f64>>> = (0..label_count)
            .map(|label| matrix_of(vectors, labels, label))
            .collect();
        let seen: Vec<usize> = (0..label_count).filter(|&k| groups[k].is_some()).collect();
        let means: Vec<DVector<f64>> = groups
            .iter()
            .flatten()
            .map(|group| group.row_mean().transpose())
            .collect();
        let mut probe = Self {
            weights: vec![Vec::new(); label_count],
            offsets: vec![UNSEEN; label_count],
        };
        if means.is_empty() {
            return probe;
        }
        let solver = inverse_of(&pooled(&groups), &means);
        for (&label, mean) in seen.iter().zip(&means) {
            let weights = solver.solve(mean);
            probe.offsets[label] = -0.5 * mean.dot(&weights);
            probe.weights[label] = weights.iter().map(|&w| w as f32).collect();
        }
        probe
    }

    /// The labels' log-probabilities for a vector.
    pub(super) fn log_probabilities(&self, vector: &[f32]) -> Vec<f64> {
        let raw: Vec<f64> = self
            .weights
            .iter()
            .zip(&self.offsets)
            .map(|(weights, offset)| offset + product(weights, vector))
            .collect();
        let top = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let seen = self.weights.iter().map(|weights| !weights.is_empty());
        let bounded: Vec<f64> = raw
            .iter()
            .zip(seen)
            .map(|(&value, seen)| if seen { value } else { top + UNSEEN })
            .collect();
        log_softmax(&bounded)
    }
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// The vectors of a label as rows; none where it has none.
fn matrix_of(vectors: &[&[f32]], labels: &[usize], label: usize) -> Option<DMatrix<f64>> {
    let rows: Vec<&[f32]> = vectors
        .iter()
        .zip(labels)
        .filter(|(_, l)| **l == label)
        .map(|(vector, _)| *vector)
        .collect();
    let width = rows.first()?.len();
    let numbers = rows.iter().flat_map(|row| row.iter().copied());
    Some(DMatrix::from_row_iterator(
        rows.len(),
        width,
        numbers.map(f64::from),
    ))
}

/// The mean of the labels' covariances; of those with several samples, where there are any.
fn pooled(groups: &[Option<DMatrix<f64>>]) -> DMatrix<f64> {
    let several: Vec<&DMatrix<f64>> = groups.iter().flatten().filter(|g| g.nrows() > 1).collect();
    let width = groups.iter().flatten().next().map_or(0, DMatrix::ncols);
    let mut sum = DMatrix::zeros(width, width);
    for group in &several {
        sum += shrunk_covariance(group);
    }
    sum / several.len().max(1) as f64
}

/// What multiplies with the inverse of a covariance, which is given some more variance where it
/// has none; that of the means where the samples show no spread at all.
fn inverse_of(covariance: &DMatrix<f64>, means: &[DVector<f64>]) -> Cholesky<f64, nalgebra::Dyn> {
    let width = covariance.nrows();
    let trace = covariance.trace();
    let scale = if trace > 0.0 {
        trace / width as f64
    } else {
        let squares: f64 = means.iter().map(DVector::norm_squared).sum();
        (squares / (means.len() * width) as f64).max(f64::MIN_POSITIVE)
    };
    let mut jitter = 0.0;
    loop {
        let lifted = covariance + DMatrix::identity(width, width) * (jitter * scale);
        if let Some(solver) = Cholesky::new(lifted) {
            return solver;
        }
        jitter = if jitter == 0.0 { JITTER } else { jitter * 10.0 };
        assert!(
            jitter < 1e9,
            "a multiple of the identity is positive definite"
        );
    }
}
