//! The judged answer to one record.

use serde::{Deserialize, Serialize};

/// How label bias was removed from the model's probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calibration {
    /// Not at all.
    None,
    /// By the model's answer to records without content (contextual calibration).
    Contextual,
    /// By the mean over a batch of unlabelled records (batch calibration).
    Batch,
}

/// An answer with how sure it is and where that comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The answer: a label's name, a text, or JSON text.
    pub answer: String,
    /// Probability in [0, 1] that the answer is right, as far as can be told.
    pub confidence: f32,
    /// Every label with its probability, most likely first; empty where the answer is open.
    pub distribution: Vec<(String, f32)>,
    /// How label bias was removed.
    pub calibration: Calibration,
    /// What feedback did to the answer; none where none took part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learnt: Option<Learnt>,
}

/// Which state of a task's feedback took part in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FeedbackVersion {
    /// Number of the last row.
    pub last: i64,
    /// Rows that are not withdrawn.
    pub rows: u64,
}

/// What feedback did to an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learnt {
    /// The feedback that took part.
    pub version: FeedbackVersion,
    /// What the labels' probabilities were without it, in the order of the distribution.
    pub before: Vec<f32>,
}
