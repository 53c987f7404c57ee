//! The labelled records that a task has been given, kept so that every run learns from them.

mod intake;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use autoglm_spec::Example;
use serde::{Deserialize, Serialize};

pub use intake::{Intake, Refused, identity, labelled, take_in, task_fields};
pub(crate) use intake::{example_of, record_text};

use crate::TaskError;
use crate::ensemble::Ensemble;

/// Where a labelled record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Given one by one.
    Added,
    /// Out of a file.
    Imported,
}

/// A labelled record of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, which no other record ever gets.
    pub id: i64,
    /// The record, with the fields that the task reads, and its answer.
    #[serde(flatten)]
    pub example: Example,
    /// Where it comes from.
    pub source: Source,
    /// When it came, in milliseconds since 1970.
    pub added_ms: i64,
}

/// What became of records that were added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Added {
    /// New records.
    pub added: usize,
    /// Records that were there with another answer, which is replaced.
    pub replaced: usize,
    /// Records that were there with the same answer.
    pub known: usize,
}

/// Where labelled records are kept, by the name of their task.
///
/// What a call has written survives the end of the process, however it ends.
pub trait Library {
    /// Adds records, all or none. A record that is there gets the new answer.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn add_examples(
        &mut self,
        task: &str,
        examples: &[Example],
        source: Source,
        at: SystemTime,
    ) -> Result<Added, TaskError>;

    /// The records of a task in the order in which they came.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn examples(&self, task: &str) -> Result<Vec<Entry>, TaskError>;

    /// Removes records of a task, all or none.
    ///
    /// # Errors
    /// A number that no record of the task has, or a store that cannot be written.
    fn remove_examples(&mut self, task: &str, ids: &[i64]) -> Result<(), TaskError>;
}

/// Where judges are kept that labelled records have taught.
pub trait Ensembles {
    /// Keeps a judge, and that it is what the key leads to.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put_ensemble(
        &mut self,
        key: &str,
        ensemble: &Ensemble,
        at: SystemTime,
    ) -> Result<(), TaskError>;

    /// The judge that a key leads to.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn ensemble_of_key(&self, key: &str) -> Result<Option<Ensemble>, TaskError>;

    /// The judge with a hash.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn ensemble(&self, hash: &str) -> Result<Option<Ensemble>, TaskError>;
}
