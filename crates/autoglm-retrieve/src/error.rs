//! The errors of this crate.

use std::io;

use autoglm_spec::{Blame, Blamed, EngineError};

/// Why a collection could not be indexed, searched or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetrieveError {
    /// The database failed.
    #[error("the store of documents failed to {action}")]
    Store {
        /// What was being done.
        action: &'static str,
        /// What happened.
        #[source]
        source: rusqlite::Error,
    },
    /// The shared database failed.
    #[error("the store of documents failed to {action}")]
    Postgres {
        /// What was being done.
        action: &'static str,
        /// What happened.
        #[source]
        source: postgres::Error,
    },
    /// The address of a database is none. It may hold a password and is not repeated.
    #[error("the address of the store is not understood, want {wanted}")]
    StoreAddress {
        /// What it may be.
        wanted: &'static str,
    },
    /// The shared database has an extension that cannot do what is asked of it.
    #[error("the database has pgvector {found}, want 0.8 or later")]
    Pgvector {
        /// Its version.
        found: String,
    },
    /// A collection's name that the database would cut.
    #[error("the name {given:?} has {} bytes, want {limit_bytes} at most", given.len())]
    CollectionName {
        /// The name.
        given: String,
        /// Bytes at most.
        limit_bytes: usize,
    },
    /// The folder of the database could not be made.
    #[error("cannot make the folder for {path}")]
    StoreFolder {
        /// The database.
        path: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The database was written by a later version.
    #[error("the store has version {found}, this program knows up to {known}")]
    StoreVersion {
        /// The version in the file.
        found: i64,
        /// The last version that is known.
        known: i64,
    },
    /// Something in the database is not what was put there.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The vectors of the collection lie in another space.
    #[error(
        "the collection's vectors are of the model {found}, the model given is {wanted}\n\
         hint: give the same model, or index anew into another collection"
    )]
    Space {
        /// The space of the collection.
        found: String,
        /// The space of the model.
        wanted: String,
    },
    /// A path that is neither there nor indexed.
    #[error("cannot find {path}")]
    NoSuchPath {
        /// The path.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A filter that says nothing that is understood.
    #[error("the filter {given:?} is not understood, want {wanted}")]
    Filter {
        /// The filter.
        given: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// A model failed.
    #[error("the model failed")]
    Engine {
        /// What happened.
        #[source]
        source: EngineError,
    },
    /// The engine broke its contract.
    #[error("the engine gave {given} results where {wanted} were asked for")]
    ResultCount {
        /// Results that came back.
        given: usize,
        /// Results that were asked for.
        wanted: usize,
    },
    /// A file of an evaluation could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// A file of an evaluation does not hold what it should.
    #[error("{path}, line {line}: want {wanted}")]
    Malformed {
        /// The file.
        path: String,
        /// The line; 0 where the file as a whole is meant.
        line: usize,
        /// What should be there.
        wanted: &'static str,
    },
}

impl Blamed for RetrieveError {
    fn blame(&self) -> Blame {
        match self {
            Self::Store { .. } | Self::Postgres { .. } | Self::StoreFolder { .. } => {
                Blame::Capacity
            }
            Self::StoreVersion { .. }
            | Self::Pgvector { .. }
            | Self::Damaged { .. }
            | Self::NoSuchPath { .. }
            | Self::Read { .. }
            | Self::Malformed { .. } => Blame::Data,
            Self::Space { .. }
            | Self::Filter { .. }
            | Self::StoreAddress { .. }
            | Self::CollectionName { .. } => Blame::Caller,
            Self::Engine { source } => source.blame(),
            Self::ResultCount { .. } => Blame::Bug,
        }
    }
}

impl From<EngineError> for RetrieveError {
    fn from(source: EngineError) -> Self {
        Self::Engine { source }
    }
}
