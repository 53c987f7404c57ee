//! What comes back from a model.

use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why generation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    /// The model ended its turn, a stop string appeared, or a constraint was complete.
    Stop,
    /// The token limit was reached.
    Length,
    /// The caller cancelled.
    Cancelled,
}

/// What a request cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens whose keys and values were in the cache.
    pub cached_tokens: usize,
    /// Tokens that were generated or scored behind the prompt.
    pub completion_tokens: usize,
    /// Time from the first to the last step that worked on the request, queueing excluded.
    /// Requests of one batch share steps, so these times add up to more than the batch took.
    pub compute: Duration,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
        self.compute += other.compute;
    }
}

/// Generated text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The text, without the stop string that ended it.
    pub text: String,
    /// The generated tokens in the model's vocabulary; empty where the engine does not tell.
    pub tokens: Vec<u32>,
    /// The generated tokens' natural log-probabilities under the unmodified model distribution;
    /// empty where the request does not want them.
    pub logprobs: Vec<f32>,
    /// For each generated token the likeliest tokens at its place with their natural
    /// log-probabilities under the unmodified model distribution, likeliest first; empty where the
    /// request does not want them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Vec<(u32, f32)>>,
    /// Why generation stopped.
    pub finish: FinishReason,
    /// What it cost.
    pub usage: Usage,
}

/// What has become known of a completion since the last delta. Text may come later than the tokens
/// that it is made of: a stop text may begin in it, or a character may not be complete.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delta {
    /// Text that has become final.
    pub text: String,
    /// Tokens, those of a stop text included; empty where the engine does not tell.
    pub tokens: Vec<u32>,
    /// Log-probabilities, those of `tokens` where the engine tells both; empty where the request
    /// does not want them.
    pub logprobs: Vec<f32>,
    /// The likeliest tokens at the places of `tokens`; empty where the request does not want them.
    pub top: Vec<Vec<(u32, f32)>>,
}

impl Delta {
    /// Text alone.
    pub fn of_text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.tokens.is_empty() && self.logprobs.is_empty()
    }

    /// Adds what came after it.
    pub fn append(&mut self, next: &Self) {
        self.text.push_str(&next.text);
        self.tokens.extend_from_slice(&next.tokens);
        self.logprobs.extend_from_slice(&next.logprobs);
        self.top.extend_from_slice(&next.top);
    }
}

/// The score of one option.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OptionScore {
    /// Natural logarithm of the option's probability behind the prompt, normalised as the
    /// request asked.
    pub logprob: f32,
    /// Tokens of the option.
    pub tokens: usize,
}

/// The scores of a request's options, in the request's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scoring {
    /// One score an option.
    pub options: Vec<OptionScore>,
    /// The model's hidden states behind the prompt, before the first token of an option, from the
    /// middle of its layers to the last: `[D, C]`. None where the request does not want them or the
    /// engine does not tell.
    pub states: Vec<Vec<f32>>,
    /// What it cost.
    pub usage: Usage,
}
