//! What an evaluation finds.

use autoglm_spec::Calibration;
use serde::{Deserialize, Serialize};

use crate::judge::agreement::{Compare, StopRule};

/// What an evaluation finds. Shares and scores are in [0, 1] unless said otherwise.
///
/// Reports are stored: whatever is added here or below needs a default, so that earlier ones still
/// read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The task's name.
    pub task: String,
    /// The model's name.
    pub model: String,
    /// Examples in the prompt.
    pub examples: usize,
    /// Rows that were evaluated.
    pub rows: usize,
    /// Of these, rows without an answer, which count as wrong.
    pub errors: usize,
    /// Rows that were left out because they have no right answer or could not be read.
    pub without_gold: usize,
    /// Right answers that are no labels of the task; their rows were left out.
    pub unknown_gold: Vec<UnknownGold>,
    /// How long all rows took.
    pub seconds: f64,
    /// Rows a second.
    pub records_per_second: f64,
    /// How good the answers are.
    pub quality: Quality,
    /// What their confidences are worth.
    pub confidence: ConfidenceQuality,
}

/// What confidences are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceQuality {
    /// Share of the rows whose answer is neither missing nor withheld.
    pub coverage: f64,
    /// Share of right ones among these.
    pub answered_accuracy: f64,
    /// Expected calibration error over 15 bins of equal width, withheld answers included.
    pub calibration_error: f64,
    /// The same once a calibrator is fitted, each half of the rows by the other half; none where
    /// there are too few rows.
    pub fitted_calibration_error: Option<f64>,
    /// The error among the surest rows.
    pub risks: Vec<RiskPoint>,
    /// The mean of that error over all coverages.
    pub aurc: f64,
    /// The bins of the calibration error that have answers, least sure first.
    pub bins: Vec<ConfidenceBin>,
    /// The error among the surest rows at up to 50 coverages, for a curve.
    pub curve: Vec<RiskPoint>,
}

/// Answers of about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceBin {
    /// Answers.
    pub rows: usize,
    /// Of these, right ones.
    pub right: usize,
    /// Their mean confidence.
    pub confidence: f64,
}

/// The error among the surest rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RiskPoint {
    /// Their share of all rows.
    pub coverage: f64,
    /// Their share of wrong answers.
    pub error: f64,
}

/// What several samples bring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplesQuality {
    /// Samples of a row at most.
    pub limit: usize,
    /// Samples of a row that were taken.
    pub mean_samples: f64,
    /// Share of right answers by the first samples alone, the most likely ones.
    pub first_accuracy: f64,
    /// What each rule would have taken and given; none where samples were not all taken.
    pub rules: Vec<RuleQuality>,
}

/// What a rule of stopping costs and gives, over several orders of the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RuleQuality {
    /// The rule.
    pub rule: StopRule,
    /// Orders of the samples.
    pub orders: usize,
    /// Share of right answers, the mean over the orders.
    pub accuracy: f64,
    /// Its standard deviation over the orders.
    pub accuracy_deviation: f64,
    /// Samples of a row, the mean over the orders.
    pub mean_samples: f64,
    /// Its standard deviation over the orders.
    pub samples_deviation: f64,
}

/// A right answer that is no label of the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownGold {
    /// What stands in the data.
    pub answer: String,
    /// Rows with it.
    pub rows: usize,
    /// Line of the first of them.
    pub first_line: u64,
}

/// How good answers are, by their kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Quality {
    /// Labels.
    Closed(ClosedQuality),
    /// Text, code or JSON.
    Open(OpenQuality),
}

/// Measures that hold for calibrated and uncalibrated labels alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Share of right answers.
    pub accuracy: f64,
    /// Mean F1 over labels.
    pub macro_f1: f64,
    /// Expected calibration error over 15 bins of equal width.
    pub calibration_error: f64,
    /// Squared error of the probabilities, summed over labels, in [0, 2].
    pub brier: f64,
}

/// How good labels are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosedQuality {
    /// How label bias was removed.
    pub calibration: Calibration,
    /// Of the answers as given.
    pub scores: Scores,
    /// The accuracy's 95 % interval.
    pub accuracy_interval: [f64; 2],
    /// Of the answers that the same scores give without calibration.
    pub uncalibrated: Scores,
    /// What always giving the most frequent right answer would reach.
    pub majority: Majority,
    /// One entry a label, in the task's order.
    pub labels: Vec<LabelQuality>,
    /// Rows by right answer (outer) and given answer (inner), in the task's order; the last
    /// column is for rows without an answer.
    pub confusion: Vec<Vec<usize>>,
}

/// Rows with one right answer that were given another, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confusion {
    /// The right label's place among the task's.
    pub right: usize,
    /// The given label's place; none where there was no answer.
    pub given: Option<usize>,
    /// Rows.
    pub rows: usize,
}

impl ClosedQuality {
    /// What was taken for what, the most frequent first.
    pub fn confusions(&self) -> Vec<Confusion> {
        let mut found = Vec::new();
        for (right, counts) in self.confusion.iter().enumerate() {
            let given = counts.iter().enumerate();
            let wrong = given.filter(|(given, rows)| *given != right && **rows > 0);
            found.extend(wrong.map(|(given, &rows)| Confusion {
                right,
                given: Some(given).filter(|given| *given < self.labels.len()),
                rows,
            }));
        }
        found.sort_by_key(|confusion| std::cmp::Reverse(confusion.rows));
        found
    }
}

/// The most frequent right answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Majority {
    /// The label.
    pub label: String,
    /// Its share of the rows.
    pub accuracy: f64,
}

/// How good one label is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelQuality {
    /// The label.
    pub label: String,
    /// Rows whose right answer it is.
    pub rows: usize,
    /// Rows that were answered with it.
    pub given: usize,
    /// Share of right ones among those answered with it; 0 where there are none.
    pub precision: f64,
    /// Share of right ones among those whose right answer it is; 0 where there are none.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
}

/// How good open answers are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenQuality {
    /// Share of answers that are the right one but for case, punctuation and articles.
    pub exact_match: f64,
    /// Its 95 % interval.
    pub exact_match_interval: [f64; 2],
    /// By what answers were compared for the next measure.
    pub compare: Compare,
    /// Share of answers that are the same as the right one by that: of the number that a text
    /// comes to, for example.
    pub same_value: f64,
    /// Its 95 % interval.
    pub same_value_interval: [f64; 2],
    /// What several samples bring; none where each answer is one.
    pub samples: Option<SamplesQuality>,
    /// Mean F1 over words.
    pub token_f1: f64,
    /// Mean F1 over the longest common subsequence of words.
    pub rouge_l: f64,
    /// Mean confidence of the answers.
    pub mean_confidence: f64,
}

/// The mean over several reports on the same data, as over several draws of examples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanScores {
    /// How many reports.
    pub reports: usize,
    /// Of the answers as given.
    pub scores: Scores,
    /// Of the answers without calibration.
    pub uncalibrated: Scores,
    /// The least accuracy of one report.
    pub least_accuracy: f64,
}

impl MeanScores {
    /// The mean over reports on labels; none where there are none.
    pub fn of(reports: &[Report]) -> Option<Self> {
        let closed: Vec<&ClosedQuality> = reports
            .iter()
            .filter_map(|report| match &report.quality {
                Quality::Closed(closed) => Some(closed),
                Quality::Open(_) => None,
            })
            .collect();
        let accuracies = closed.iter().map(|c| c.scores.accuracy);
        let least_accuracy = accuracies.reduce(f64::min)?;
        let mean = |of: fn(&ClosedQuality) -> Scores| {
            let over = |value: fn(&Scores) -> f64| {
                closed.iter().map(|c| value(&of(c))).sum::<f64>() / closed.len() as f64
            };
            Scores {
                accuracy: over(|s| s.accuracy),
                macro_f1: over(|s| s.macro_f1),
                calibration_error: over(|s| s.calibration_error),
                brier: over(|s| s.brier),
            }
        };
        Some(Self {
            reports: closed.len(),
            scores: mean(|c| c.scores),
            uncalibrated: mean(|c| c.uncalibrated),
            least_accuracy,
        })
    }
}
