//! What can go wrong with a server.

use std::error::Error;
use std::time::Duration;

use autoglm_spec::{Blame, Blamed};

/// An error of the remote engine. None holds a key or a prompt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The server's address cannot be used.
    #[error(
        "the server's address cannot be used: {reason}\nhint: want one such as \
         http://127.0.0.1:8000/v1, and the key in a file or in the environment"
    )]
    Address {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key cannot be used.
    #[error("the server's key {reason}")]
    Key {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A key would go over the network for everyone to read.
    #[error(
        "the key would go to {host} unencrypted\nhint: use https://, or --plain-key where the \
         network is trusted"
    )]
    PlainKey {
        /// The server.
        host: String,
    },
    /// The file with certificates cannot be used.
    #[error("the certificates of authorities cannot be used: {reason}")]
    Certificates {
        /// What is wrong with them.
        reason: &'static str,
    },
    /// No answer came.
    #[error("{host} does not answer ({attempts} attempts)")]
    Unreachable {
        /// The server.
        host: String,
        /// How often it was tried.
        attempts: u32,
        /// What happened the last time.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server was silent for too long.
    #[error("{host} was silent for {} s ({attempts} attempts)", limit.as_secs_f64())]
    Silent {
        /// The server.
        host: String,
        /// How long silence is borne.
        limit: Duration,
        /// How often it was tried.
        attempts: u32,
    },
    /// The server refused or failed.
    #[error("{host} answered {status}{said} ({attempts} attempts)")]
    Status {
        /// The server.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What it said, with a colon in front; empty where it may not be shown.
        said: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The server asks for a longer wait than the time limit allows.
    #[error(
        "{host} answered {status} and asks to wait {} s, which is beyond the {} s that requests \
         are tried for",
        asked.as_secs(), limit.as_secs()
    )]
    Wait {
        /// The server.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The wait that it asks for.
        asked: Duration,
        /// How long requests are tried for.
        limit: Duration,
    },
    /// The server points somewhere else; it is not followed, for the key goes to no other server.
    #[error("{host} redirects to {target}\nhint: name that server where it is trusted")]
    Redirect {
        /// The server.
        host: String,
        /// The host that it points to.
        target: String,
    },
    /// An answer is not what the protocol has.
    #[error("{host} sent {found}, want {wanted} ({attempts} attempts)")]
    Shape {
        /// The server.
        host: String,
        /// What came.
        found: String,
        /// What the protocol has.
        wanted: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
    /// An answer is larger than any that is meant.
    #[error("{host} sent more than {limit_bytes} bytes in one answer")]
    TooLarge {
        /// The server.
        host: String,
        /// Bytes that are read at most.
        limit_bytes: u64,
    },
    /// The server has no model, or not the one that is asked for.
    #[error("{host} has no model {wanted}; it has {known}")]
    NoSuchModel {
        /// The server.
        host: String,
        /// The model that is asked for.
        wanted: String,
        /// The models that it has.
        known: String,
    },
    /// The server cannot do what a request asks for.
    #[error("{host} cannot take `{field}`: {reason}")]
    Unsupported {
        /// The server.
        host: String,
        /// The field of the request.
        field: &'static str,
        /// Why not.
        reason: String,
    },
    /// The server withheld the answer.
    #[error("{host} withheld the answer: {reason}")]
    Withheld {
        /// The server.
        host: String,
        /// Its own word for why.
        reason: String,
    },
    /// No answer satisfied the constraint.
    #[error("the answer of {host} did not satisfy its constraint in {attempts} attempts")]
    Unsatisfied {
        /// The server.
        host: String,
        /// How many answers were asked for.
        attempts: u32,
    },
    /// An answer broke off behind text that was handed out, and the next attempt began otherwise.
    #[error("the answer of {host} broke off and could not be gone on with")]
    BrokenOff {
        /// The server.
        host: String,
    },
    /// The request was not sent, because another one of the call failed for good.
    #[error("not sent, because the server failed another request")]
    NotBegun,
    /// A thread that waited for the server ended in a panic.
    #[error("a thread that waited for the server failed")]
    Panicked,
}

impl Blamed for RemoteError {
    fn blame(&self) -> Blame {
        match self {
            Self::Status { status, .. } => match status {
                // The request's shape was tried beforehand: it is this record that is refused.
                400 | 413 | 422 => Blame::Data,
                401..=499 if *status != 408 && *status != 429 => Blame::Caller,
                _ => Blame::Capacity,
            },
            Self::Address { .. }
            | Self::Key { .. }
            | Self::PlainKey { .. }
            | Self::Certificates { .. }
            | Self::Redirect { .. }
            | Self::NoSuchModel { .. }
            | Self::Unsupported { .. } => Blame::Caller,
            Self::Withheld { .. } | Self::Unsatisfied { .. } => Blame::Data,
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Wait { .. }
            | Self::Shape { .. }
            | Self::TooLarge { .. }
            | Self::BrokenOff { .. }
            | Self::NotBegun => Blame::Capacity,
            Self::Panicked => Blame::Bug,
        }
    }
}

impl RemoteError {
    /// The error after so many attempts.
    pub(crate) fn after(mut self, made: u32) -> Self {
        match &mut self {
            Self::Unreachable { attempts, .. }
            | Self::Silent { attempts, .. }
            | Self::Status { attempts, .. }
            | Self::Shape { attempts, .. } => *attempts = made,
            _ => {}
        }
        self
    }
}
