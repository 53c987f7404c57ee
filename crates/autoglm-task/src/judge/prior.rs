//! The model's bias towards labels, estimated without knowing a single right answer.

use autoglm_spec::Calibration;
use serde::{Deserialize, Serialize};

use crate::numeric::softmax;

/// How many of the first records the batch prior is estimated on. More change it little (the
/// standard error of a mean probability over 256 records is at most 0.03), and nothing can be
/// written before they are scored.
pub const BATCH_RECORDS: usize = 256;

/// From how many records on the batch's bias is believed in full; of n fewer, n/32 of it is. A
/// handful of records may well be all of one label, and dividing that out would turn right answers
/// wrong; 32 records of two labels are as uneven as 22 to 10 in one case of twenty.
pub const BATCH_FULL_RECORDS: usize = 32;

/// Temperature of confidences as a multiple of how far a batch's scores spread, and the least that
/// it may be. Small models differ widely in how far they move the probabilities of labels, without
/// being more often right for it: the spread takes that out. Both numbers were chosen on
/// development rows of five data sets with the default model.
const TEMPERATURE_PER_SPREAD: f64 = 0.7;
const TEMPERATURE_MIN: f64 = 0.3;

/// A lean between two labels that is smaller than this share of the standard deviation of their
/// log-odds is not taken off: a mixture of 60 to 40 moves the mean as far.
const DEAD_ZONE: f64 = 0.3;

/// Steps of the search for the point between two clusters of scores; it settles within ten.
const CLUSTER_STEPS: usize = 50;

/// Probabilities are kept this far from 0 and 1, so that no single record on which the model is
/// beyond doubt decides for all others.
const PROBABILITY_MARGIN: f64 = 1e-4;

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

    /// The mean over records without content.
    ///
    /// # Source
    /// Zhao et al. 2021, Calibrate Before Use, section 5, with `W = diag(p_cf)⁻¹` and `b = 0`.
    pub fn contextual(content_free: &[Vec<f32>]) -> Self {
        Self {
            calibration: Calibration::Contextual,
            logprobs: narrow(&mean_lean(&probabilities(content_free))),
            temperature: 1.0,
            records: 0,
        }
    }

    /// What the labels have in common over unlabelled records of the input: half of it the mean
    /// probabilities, half the points between the two clusters into which each label's log-odds
    /// fall. On even input both say the same; where one label is much more frequent, the second
    /// moves less. Beyond nine records of ten with one label no such prior does any good. Between
    /// two labels a lean is left alone that an uneven mixture of them would show as well.
    ///
    /// Confidences of models that have seen examples are sharpened or softened by how far the
    /// batch's scores spread; of those that have not, they are taken as they are.
    ///
    /// # Source
    /// Zhou et al. 2023, Batch Calibration, equation 5, for the mean; the clusters are ours.
    pub fn batch(records: &[Vec<f32>], has_examples: bool) -> Self {
        let belief = (records.len() as f64 / BATCH_FULL_RECORDS as f64).min(1.0);
        let records = probabilities(records);
        let lean: Vec<f64> = mean_lean(&records)
            .iter()
            .zip(cluster_lean(&records))
            .map(|(mean, cluster)| belief * (0.5 * mean + 0.5 * cluster))
            .collect();
        let lean = outside_dead_zone(lean, &records);
        let temperature = if has_examples {
            let sharpened = (TEMPERATURE_PER_SPREAD * spread(&records, &lean)).max(TEMPERATURE_MIN);
            belief * sharpened + (1.0 - belief)
        } else {
            1.0
        };
        Self {
            calibration: Calibration::Batch,
            logprobs: narrow(&lean),
            temperature: temperature as f32,
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

/// The records' probabilities, each record's adding up to 1 but for the margin.
pub(super) fn probabilities(records: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let of_record = |logprobs: &Vec<f32>| {
        let wide: Vec<f64> = logprobs.iter().map(|&p| f64::from(p)).collect();
        let within = |p: f64| p.clamp(PROBABILITY_MARGIN, 1.0 - PROBABILITY_MARGIN);
        softmax(&wide).into_iter().map(within).collect()
    };
    records.iter().map(of_record).collect()
}

/// Logarithms of the labels' mean probabilities, centred; empty without records.
fn mean_lean(records: &[Vec<f64>]) -> Vec<f64> {
    centred(by_label(records, |column| mean(column).ln()))
}

/// The lean, or none where there are two labels and it lies within what an uneven mixture of them
/// would show as well.
fn outside_dead_zone(lean: Vec<f64>, records: &[Vec<f64>]) -> Vec<f64> {
    let [first, second] = lean[..] else {
        return lean;
    };
    let odds: Vec<f64> = records.iter().map(|p| (p[1] / p[0]).ln()).collect();
    let middle = mean(&odds);
    let squares: Vec<f64> = odds.iter().map(|z| (z - middle).powi(2)).collect();
    if (second - first).abs() < DEAD_ZONE * mean(&squares).sqrt() {
        return vec![0.0; 2];
    }
    lean
}

/// The points between the two clusters of each label's log-odds, centred. With K labels a point is
/// worth (K − 1)/K of its distance, for the odds are against all others together.
fn cluster_lean(records: &[Vec<f64>]) -> Vec<f64> {
    let points = by_label(records, |column| {
        let odds: Vec<f64> = column.iter().map(|p| (p / (1.0 - p)).ln()).collect();
        point_between(&odds)
    });
    let labels = points.len() as f64;
    let scaled = points
        .into_iter()
        .map(|point| point * (labels - 1.0) / labels);
    centred(scaled.collect())
}

/// The middle between the means of what lies above and below it.
fn point_between(values: &[f64]) -> f64 {
    let mut point = mean(values);
    for _ in 0..CLUSTER_STEPS {
        let (above, below): (Vec<f64>, Vec<f64>) = values.iter().partition(|&&v| v > point);
        if above.is_empty() || below.is_empty() {
            break;
        }
        point = f64::midpoint(mean(&above), mean(&below));
    }
    point
}

/// How far scores spread once the lean is off: the root of the mean over labels of the variance
/// over records, each record centred.
fn spread(records: &[Vec<f64>], lean: &[f64]) -> f64 {
    let scores = records.iter().map(|record| {
        let off = record.iter().zip(lean).map(|(p, l)| p.ln() - l);
        centred(off.collect())
    });
    let scores: Vec<Vec<f64>> = scores.collect();
    let variances = by_label(&scores, |column| {
        let middle = mean(column);
        let squares: Vec<f64> = column.iter().map(|v| (v - middle).powi(2)).collect();
        mean(&squares)
    });
    if variances.is_empty() {
        return 0.0;
    }
    mean(&variances).sqrt()
}

/// One value a label from the label's values over all records; empty without records.
fn by_label(records: &[Vec<f64>], of: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let labels = records.first().map_or(0, Vec::len);
    let column = |label: usize| -> Vec<f64> { records.iter().map(|r| r[label]).collect() };
    (0..labels).map(|label| of(&column(label))).collect()
}

pub(super) fn centred(values: Vec<f64>) -> Vec<f64> {
    let middle = mean(&values);
    values.into_iter().map(|value| value - middle).collect()
}

/// The mean; of nothing it is no number, and nothing asks for that.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub(super) fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
