//! The measures for closed sets of labels. Formulas stand in `docs/evaluation.md`.

use autoglm_spec::{Calibration, Verdict};

use super::confidence::{Claim, calibration_error};
use super::interval::wilson_interval;
use super::report::{ClosedQuality, LabelQuality, Majority, Scores};

/// One row's right answer and what was answered.
pub(super) struct Answer {
    pub(super) gold: usize,
    /// The answer; none where there was an error.
    pub(super) given: Option<usize>,
    /// One probability a label, in the task's order; empty where there was an error.
    pub(super) probabilities: Vec<f64>,
}

impl Answer {
    /// # Panics
    /// When `gold` is no label.
    pub(super) fn new(names: &[String], gold: &str, verdict: Option<&Verdict>) -> Self {
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        let probability = |name: &String| {
            let of_label = verdict.and_then(|v| v.distribution.iter().find(|(n, _)| n == name));
            of_label.map_or(0.0, |(_, p)| f64::from(*p))
        };
        Self {
            gold: place(gold).expect("unknown answers were sorted out"),
            given: verdict.and_then(|v| place(&v.answer)),
            probabilities: match verdict {
                Some(_) => names.iter().map(probability).collect(),
                None => Vec::new(),
            },
        }
    }

    fn is_right(&self) -> bool {
        self.given == Some(self.gold)
    }

    fn confidence(&self) -> f64 {
        self.probabilities.iter().copied().fold(0.0, f64::max)
    }
}

/// Rows of a closed set with their answers.
pub(super) struct Closed<'a> {
    names: &'a [String],
    answers: Vec<Answer>,
}

impl<'a> Closed<'a> {
    pub(super) fn new(names: &'a [String], answers: Vec<Answer>) -> Self {
        Self { names, answers }
    }

    pub(super) fn quality(&self, calibration: Calibration, uncalibrated: Scores) -> ClosedQuality {
        let labels: Vec<LabelQuality> = (0..self.names.len()).map(|l| self.label(l)).collect();
        let right = self.right();
        ClosedQuality {
            calibration,
            scores: self.scores(),
            accuracy_interval: wilson_interval(right, self.answers.len()),
            uncalibrated,
            majority: majority(&labels, self.answers.len()),
            confusion: self.confusion(),
            labels,
        }
    }

    /// The rows' confidences and whether they are right.
    pub(super) fn claims(&self, abstained: impl Iterator<Item = bool>) -> Vec<Claim> {
        let claim = |(answer, abstained): (&Answer, bool)| Claim {
            confidence: answer.given.map(|_| answer.confidence() as f32),
            right: answer.is_right(),
            abstained,
        };
        self.answers.iter().zip(abstained).map(claim).collect()
    }

    pub(super) fn scores(&self) -> Scores {
        Scores {
            accuracy: share(self.right(), self.answers.len()),
            macro_f1: self.macro_f1(),
            calibration_error: self.calibration_error(),
            brier: self.brier(),
        }
    }

    fn right(&self) -> usize {
        self.answers.iter().filter(|a| a.is_right()).count()
    }

    /// Counts with right answers as rows and given ones as columns, the last for no answer.
    fn confusion(&self) -> Vec<Vec<usize>> {
        let labels = self.names.len();
        let mut counts = vec![vec![0; labels + 1]; labels];
        for answer in &self.answers {
            counts[answer.gold][answer.given.unwrap_or(labels)] += 1;
        }
        counts
    }

    fn label(&self, label: usize) -> LabelQuality {
        let count = |is_it: &dyn Fn(&Answer) -> bool| {
            self.answers.iter().filter(|answer| is_it(answer)).count()
        };
        let rows = count(&|a| a.gold == label);
        let given = count(&|a| a.given == Some(label));
        let right = count(&|a| a.gold == label && a.is_right());
        LabelQuality {
            label: self.names[label].clone(),
            rows,
            given,
            precision: share(right, given),
            recall: share(right, rows),
            f1: share(2 * right, rows + given),
        }
    }

    /// Mean F1 over the labels that occur among right or given answers.
    fn macro_f1(&self) -> f64 {
        let labels = (0..self.names.len()).map(|l| self.label(l));
        let occurring: Vec<f64> = labels
            .filter(|label| label.rows + label.given > 0)
            .map(|label| label.f1)
            .collect();
        mean(&occurring)
    }

    /// The calibration error over answered rows.
    fn calibration_error(&self) -> f64 {
        let answered = self.answers.iter().filter(|a| a.given.is_some());
        let pairs: Vec<(f32, bool)> = answered
            .map(|answer| (answer.confidence() as f32, answer.is_right()))
            .collect();
        calibration_error(&pairs)
    }

    /// Mean over answered rows of Σ over labels of (p − [right])².
    fn brier(&self) -> f64 {
        let of_row = |answer: &Answer| {
            let labels = answer.probabilities.iter().enumerate();
            labels
                .map(|(label, p)| (p - f64::from(u8::from(label == answer.gold))).powi(2))
                .sum::<f64>()
        };
        let answered = self.answers.iter().filter(|a| a.given.is_some());
        mean(&answered.map(of_row).collect::<Vec<f64>>())
    }
}

fn majority(labels: &[LabelQuality], rows: usize) -> Majority {
    // The first of the most frequent, as in the task's order.
    let most = labels.iter().rev().max_by_key(|label| label.rows);
    Majority {
        label: most.map(|label| label.label.clone()).unwrap_or_default(),
        accuracy: share(most.map_or(0, |label| label.rows), rows),
    }
}

/// A part of a whole; 0 of nothing.
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

/// The mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.iter().sum::<f64>() / values.len() as f64
}
