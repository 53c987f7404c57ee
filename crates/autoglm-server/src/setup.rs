//! Why the server cannot begin with the settings that it is given, or goes on with those it has.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use autoglm_spec::{Blame, Blamed};

/// Why a setting cannot hold. No message holds a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// An address that others reach, without anything that tells who asks.
    #[error(
        "{address} can be reached from other machines, and nothing tells who may ask\n\
         hint: give --api-keys FILE (autoglm key new makes one) or --tls-client-ca FILE, or listen on 127.0.0.1"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// A file that cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of keys that is not TOML, or has fields of other kinds.
    #[error("keys, line {line}: {problem}")]
    KeysForm {
        /// The line, from 1.
        line: usize,
        /// What is wrong there; not the line's text, which may hold a key.
        problem: String,
    },
    /// An entry of the file of keys that cannot hold.
    #[error("key {id:?}: {field} must be {wanted}")]
    KeyEntry {
        /// The key's id.
        id: String,
        /// The field.
        field: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// Two entries of the same id, or of the same key.
    #[error("key {id:?} is there twice")]
    KeyTwice {
        /// The id of the second.
        id: String,
    },
    /// An id that is not in the file of keys.
    #[error("there is no key {id:?}")]
    NoSuchKey {
        /// The id.
        id: String,
    },
    /// A pattern of SPIFFE ids that is none.
    #[error("{given:?} is no SPIFFE id, want spiffe://DOMAIN/PATH or spiffe://DOMAIN/PATH/*")]
    SpiffeId {
        /// What was given.
        given: String,
    },
    /// A file that should hold certificates or a key in PEM.
    #[error("{}: holds no {wanted} in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// Certificates and a key that cannot be used, or not together.
    #[error("{}: {source}", path.display())]
    Tls {
        /// The file of certificates.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Blamed for SetupError {
    fn blame(&self) -> Blame {
        match self {
            Self::Exposed { .. } | Self::NoSuchKey { .. } | Self::SpiffeId { .. } => Blame::Caller,
            _ => Blame::Data,
        }
    }
}
