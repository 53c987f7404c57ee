//! What an engine can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Completion, Delta, EngineError, Prompt, Scoring};

/// A flag that is raised to stop work early. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Raises the flag.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag was raised.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a caller must know of the model behind an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// A name that identifies the weights, such as `gemma-3-270m-q4_k_m`.
    pub name: String,
    /// Tokens that the context holds.
    pub context_tokens: usize,
    /// Whether the model has a chat template, that is, whether it was taught to follow turns.
    pub chat: bool,
}

/// How the next token is chosen. Filters apply in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Divides the logits of tokens that occurred; 1 does nothing.
    pub repetition_penalty: f32,
    /// How many of the last tokens the penalty looks at.
    pub repetition_window: usize,
    /// Taken off the logits of tokens that were generated; 0 does nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub presence_penalty: f32,
    /// Taken off the logits of tokens as often as they were generated; 0 does nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub frequency_penalty: f32,
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Lowers the temperature where the model is sure; `None` leaves it as it is.
    pub adaptive: Option<AdaptiveTemperature>,
    /// Keeps the k most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the most likely tokens that together reach this probability; 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens at least this fraction as likely as the most likely; 0 keeps all.
    pub min_p: f32,
    /// Seed of the random stream.
    pub seed: u64,
}

impl Sampling {
    /// Always the most likely token.
    pub const GREEDY: Self = Self {
        repetition_penalty: 1.0,
        repetition_window: 64,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        temperature: 0.0,
        adaptive: None,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 0,
    };
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// A temperature that follows the entropy of the recent distributions: `floor` where their mean is
/// at most `low_entropy`, [`Sampling::temperature`] where it is at least `high_entropy`, and on a
/// straight line between.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveTemperature {
    /// The temperature where the model is sure.
    pub floor: f32,
    /// Entropy in nats up to which the model counts as sure.
    pub low_entropy: f32,
    /// Entropy in nats from which the model counts as unsure; more than `low_entropy`.
    pub high_entropy: f32,
    /// Distributions that count as recent, the one to choose from included; at least 1.
    pub window: usize,
}

impl Default for AdaptiveTemperature {
    fn default() -> Self {
        Self {
            floor: 0.0,
            low_entropy: 0.5,
            high_entropy: 3.0,
            window: 1,
        }
    }
}

/// What may be done to answer sooner. Nothing here changes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decoding {
    /// Tokens at most that are looked up in the prompt and the text so far and verified together
    /// in one pass; 0 generates one by one.
    pub lookup_tokens: usize,
    /// Whether tokens that a constraint leaves no choice about are taken without a pass each.
    pub fast_forward: bool,
    /// Whether the completion shall tell log-probabilities.
    pub logprobs: bool,
    /// How many of the likeliest tokens the completion shall tell for each place, at most
    /// [`Decoding::MAX_TOP_LOGPROBS`]; 0 tells none. More than 0 asks for log-probabilities, too.
    #[serde(default, skip_serializing_if = "is_none")]
    pub top_logprobs: usize,
}

impl Decoding {
    /// Likeliest tokens that are told for a place at most, as many as OpenAI's protocol allows.
    pub const MAX_TOP_LOGPROBS: usize = 20;

    /// Tokens that are looked up at once where nothing else is asked for: with the token before
    /// them eight rows, the most that cost little more than one in the products of a pass
    /// (`docs/decoding.md`).
    pub const DEFAULT_LOOKUP_TOKENS: usize = 7;
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            lookup_tokens: Self::DEFAULT_LOOKUP_TOKENS,
            fast_forward: true,
            logprobs: true,
            top_logprobs: 0,
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self::GREEDY
    }
}

/// What generated text must satisfy while it is generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Constraint {
    /// JSON that satisfies a JSON Schema.
    JsonSchema(Value),
    /// Text that a regular expression matches from start to end.
    Regex(String),
    /// Text that a grammar in Lark's notation derives, with the extensions of `llguidance`.
    Grammar(String),
}

/// How much of what stands before a generated token its attention looks at. The prompt itself is
/// always read with full attention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionPolicy {
    /// All of it.
    #[default]
    Full,
    /// The first positions, a recent window that widens and narrows, and chosen blocks between
    /// them: faster with a long context, and an approximation.
    Gated(GatingSettings),
}

/// What bounds [`AttentionPolicy::Gated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatingSettings {
    /// First positions that are always looked at.
    pub sink_tokens: usize,
    /// The narrowest recent window.
    pub least_recent_tokens: usize,
    /// The widest recent window.
    pub most_recent_tokens: usize,
    /// Positions between the first and the recent ones, chosen anew for each token.
    pub selected_tokens: usize,
}

impl Default for GatingSettings {
    fn default() -> Self {
        Self {
            sink_tokens: 64,
            least_recent_tokens: 256,
            most_recent_tokens: 1_024,
            selected_tokens: 1_024,
        }
    }
}

/// A request for text.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// What the model is given.
    pub prompt: Prompt,
    /// Tokens at most.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// What is added to the logits of tokens before one is chosen, finite: -100 is as good as a ban.
    /// A token that a constraint does not allow stays out.
    pub logit_bias: Vec<(u32, f32)>,
    /// Texts that end generation; they are not part of the answer.
    pub stop: Vec<String>,
    /// What the text must satisfy.
    pub constraint: Option<Constraint>,
    /// What may be done to answer sooner.
    pub decoding: Decoding,
    /// What attention looks at.
    pub attention: AttentionPolicy,
    /// The name of the adapter that the model runs with; `None` is the engine's own choice.
    pub adapter: Option<String>,
}

/// Over what an option's probability is normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Normalise {
    /// Over the whole vocabulary at every token: the option's probability as the model's own text.
    Vocabulary,
    /// Over the options alone, at every token where they part: the probability that decoding
    /// confined to the options gives this one. Probabilities of the options add up to 1. Only the
    /// rows of the output head that the options need are computed.
    Options,
}

/// A request for the probabilities of given continuations.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRequest {
    /// What stands before the options.
    pub prompt: Prompt,
    /// The continuations, at least one, none empty, all different.
    pub options: Vec<String>,
    /// Over what probabilities are normalised.
    pub normalise: Normalise,
    /// Whether the model's hidden states behind the prompt are wanted, too.
    pub states: bool,
    /// The name of the adapter that the model runs with; `None` is the engine's own choice.
    pub adapter: Option<String>,
}

/// An engine that generates text.
pub trait Generate: Send + Sync {
    /// The model behind the engine.
    fn facts(&self) -> &ModelFacts;

    /// Answers requests together, each as if it were alone; results come in the requests' order.
    ///
    /// `on_delta` is called with a request's index and what has become known of its completion,
    /// while generation goes on; the deltas of one request add up to its completion's text, tokens,
    /// log-probabilities and likeliest tokens. A request that fails may have had some.
    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>>;
}

/// An engine that gives probabilities of continuations.
pub trait Score: Send + Sync {
    /// Scores requests together, each as if it were alone; results come in the requests' order.
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>>;
}
