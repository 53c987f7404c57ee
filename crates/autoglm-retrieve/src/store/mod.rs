//! Where passages are kept with what finds them again: one trait, SQLite in one file, and a database
//! of PostgreSQL that several machines share.
//!
//! A store is one collection. Everything that is written in one call is there as a whole or not at
//! all; readers of the same collection see what was there when they asked.

#[cfg(test)]
pub(crate) mod conformance;
mod filter;
mod postgres;
mod sqlite;
mod telling;

use autoglm_spec::EmbeddingSpace;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::RetrieveError;
use crate::passage::{Document, DocumentState, Passage, PassageId};

pub use filter::{Clause, Filter};
pub use postgres::{PostgresAddress, PostgresLock, PostgresStore};
pub use sqlite::SqliteStore;

/// What a vector was made of: the first 16 bytes of the SHA-256 of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VectorKey(pub [u8; 16]);

impl VectorKey {
    /// The key of a text.
    pub fn of(text: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        Self(key)
    }
}

/// A passage that a search has found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The passage.
    pub passage: PassageId,
    /// How well it suits; more is better. Scores of different searches do not compare.
    pub score: f64,
}

/// What a collection holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct About {
    /// Documents.
    pub documents: usize,
    /// Passages of all documents.
    pub passages: usize,
    /// Different vectors.
    pub vectors: usize,
    /// Codes of vectors for approximate search; 0 where search is exact.
    pub codes: usize,
    /// The space of the vectors; none where passages have none.
    pub space: Option<EmbeddingSpace>,
}

/// A document as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its path.
    pub path: String,
    /// The name of its format.
    pub format: String,
    /// Its passages.
    pub passages: usize,
}

/// A collection of documents.
pub trait Store: Send {
    /// What it holds.
    ///
    /// # Errors
    /// A store that fails.
    fn about(&self) -> Result<About, RetrieveError>;

    /// The space of its vectors; none where passages have none.
    ///
    /// # Errors
    /// A store that fails.
    fn space(&self) -> Result<Option<EmbeddingSpace>, RetrieveError>;

    /// Its documents by their paths.
    ///
    /// # Errors
    /// A store that fails.
    fn documents(&self) -> Result<Vec<Listed>, RetrieveError>;

    /// Says in what space vectors lie from now on. Where it is another one than before, vectors are
    /// forgotten and every document counts as changed.
    ///
    /// # Errors
    /// A store that fails.
    fn set_space(&mut self, space: Option<&EmbeddingSpace>) -> Result<(), RetrieveError>;

    /// What is known of a document; none where it is not there.
    ///
    /// # Errors
    /// A store that fails.
    fn state(&self, path: &str) -> Result<Option<DocumentState>, RetrieveError>;

    /// Puts a document in the place of the one with its path, with all its passages.
    ///
    /// # Errors
    /// A store that fails.
    fn put_document(&mut self, document: &Document) -> Result<(), RetrieveError>;

    /// Notes that a document's file was written without being changed.
    ///
    /// # Errors
    /// A store that fails.
    fn touch(&mut self, path: &str, modified_ns: Option<i64>) -> Result<(), RetrieveError>;

    /// Removes a document; `false` where it is not there.
    ///
    /// # Errors
    /// A store that fails.
    fn remove_document(&mut self, path: &str) -> Result<bool, RetrieveError>;

    /// Which of some vectors are there.
    ///
    /// # Errors
    /// A store that fails.
    fn has_vectors(&self, keys: &[VectorKey]) -> Result<Vec<bool>, RetrieveError>;

    /// Keeps vectors, for passages that are put after them.
    ///
    /// # Errors
    /// A store that fails.
    fn put_vectors(&mut self, vectors: &[(VectorKey, Vec<f32>)]) -> Result<(), RetrieveError>;

    /// Forgets vectors of no passage and brings what speeds up search up to date. Search is right
    /// without it. Vectors that are kept for passages still to come are forgotten, too: one process
    /// at a time indexes.
    ///
    /// # Errors
    /// A store that fails.
    fn tidy(&mut self) -> Result<(), RetrieveError>;

    /// The passages with the most and the rarest of some terms, the best first.
    ///
    /// # Errors
    /// A store that fails.
    fn lexical(
        &self,
        terms: &[String],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrieveError>;

    /// In how many passages each of some terms is.
    ///
    /// # Errors
    /// A store that fails.
    fn frequencies(&self, terms: &[String]) -> Result<Vec<usize>, RetrieveError>;

    /// The passages whose vectors are nearest to one, the nearest first.
    ///
    /// # Errors
    /// A store that fails.
    fn nearest(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrieveError>;

    /// Passages by their numbers, in that order; those that are gone are left out.
    ///
    /// # Errors
    /// A store that fails.
    fn passages(&self, ids: &[PassageId]) -> Result<Vec<Passage>, RetrieveError>;

    /// The vectors of passages, in that order; none for those that have none.
    ///
    /// # Errors
    /// A store that fails.
    fn vectors(&self, ids: &[PassageId]) -> Result<Vec<Option<Vec<f32>>>, RetrieveError>;
}
