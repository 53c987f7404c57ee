//! Who is to blame for an error, and the error that every engine returns.

use std::error::Error;
use std::fmt;

/// Who has to act for an error to go away. One table maps it to exit codes, one to HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The request, the command line or the configuration is wrong.
    Caller,
    /// A file or a record is wrong.
    Data,
    /// The machine, a limit or a remote service does not suffice now.
    Capacity,
    /// AutoGLM itself is wrong.
    Bug,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "caller",
            Self::Data => "data",
            Self::Capacity => "capacity",
            Self::Bug => "bug",
        })
    }
}

/// An error that says who is to blame for it.
pub trait Blamed: Error + Send + Sync + 'static {
    /// Who has to act for this error to go away.
    fn blame(&self) -> Blame;
}

/// Why an engine did not answer a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The prompt and what is to follow it do not fit into the model's context.
    #[error(
        "the prompt has {prompt_tokens} tokens and {reserved_tokens} are reserved for the answer, \
         the model's context holds {limit_tokens}"
    )]
    ContextExceeded {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens kept free for the answer.
        reserved_tokens: usize,
        /// Tokens that the model's context holds.
        limit_tokens: usize,
    },
    /// The request is one that no engine can answer, such as an empty list of options.
    #[error("{field}: got {given}, want {wanted}")]
    BadRequest {
        /// The field of the request.
        field: &'static str,
        /// What it held.
        given: String,
        /// What it must hold.
        wanted: &'static str,
    },
    /// The caller cancelled the work before this request was done.
    #[error("cancelled before the request was done")]
    Cancelled,
    /// The engine's own error.
    #[error("the engine failed")]
    Engine {
        /// Who has to act.
        blame: Blame,
        /// What happened.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl EngineError {
    /// Wraps an engine's own error.
    pub fn engine(error: impl Blamed) -> Self {
        Self::Engine {
            blame: error.blame(),
            source: Box::new(error),
        }
    }
}

impl Blamed for EngineError {
    fn blame(&self) -> Blame {
        match self {
            Self::ContextExceeded { .. } => Blame::Data,
            Self::BadRequest { .. } | Self::Cancelled => Blame::Caller,
            Self::Engine { blame, .. } => *blame,
        }
    }
}
