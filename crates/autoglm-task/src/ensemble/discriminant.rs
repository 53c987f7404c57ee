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
/// Fisher 1936. The covariance is that of all samples, each less the mean of its label, shrunk after
/// Ledoit and Wolf: one of each label alone is next to nothing where a label has two or three.
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
        let means = means(vectors, labels, label_count);
        let seen: Vec<usize> = (0..label_count).filter(|&k| means[k].is_some()).collect();
        let mut probe = Self {
            weights: vec![Vec::new(); label_count],
            offsets: vec![UNSEEN; label_count],
        };
        if seen.is_empty() {
            return probe;
        }
        let covariance = shrunk_covariance(
            residuals(vectors, labels, &means),
            vectors.len() - seen.len(),
        );
        let means: Vec<DVector<f64>> = means.into_iter().flatten().collect();
        let solver = inverse_of(&covariance, &means);
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

/// The mean vector of each label; none where it has no sample.
fn means(vectors: &[&[f32]], labels: &[usize], label_count: usize) -> Vec<Option<DVector<f64>>> {
    let of_label = |label: usize| {
        let mut count = 0.0;
        let mut sum: Option<DVector<f64>> = None;
        for (vector, _) in vectors.iter().zip(labels).filter(|(_, l)| **l == label) {
            let vector = wide(vector);
            count += 1.0;
            sum = Some(sum.map_or_else(|| vector.clone(), |sum| sum + &vector));
        }
        sum.map(|sum| sum / count)
    };
    (0..label_count).map(of_label).collect()
}

/// The vectors less the means of their labels: `[n, d]`.
fn residuals(vectors: &[&[f32]], labels: &[usize], means: &[Option<DVector<f64>>]) -> DMatrix<f64> {
    let width = vectors.first().map_or(0, |vector| vector.len());
    let mut residuals = DMatrix::zeros(vectors.len(), width);
    for (row, (vector, &label)) in vectors.iter().zip(labels).enumerate() {
        let mean = means[label].as_ref();
        let mean = mean.expect("a label with a sample has a mean");
        residuals.set_row(row, &(wide(vector) - mean).transpose());
    }
    residuals
}

fn wide(vector: &[f32]) -> DVector<f64> {
    DVector::from_iterator(vector.len(), vector.iter().map(|&x| f64::from(x)))
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
