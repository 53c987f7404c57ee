//! What a stored report says first of all, read without its tables.

use serde::Deserialize;

use super::{Majority, Measure, Quality};
use crate::judge::agreement::Compare;

/// The scores of a report.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Summary {
    /// Examples in the prompt.
    pub examples: usize,
    /// How long all rows took.
    pub seconds: f64,
    quality: Brief,
    confidence: Confidence,
}

/// The measures of labels or of open answers; what else there is, such as a table of all labels, is
/// passed over as it is read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Brief {
    scores: Option<Accuracy>,
    accuracy_interval: Option<[f64; 2]>,
    majority: Option<Majority>,
    compare: Option<Compare>,
    same_value: Option<f64>,
    same_value_interval: Option<[f64; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Accuracy {
    accuracy: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Confidence {
    calibration_error: f64,
}

/// What is measured first of all, its value and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Headline {
    /// What is measured.
    pub measure: Measure,
    /// The value.
    pub value: f64,
    /// Its interval.
    pub interval: [f64; 2],
}

impl Summary {
    /// What it measures first of all.
    pub fn headline(&self) -> Headline {
        let quality = &self.quality;
        match (quality.scores, quality.compare) {
            (None, Some(compare)) => Headline {
                measure: Measure::Same(compare),
                value: quality.same_value.unwrap_or_default(),
                interval: quality.same_value_interval.unwrap_or_default(),
            },
            (scores, _) => Headline {
                measure: Measure::Accuracy,
                value: scores.map_or(0.0, |scores| scores.accuracy),
                interval: quality.accuracy_interval.unwrap_or_default(),
            },
        }
    }

    /// What always giving the most frequent right answer would reach; none for open answers.
    pub fn majority(&self) -> Option<&Majority> {
        self.quality.majority.as_ref()
    }

    /// The expected calibration error.
    pub fn calibration_error(&self) -> f64 {
        self.confidence.calibration_error
    }
}

impl Quality {
    /// What is measured first of all.
    pub fn headline(&self) -> Headline {
        match self {
            Self::Closed(closed) => Headline {
                measure: Measure::Accuracy,
                value: closed.scores.accuracy,
                interval: closed.accuracy_interval,
            },
            Self::Open(open) => Headline {
                measure: Measure::Same(open.compare),
                value: open.same_value,
                interval: open.same_value_interval,
            },
        }
    }
}
