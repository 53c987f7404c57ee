//! The model's bias towards labels, estimated without knowing a single right answer.

use autoglm_spec::Calibration;
use serde::{Deserialize, Serialize};

/// How many of the first records the batch prior is estimated on. More change it little (the
/// standard error of a mean probability over 256 records is at most 0.03), and nothing can be
/// written before they are scored.
pub const BATCH_RECORDS: usize = 256;

/// From how many records on the batch prior is used alone. Below, it is mixed with the content-free
/// prior in proportion to their number: a handful of records may well be all of one label, and
/// dividing that out would turn right answers wrong.
pub const BATCH_MIN_RECORDS: usize = 32;

/// No label's prior is taken to be less than this, so that dividing by it stays harmless.
const PRIOR_FLOOR: f64 = 1e-4;

/// What a model says before it has seen anything: one probability a label, adding up to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// How it was estimated.
    pub calibration: Calibration,
    /// The labels' probabilities, in the task's order; empty where nothing is divided out.
    pub probabilities: Vec<f32>,
    /// Records of the input that it was estimated on.
    pub records: usize,
}

impl Prior {
    /// A prior that leaves probabilities as they are.
    pub fn none() -> Self {
        Self {
            calibration: Calibration::None,
            probabilities: Vec::new(),
            records: 0,
        }
    }

    /// The mean over records without content.
    ///
    /// # Source
    /// Zhao et al. 2021, Calibrate Before Use, section 5, with W = diag(p_cf)⁻¹ and b = 0.
    pub fn contextual(content_free: &[Vec<f32>]) -> Self {
        Self {
            calibration: Calibration::Contextual,
            probabilities: mean_probabilities(content_free),
            records: 0,
        }
    }

    /// Whether a batch prior on so few records leans on records without content.
    pub fn needs_content_free(records: usize) -> bool {
        records < BATCH_MIN_RECORDS
    }

    /// The mean over unlabelled records of the input; of fewer than [`BATCH_MIN_RECORDS`] = m, n
    /// records count n/m and the content-free prior the rest.
    ///
    /// # Source
    /// Zhou et al. 2023, Batch Calibration, equation 5: the mean is taken over probabilities, so
    /// that records of which the model is sure shift the prior by no more than their number.
    pub fn batch(records: &[Vec<f32>], content_free: &[Vec<f32>]) -> Self {
        if records.is_empty() {
            return Self::contextual(content_free);
        }
        let batch = mean_probabilities(records);
        let probabilities = if !Self::needs_content_free(records.len()) || content_free.is_empty() {
            batch
        } else {
            let weight = records.len() as f32 / BATCH_MIN_RECORDS as f32;
            let anchor = mean_probabilities(content_free);
            let mixed = batch.iter().zip(&anchor);
            mixed
                .map(|(b, a)| weight * b + (1.0 - weight) * a)
                .collect()
        };
        Self {
            calibration: Calibration::Batch,
            probabilities,
            records: records.len(),
        }
    }

    /// The labels' probabilities with the prior divided out: `softmax(log p − log prior)`.
    pub fn divide_out(&self, logprobs: &[f32]) -> Vec<f32> {
        let prior_of = |label: usize| match self.probabilities.get(label) {
            Some(&p) => f64::from(p).max(PRIOR_FLOOR).ln(),
            None => 0.0,
        };
        let adjusted: Vec<f64> = logprobs
            .iter()
            .enumerate()
            .map(|(label, &p)| f64::from(p) - prior_of(label))
            .collect();
        softmax(&adjusted).into_iter().map(|p| p as f32).collect()
    }
}

/// The mean over records of their normalised probabilities; empty without records.
fn mean_probabilities(records: &[Vec<f32>]) -> Vec<f32> {
    let Some(first) = records.first() else {
        return Vec::new();
    };
    let mut sum = vec![0.0f64; first.len()];
    for logprobs in records {
        let wide: Vec<f64> = logprobs.iter().map(|&p| f64::from(p)).collect();
        for (total, p) in sum.iter_mut().zip(softmax(&wide)) {
            *total += p;
        }
    }
    let count = records.len() as f64;
    sum.into_iter()
        .map(|total| (total / count) as f32)
        .collect()
}

/// Probabilities from log-probabilities up to a constant. Where all are −∞, every one is equal.
fn softmax(logs: &[f64]) -> Vec<f64> {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return vec![1.0 / logs.len() as f64; logs.len()];
    }
    let exps: Vec<f64> = logs.iter().map(|l| (l - top).exp()).collect();
    let total: f64 = exps.iter().sum();
    exps.into_iter().map(|e| e / total).collect()
}
