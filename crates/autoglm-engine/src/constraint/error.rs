//! What can be wrong with a constraint.

use std::error::Error;

use autoglm_spec::{Blame, Blamed};

/// Why a constraint cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// The JSON schema is wrong, nothing satisfies it, or it asks for what is not supported.
    #[error("the JSON schema cannot be followed")]
    Schema {
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The JSON schema is neither an object nor a boolean.
    #[error("the JSON schema is {given}, want an object")]
    NotASchema {
        /// What it is.
        given: &'static str,
    },
    /// The regular expression is wrong, or asks for what is not supported.
    #[error("the regular expression cannot be followed")]
    Regex {
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The grammar is wrong, or asks for what is not supported.
    #[error("the grammar cannot be followed")]
    Grammar {
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The vocabulary has no token that ends generation, so that a text could not end.
    #[error("the vocabulary has no token that ends generation, which constraints need")]
    NoEndToken,
    /// The vocabulary is too large to be taken into a trie.
    #[error("the vocabulary has {given} tokens, constraints can do with {limit}")]
    VocabularySize {
        /// Tokens of the vocabulary.
        given: usize,
        /// Tokens that a trie can number.
        limit: usize,
    },
    /// The vocabulary cannot be taken into a trie.
    #[error("the vocabulary cannot be used for constraints")]
    Vocabulary {
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A token was taken in that the constraint does not allow, or the parser reached a limit.
    #[error("generation left its constraint")]
    Failed {
        /// What happened.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Blamed for ConstraintError {
    fn blame(&self) -> Blame {
        match self {
            Self::Schema { .. }
            | Self::NotASchema { .. }
            | Self::Regex { .. }
            | Self::Grammar { .. } => Blame::Caller,
            Self::NoEndToken | Self::VocabularySize { .. } | Self::Vocabulary { .. } => Blame::Data,
            Self::Failed { .. } => Blame::Capacity,
        }
    }
}
