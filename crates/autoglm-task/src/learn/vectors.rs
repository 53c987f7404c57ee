//! The vectors of records that a learner looks at.

use std::collections::BTreeMap;

use autoglm_spec::{Blame, Blamed, Cancel, Embed, Embedding, EngineError, Field, Record, TaskSpec};

use crate::TaskError;
use crate::library::record_text;
use crate::store::{Feedback, FeedbackStore};

/// Records that are embedded together: what is made is stored so often.
const CHUNK_RECORDS: usize = 256;

/// A vector for each record; none where a model can make none of its text, such as of an empty one.
///
/// # Errors
/// Whatever is not the fault of a single text.
pub(crate) fn vectors_of(
    fields: &[Field],
    records: &[&Record],
    embedder: &dyn Embed,
    cancel: &Cancel,
) -> Result<Vec<Option<Vec<f32>>>, EngineError> {
    let texts = records.iter().map(|record| record_text(fields, record));
    let texts: Vec<String> = texts.collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = embedder.embed(&texts, cancel).into_iter();
    vectors.map(tolerated).collect()
}

fn tolerated(result: Result<Embedding, EngineError>) -> Result<Option<Vec<f32>>, EngineError> {
    match result {
        Ok(embedding) => Ok(Some(embedding.vector)),
        Err(EngineError::Cancelled) => Err(EngineError::Cancelled),
        Err(error) => match error.blame() {
            Blame::Caller | Blame::Data => Ok(None),
            Blame::Capacity | Blame::Bug => Err(error),
        },
    }
}

/// The vectors of all feedback that is not withdrawn, by the rows' numbers; those that are not
/// stored yet are made, and stored as they are made.
///
/// # Errors
/// A store that fails, and an engine, but for texts that it can make no vector of.
pub fn vectors_of_feedback(
    spec: &TaskSpec,
    feedback: &[Feedback],
    store: &mut dyn FeedbackStore,
    embedder: &dyn Embed,
    cancel: &Cancel,
) -> Result<BTreeMap<i64, Vec<f32>>, TaskError> {
    let space = &embedder.space().name;
    let mut vectors = store.vectors(&spec.name, space)?;
    let lacking = |row: &&Feedback| row.is_live() && !vectors.contains_key(&row.id);
    let rows: Vec<&Feedback> = feedback.iter().filter(lacking).collect();
    for chunk in rows.chunks(CHUNK_RECORDS) {
        let records: Vec<&Record> = chunk.iter().map(|row| &row.input).collect();
        let made = vectors_of(&spec.fields, &records, embedder, cancel)
            .map_err(|source| TaskError::Engine { line: 0, source })?;
        let numbered = chunk.iter().zip(made);
        let made: Vec<(i64, Vec<f32>)> = numbered
            .filter_map(|(row, vector)| Some((row.id, vector?)))
            .collect();
        store.put_vectors(space, &made)?;
        vectors.extend(made);
    }
    Ok(vectors)
}
