//! A linear probe: which label a vector speaks for.

use nalgebra::{Cholesky, DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::numeric::log_softmax;

/// What a label without a single sample gets, in log-probability before they are made to add up to
/// 1: next to nothing, and never minus infinity.
const UNSEEN: f64 = -30.0;

/// A linear discriminant with equal priors: each label has a mean, all have one covariance.
///
/// # Source
/// Fisher 1936. The covariance is that of all samples, each less the mean of its label. It is
/// shrunk towards its own diagonal, as in Guo, Hastie and Tibshirani 2007, Regularized linear
/// discriminant analysis, equation 5.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Discriminant {
    /// One row of weights a label, `[K, d]`; empty for labels without samples.
    weights: Vec<Vec<f32>>,
    offsets: Vec<f64>,
}

impl Discriminant {
    /// Fits one probe a shrinkage to vectors with the places of their labels. A shrinkage of 1
    /// takes numbers for independent, one near 0 the covariance as the samples show it.
    ///
    /// # Shapes
    /// `vectors`: n of d numbers; `labels`: n, each below `label_count`; `shrinkages`: in (0, 1].
    pub(super) fn fit(
        vectors: &[&[f32]],
        labels: &[usize],
        label_count: usize,
        shrinkages: &[f64],
    ) -> Vec<Self> {
        let samples = Samples::new(vectors, labels, label_count);
        let with = |&shrinkage: &f64| samples.discriminant(label_count, shrinkage);
        shrinkages.iter().map(with).collect()
    }

    /// The labels' log-probabilities for a vector.
    pub(super) fn log_probabilities(&self, vector: &[f32]) -> Vec<f64> {
        let raw: Vec<f64> = self
            .weights
            .iter()
            .zip(&self.offsets)
            .map(|(weights, offset)| offset + product(weights, vector))
            .collect();
        let seen = || self.weights.iter().map(|weights| !weights.is_empty());
        let of_seen = raw.iter().zip(seen()).filter(|(_, seen)| *seen);
        let top = of_seen.fold(f64::NEG_INFINITY, |top, (&value, _)| top.max(value));
        let bounded: Vec<f64> = raw
            .iter()
            .zip(seen())
            .map(|(&value, seen)| if seen { value } else { top.max(0.0) + UNSEEN })
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

/// Samples of labels, seen so that each number has the same spread within labels.
struct Samples {
    /// The labels that have samples.
    seen: Vec<usize>,
    /// Their means, divided by the spread: `[d, seen]`.
    means: DMatrix<f64>,
    /// The standard deviation of each number within labels; 1 where it does not vary.
    spread: DVector<f64>,
    /// The samples less the means of their labels, divided by the spread: `[n, d]`.
    residuals: DMatrix<f64>,
    /// The products of residuals or of their numbers, whichever are fewer.
    products: DMatrix<f64>,
    /// How many samples are free to differ from the means.
    freedom: f64,
}

impl Samples {
    fn new(vectors: &[&[f32]], labels: &[usize], label_count: usize) -> Self {
        let means = means(vectors, labels, label_count);
        let seen: Vec<usize> = (0..label_count).filter(|&k| means[k].is_some()).collect();
        let mut residuals = residuals(vectors, labels, &means);
        let freedom = vectors.len().saturating_sub(seen.len()).max(1) as f64;
        let spread = spread(&residuals, freedom);
        for (mut column, spread) in residuals.column_iter_mut().zip(spread.iter()) {
            column /= *spread;
        }
        let of_seen: Vec<DVector<f64>> = means
            .into_iter()
            .flatten()
            .map(|mean| mean.component_div(&spread))
            .collect();
        let products = if residuals.nrows() < residuals.ncols() {
            &residuals * residuals.transpose()
        } else {
            residuals.tr_mul(&residuals)
        };
        Self {
            seen,
            means: DMatrix::from_columns(&of_seen),
            spread,
            residuals,
            products,
            freedom,
        }
    }

    fn discriminant(&self, label_count: usize, shrinkage: f64) -> Discriminant {
        let mut probe = Discriminant {
            weights: vec![Vec::new(); label_count],
            offsets: vec![UNSEEN; label_count],
        };
        let weights = self.weights(shrinkage);
        for (place, &label) in self.seen.iter().enumerate() {
            let of_label = weights.column(place);
            probe.offsets[label] = -0.5 * self.means.column(place).dot(&of_label);
            let as_given = of_label.component_div(&self.spread);
            probe.weights[label] = as_given.iter().map(|&w| w as f32).collect();
        }
        probe
    }

    /// The inverse of `shrinkage · I + share · Rᵀ·R` times the means: `[d, seen]`. With fewer samples
    /// than numbers by the identity of Woodbury, in which the matrix to invert has a row a sample.
    fn weights(&self, shrinkage: f64) -> DMatrix<f64> {
        let share = (1.0 - shrinkage) / self.freedom;
        let (samples, numbers) = self.residuals.shape();
        if samples >= numbers {
            return inverse(&self.products * share, shrinkage).solve(&self.means);
        }
        let solver = inverse(&self.products * (share / shrinkage), 1.0);
        let inner = solver.solve(&(&self.residuals * &self.means));
        let outer = self.residuals.tr_mul(&inner) * (share / shrinkage);
        (&self.means - outer) / shrinkage
    }
}

/// What multiplies with the inverse of a matrix of products, to which a multiple of the identity
/// is added.
fn inverse(mut products: DMatrix<f64>, identity: f64) -> Cholesky<f64, nalgebra::Dyn> {
    for place in 0..products.nrows() {
        products[(place, place)] += identity;
    }
    Cholesky::new(products).expect("products with a multiple of the identity are positive definite")
}

/// The mean vector of each label; none where it has no sample.
fn means(vectors: &[&[f32]], labels: &[usize], label_count: usize) -> Vec<Option<DVector<f64>>> {
    let mut means: Vec<Option<DVector<f64>>> = vec![None; label_count];
    let mut counts = vec![0.0; label_count];
    for (vector, &label) in vectors.iter().zip(labels) {
        let vector = wide(vector);
        counts[label] += 1.0;
        match &mut means[label] {
            Some(sum) => *sum += vector,
            none => *none = Some(vector),
        }
    }
    for (mean, count) in means.iter_mut().zip(counts) {
        if let Some(mean) = mean {
            *mean /= count;
        }
    }
    means
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

/// The standard deviation of each number; 1 where it does not vary.
fn spread(residuals: &DMatrix<f64>, freedom: f64) -> DVector<f64> {
    let of_number = residuals.column_iter().map(|column| {
        let deviation = (column.norm_squared() / freedom).sqrt();
        if deviation > 0.0 { deviation } else { 1.0 }
    });
    DVector::from_iterator(residuals.ncols(), of_number)
}

fn wide(vector: &[f32]) -> DVector<f64> {
    DVector::from_iterator(vector.len(), vector.iter().map(|&x| f64::from(x)))
}
