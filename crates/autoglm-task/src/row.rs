//! What became of one record: the unit that is stored and written.

use autoglm_spec::{FinishReason, Record, Usage, Verdict};
use serde::{Deserialize, Serialize};

use crate::select::Chosen;
use crate::strategy::RouteTaken;

/// What an engine said to one record, before it is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Raw {
    /// The labels' log-probabilities, in the task's order of labels.
    Scores {
        /// One log-probability a label.
        logprobs: Vec<f32>,
    },
    /// Generated text.
    Text {
        /// The text.
        text: String,
        /// Mean log-probability of its tokens; 0 where there are none.
        mean_logprob: f32,
        /// Tokens that were generated.
        tokens: usize,
        /// Why generation stopped.
        finish: FinishReason,
        /// Further samples of the answer, in the order in which they were taken.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        more: Vec<Sample>,
    },
}

impl Raw {
    /// The samples of an open answer, the first included; none of labels.
    pub fn samples(&self) -> Vec<Sample> {
        match self {
            Self::Scores { .. } => Vec::new(),
            Self::Text {
                text,
                mean_logprob,
                tokens,
                finish,
                more,
            } => {
                let first = Sample {
                    text: text.clone(),
                    mean_logprob: *mean_logprob,
                    tokens: *tokens,
                    finish: *finish,
                    repair: false,
                };
                std::iter::once(first).chain(more.iter().cloned()).collect()
            }
        }
    }

    /// Generated text from its samples; none where there is no sample.
    pub fn from_samples(samples: &[Sample]) -> Option<Self> {
        let (first, more) = samples.split_first()?;
        Some(Self::Text {
            text: first.text.clone(),
            mean_logprob: first.mean_logprob,
            tokens: first.tokens,
            finish: first.finish,
            more: more.to_vec(),
        })
    }
}

/// One sample of an open answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The text.
    pub text: String,
    /// Mean log-probability of its tokens; 0 where there are none.
    pub mean_logprob: f32,
    /// Tokens that were generated.
    pub tokens: usize,
    /// Why generation stopped.
    pub finish: FinishReason,
    /// Whether the prompt said what was wrong with the samples before.
    #[serde(default)]
    pub repair: bool,
}

impl Sample {
    /// The probability of the whole text, as far as the engine has told it.
    pub fn probability(&self) -> f64 {
        if self.tokens == 0 || !self.mean_logprob.is_finite() {
            return 0.0;
        }
        (f64::from(self.mean_logprob) * self.tokens as f64).exp()
    }
}

/// One record of a run with everything that became of it.
///
/// A malformed record has a line and an error; one that the model could not answer has its input
/// besides; one that waits for the calibration has `raw` and no verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Place in the input, counted from 0 over all records, malformed ones included.
    pub index: u64,
    /// Line of the input on which the record starts, counted from 1.
    pub line: u64,
    /// The record, where it could be read.
    pub input: Option<Record>,
    /// The first 128 bits of the prompt's SHA-256 in hexadecimal.
    pub prompt_hash: Option<String>,
    /// The examples that were chosen for it, the nearest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Chosen>,
    /// Which of several strategies answered it, where it was routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteTaken>,
    /// What the engine said.
    pub raw: Option<Raw>,
    /// The judged answer.
    pub verdict: Option<Verdict>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// Why the answer is withheld; it stays in `verdict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstained: Option<String>,
    /// What the record cost.
    pub usage: Usage,
}

impl Row {
    /// A row without an answer.
    pub fn failed(index: u64, line: u64, input: Option<Record>, error: String) -> Self {
        Self {
            index,
            line,
            input,
            prompt_hash: None,
            examples: Vec::new(),
            route: None,
            raw: None,
            verdict: None,
            error: Some(error),
            abstained: None,
            usage: Usage::default(),
        }
    }

    /// Whether nothing more will happen to the row.
    pub fn is_final(&self) -> bool {
        self.verdict.is_some() || self.error.is_some()
    }
}
