//! What a task file says besides the task itself.

use std::num::{NonZeroU32, NonZeroUsize};

use autoglm_spec::{Calibration, Decoding, Sampling, TaskSpec};

use crate::judge::agreement::{Compare, SamplingPlan};

/// A task file that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskFile {
    /// The task.
    pub spec: TaskSpec,
    /// How it is run.
    pub settings: TaskSettings,
}

/// How a task is run, as far as its file says so.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSettings {
    /// The model's name or path; the default model for the kind of answer where none is given.
    pub model: Option<String>,
    /// The server that runs the task, in place of a model on this machine.
    pub server: Option<ServerSettings>,
    /// How tokens of a generated answer are chosen.
    pub sampling: Sampling,
    /// What may be done to answer sooner.
    pub decoding: Decoding,
    /// Texts that end a generated answer, besides those of the template.
    pub stop: Vec<String>,
    /// How label bias is removed.
    pub calibration: Calibration,
    /// How many samples an open answer gets.
    pub plan: SamplingPlan,
    /// By what open answers are compared; what suits the task where nothing is said.
    pub compare: Option<Compare>,
    /// The model whose vectors tell which texts mean the same.
    pub embedder: Option<String>,
    /// Answers that are less sure than this are withheld.
    pub min_confidence: Option<f32>,
}

impl Default for TaskSettings {
    fn default() -> Self {
        Self {
            model: None,
            server: None,
            sampling: Sampling::GREEDY,
            decoding: Decoding::default(),
            stop: Vec::new(),
            calibration: Calibration::Batch,
            plan: SamplingPlan::default(),
            compare: None,
            embedder: None,
            min_confidence: None,
        }
    }
}

/// A server that runs a task. It has no key: that is the user's, not the task's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Its address.
    pub url: String,
    /// The model by the server's name; its first where none is given.
    pub model: Option<String>,
    /// How the model is given prompts.
    pub prompts: Option<ServerPrompts>,
    /// How labels are scored.
    pub scoring: Option<ServerScoring>,
    /// Answers that are asked for where labels are scored by votes.
    pub votes: Option<NonZeroUsize>,
    /// Tokens that the model's context holds.
    pub context_tokens: Option<NonZeroUsize>,
    /// Requests at once.
    pub concurrency: Option<NonZeroUsize>,
    /// Requests in any 60 seconds.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens in any 60 seconds.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Seconds for which the server may be silent.
    pub timeout_seconds: Option<NonZeroU32>,
}

/// How a server's model is given prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerPrompts {
    /// As turns.
    Chat,
    /// As plain text.
    Plain,
}

/// How a server scores labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerScoring {
    /// By echoed prompts.
    Echo,
    /// By the most likely first tokens.
    First,
    /// By votes.
    Votes,
}
