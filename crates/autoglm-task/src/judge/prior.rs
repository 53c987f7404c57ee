//! The model's bias towards labels, estimated without knowing a single right answer.

use autoglm_spec::Calibration;
use serde::{Deserialize, Serialize};

/// How many of the first records the batch prior is estimated on. More change it little (the
/// standard error of a mean probability over 256 records is at most 0.03), and nothing can be
/// written before they are scored.
pub const BATCH_RECORDS: usize = 256;

/// From how many records on the batch's bias is believed in full; of n fewer, n/32 of it is. A
/// handful of records may well be all of one label, and dividing that out would turn right answers
/// wrong; 32 records of two labels are as uneven as 22 to 10 in one case of twenty.
pub const BATCH_FULL_RECORDS: usize = 32;

/// What the log-probabilities of a batch-calibrated model are divided by before they become
/// confidences. Small models move their label probabilities far too little: taken as they are,
/// their confidences are 0.14 to 0.21 below their accuracy on reviews in English and Chinese
/// (development rows, default model), with 0.4 within 0.03 to 0.12. Answers do not depend on it.
pub const BATCH_TEMPERATURE: f32 = 0.4;

/// The least log-probability that counts in a mean, e⁻⁹·²¹ = 10⁻⁴, so that no single record on which
/// the model is beyond doubt decides for all others.
const LOGPROB_FLOOR: f64 = -9.210_340_371_976_182;

/// What a model leans to before it has seen anything, and how its scores become confidences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// How it was estimated.
    pub calibration: Calibration,
    /// The labels' log-probabilities up to a constant, in the task's order; empty where nothing is
    /// divided out.
    pub logprobs: Vec<f32>,
    /// What scores are divided by once the prior is taken off.
    pub temperature: f32,
    /// Records of the input that it was estimated on.
    pub records: usize,
}

impl Prior {
    /// A prior that leaves probabilities as they are.
    pub fn none() -> Self {
        Self {
            calibration: Calibration::None,
            logprobs: Vec::new(),
            temperature: 1.0,
            records: 0,
        }
    }

    /// The mean log-probabilities over records without content.
    ///
    /// # Source
    /// Zhao et al. 2021, Calibrate Before Use, section 5, with W = diag(p_cf)⁻¹ and b = 0; the
    /// mean here is over log-probabilities.
    pub fn contextual(content_free: &[Vec<f32>]) -> Self {
        Self {
            calibration: Calibration::Contextual,
            logprobs: mean_logprobs(content_free, 1.0),
            temperature: 1.0,
            records: 0,
        }
    }

    /// The mean log-probabilities over unlabelled records of the input.
    ///
    /// # Source
    /// Zhou et al. 2023, Batch Calibration, equation 5, with the mean over log-probabilities
    /// instead of probabilities: equal or better on development rows, and the natural centre of
    /// scores that are compared by their differences.
    pub fn batch(records: &[Vec<f32>]) -> Self {
        let belief = (records.len() as f64 / BATCH_FULL_RECORDS as f64).min(1.0);
        Self {
            calibration: Calibration::Batch,
            logprobs: mean_logprobs(records, belief),
            temperature: BATCH_TEMPERATURE,
            records: records.len(),
        }
    }

    /// The labels' probabilities: `softmax((log p − log prior) / temperature)`.
    pub fn divide_out(&self, logprobs: &[f32]) -> Vec<f32> {
        let prior_of = |label: usize| self.logprobs.get(label).copied().unwrap_or(0.0);
        let temperature = f64::from(self.temperature);
        let adjusted: Vec<f64> = logprobs
            .iter()
            .enumerate()
            .map(|(label, &p)| (f64::from(p) - f64::from(prior_of(label))) / temperature)
            .collect();
        softmax(&adjusted).into_iter().map(|p| p as f32).collect()
    }
}

/// The mean over records of their normalised log-probabilities, times `belief`; empty without
/// records.
fn mean_logprobs(records: &[Vec<f32>], belief: f64) -> Vec<f32> {
    let Some(first) = records.first() else {
        return Vec::new();
    };
    let mut sum = vec![0.0f64; first.len()];
    for logprobs in records {
        let wide: Vec<f64> = logprobs.iter().map(|&p| f64::from(p)).collect();
        for (total, p) in sum.iter_mut().zip(softmax(&wide)) {
            *total += p.ln().max(LOGPROB_FLOOR);
        }
    }
    let count = records.len() as f64;
    let mean = |total: f64| (belief * total / count) as f32;
    sum.into_iter().map(mean).collect()
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
