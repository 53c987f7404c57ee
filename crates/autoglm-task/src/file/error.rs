//! Why a task file cannot be read.

use autoglm_spec::{Blame, Blamed};

/// Why a task file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The text is no TOML.
    #[error("line {line}: no TOML: {reason}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the TOML reader says.
        reason: String,
    },
    /// A key that must be there is not.
    #[error("line {line}: `{key}` is missing, want {wanted}")]
    Missing {
        /// The line of the table that lacks it, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What it must hold.
        wanted: String,
    },
    /// A key holds something else than it must.
    #[error("line {line}: `{key}`: got {found}, want {wanted}")]
    Invalid {
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What it holds.
        found: String,
        /// What it must hold.
        wanted: String,
    },
}

impl FileError {
    /// The line of the file, from 1.
    pub fn line(&self) -> usize {
        match self {
            Self::Syntax { line, .. } | Self::Missing { line, .. } | Self::Invalid { line, .. } => {
                *line
            }
        }
    }
}

impl Blamed for FileError {
    fn blame(&self) -> Blame {
        Blame::Caller
    }
}
