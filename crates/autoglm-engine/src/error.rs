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
    /// The cache is too small for one request.
    #[error("the request does not fit into the key/value cache")]
    CacheFull(#[source] CacheFull),
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
            Self::Token(_) => Blame::Data,
            Self::CacheFull(_) => Blame::Capacity,
            Self::Constraint(_) | Self::NoChatTemplate { .. } | Self::OtherVocabulary { .. } => {
                Blame::Caller
            }
        }
    }
}
