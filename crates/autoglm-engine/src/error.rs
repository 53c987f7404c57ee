//! What can go wrong in the local engine.

use autoglm_model::{CacheFull, Fault, ModelError};
use autoglm_spec::{Blame, Blamed};
use autoglm_token::TokenError;

/// An error of the local engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The weight file is not usable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file's vocabulary or chat template is not usable.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The tokenizer knows tokens that the weights have no row for.
    #[error("the tokenizer has {tokens} tokens, the model has rows for {rows}")]
    WideVocabulary {
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// The cache is too small for one request.
    #[error("the request does not fit into the key/value cache")]
    CacheFull(#[source] CacheFull),
    /// More calls at once than the engine takes.
    #[error("{calls} calls are being answered, at most {limit} are taken at once")]
    Busy {
        /// Calls that are being answered.
        calls: usize,
        /// Calls that are taken at once at most.
        limit: usize,
    },
    /// A forward pass panicked; the requests in it are lost.
    #[error("a forward pass failed: {message}")]
    Panicked {
        /// What the pass panicked with.
        message: String,
    },
    /// The model does not fit into the memory that it may use.
    #[error(transparent)]
    Memory(#[from] crate::memory::MemoryError),
    /// A constraint that cannot be compiled or was broken.
    #[error(transparent)]
    Constraint(#[from] crate::constraint::ConstraintError),
    /// Two models whose predictions are compared do not predict the same tokens.
    #[error("the models' vocabularies differ: {found} tokens and {wanted} in the reference")]
    OtherVocabulary {
        /// Tokens of the model's vocabulary.
        found: usize,
        /// Tokens of the reference's.
        wanted: usize,
    },
    /// A model of embeddings was asked for text or probabilities.
    #[error("the model {model} makes embeddings of texts and cannot write any")]
    EmbedsOnly {
        /// The model's name.
        model: String,
    },
    /// The model's texts are too short for what stands around every text.
    #[error("the model takes texts of {tokens} tokens, and {around} stand around every text")]
    ShortTexts {
        /// Tokens of a text at most.
        tokens: usize,
        /// Tokens around it.
        around: usize,
    },
    /// A vector of length zero, or with numbers that are none.
    #[error("the text's vector has the length {length}, want a positive number")]
    NoDirection {
        /// The length.
        length: f64,
    },
    /// A chat prompt for a model without a chat template.
    #[error("the model {model} has no chat template and cannot take turns")]
    NoChatTemplate {
        /// The model's name.
        model: String,
    },
}

impl Blamed for LocalError {
    fn blame(&self) -> Blame {
        match self {
            Self::Model(error) => match error.fault() {
                Fault::Caller => Blame::Caller,
                Fault::Data => Blame::Data,
                Fault::Capacity => Blame::Capacity,
            },
            Self::Token(error) => error.blame(),
            Self::WideVocabulary { .. } | Self::ShortTexts { .. } | Self::NoDirection { .. } => {
                Blame::Data
            }
            Self::CacheFull(_) | Self::Busy { .. } | Self::Memory(_) => Blame::Capacity,
            Self::Panicked { .. } => Blame::Bug,
            Self::Constraint(_)
            | Self::EmbedsOnly { .. }
            | Self::NoChatTemplate { .. }
            | Self::OtherVocabulary { .. } => Blame::Caller,
        }
    }
}
