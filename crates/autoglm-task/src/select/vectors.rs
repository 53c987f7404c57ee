//! The vectors of labelled records, made once each.

use std::collections::BTreeMap;

use autoglm_spec::{Cancel, Embed, Example, Record, TaskSpec};

use crate::TaskError;
use crate::learn::vectors_of;
use crate::strategy::content_hash;

/// Records that are embedded together: what is made is stored so often.
const CHUNK_RECORDS: usize = 256;

/// Where the vectors of labelled records are kept.
pub trait VectorStore {
    /// The vectors of a task's labelled records in a space, by the hash of the record.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn example_vectors(
        &self,
        task: &str,
        space: &str,
    ) -> Result<BTreeMap<String, Vec<f32>>, TaskError>;

    /// Keeps vectors of a task's labelled records.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put_example_vectors(
        &mut self,
        task: &str,
        space: &str,
        vectors: &[(String, Vec<f32>)],
    ) -> Result<(), TaskError>;
}

/// What the vector of a labelled record is kept under: a hash of the record.
pub(crate) fn vector_key(input: &Record) -> String {
    content_hash(input)
}

/// A vector for each example; those that are not stored yet are made, and stored as they are made.
/// None where a model can make none of a record's text.
///
/// # Errors
/// A store that fails, and an engine, but for texts that it can make no vector of.
pub fn vectors_of_examples(
    spec: &TaskSpec,
    examples: &[Example],
    store: &mut dyn VectorStore,
    embedder: &dyn Embed,
    cancel: &Cancel,
) -> Result<Vec<Option<Vec<f32>>>, TaskError> {
    let space = &embedder.space().name;
    let mut known = store.example_vectors(&spec.name, space)?;
    let key = |example: &Example| vector_key(&example.input);
    let lacking: Vec<&Example> = examples
        .iter()
        .filter(|example| !known.contains_key(&key(example)))
        .collect();
    for chunk in lacking.chunks(CHUNK_RECORDS) {
        let records: Vec<&Record> = chunk.iter().map(|example| &example.input).collect();
        let made = vectors_of(&spec.fields, &records, embedder, cancel)
            .map_err(|source| TaskError::Engine { line: 0, source })?;
        let keyed = chunk.iter().zip(made);
        let made: Vec<(String, Vec<f32>)> = keyed
            .filter_map(|(example, vector)| Some((key(example), vector?)))
            .collect();
        store.put_example_vectors(&spec.name, space, &made)?;
        known.extend(made);
    }
    let vector = |example: &Example| known.get(&key(example)).cloned();
    Ok(examples.iter().map(vector).collect())
}
