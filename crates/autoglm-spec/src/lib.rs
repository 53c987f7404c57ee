//! The shared words and traits of AutoGLM: what a task is, what goes to a model and what comes
//! back. Every other crate speaks in these types; this one has no code that computes anything,
//! no file, clock, thread or network.

mod completion;
mod embed;
mod error;
mod prompt;
mod task;
mod traits;
mod verdict;

pub use completion::{Completion, Delta, FinishReason, OptionScore, Scoring, Usage};
pub use embed::{Embed, Embedding, EmbeddingSpace, Similarity};
pub use error::{Blame, Blamed, EngineError};
pub use prompt::{Prompt, Role, Segment};
pub use task::{Example, Field, Knowledge, Label, Language, Output, Record, TaskKind, TaskSpec};
pub use traits::{
    AdaptiveTemperature, AttentionPolicy, Cancel, Constraint, Decoding, GatingSettings, Generate,
    GenerateRequest, ModelFacts, Normalise, Sampling, Score, ScoreRequest,
};
pub use verdict::{Alternative, Calibration, FeedbackVersion, Learnt, Stopped, Verdict, Vote};
