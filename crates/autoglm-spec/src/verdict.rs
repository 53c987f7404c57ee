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
    /// By what labelled records have taught.
    Fitted,
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
    /// How the samples of an open answer voted; none where only one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote: Option<Vote>,
    /// What feedback did to the answer; none where none took part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learnt: Option<Learnt>,
}

/// Why no further sample of an open answer was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// The first answer was so probable as a whole that others could not have outvoted it.
    Single,
    /// The leading answer was not likely to be overtaken any more.
    Decided,
    /// No two samples agreed, so that a vote had nothing to count.
    Scattered,
    /// As many samples were taken as the settings allow.
    Limit,
}

impl Stopped {
    /// The name, as it is stored and written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Decided => "decided",
            Self::Scattered => "scattered",
            Self::Limit => "limit",
        }
    }
}

/// How the samples of an answer voted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// Samples that were taken, those that cannot be used included.
    pub samples: usize,
    /// Of these, samples that gave the answer.
    pub agreed: usize,
    /// Why no further sample was taken.
    pub stopped: Stopped,
    /// Entropy of the shares in nats: 0 where all agree.
    pub entropy: f32,
    /// The answers that were given, the one that won first; like ones are one answer.
    pub alternatives: Vec<Alternative>,
    /// Samples that cannot be used, such as JSON that was cut.
    #[serde(default)]
    pub unusable: usize,
    /// Whether one of the samples is the answer to a prompt that said what was wrong.
    #[serde(default)]
    pub repaired: bool,
}

/// One of the answers that samples gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The answer, as the first sample that gave it has it.
    pub answer: String,
    /// Its share of the usable samples.
    pub share: f32,
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
