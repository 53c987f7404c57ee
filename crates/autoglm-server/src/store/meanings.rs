//! Answers that may be given again to questions of the same meaning.

use autoglm_spec::Completion;
use rusqlite::{OptionalExtension, Row, params};

use super::{ServerStore, failed};
use crate::ServerError;
use crate::meaning::MOST_OBSERVATIONS;

/// Questions of one context that are looked at, the latest used first.
const MOST_NEIGHBOURS: usize = 2_000;

/// Bytes of a row beside its texts: numbers, hashes, and all that may come to be seen of a question.
const ROW_BYTES: usize = 128 + MOST_OBSERVATIONS * OBSERVATION_BYTES;
/// Bytes of an observation in JSON: a number of some digits, and whether the answer was right.
const OBSERVATION_BYTES: usize = 56;

/// Where a question belongs: only questions of the same place can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The hash of all that an answer depends on beside the question.
    pub(crate) context: [u8; 32],
    /// The hash of what questions of one meaning share.
    pub(crate) signature: [u8; 32],
}

/// A remembered question, without its answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Neighbour {
    pub(crate) id: i64,
    pub(crate) words: Vec<u32>,
    pub(crate) vector: Vec<f32>,
    /// What was seen of it, in JSON.
    pub(crate) observations: String,
}

impl ServerStore {
    /// The remembered questions of a place.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn neighbours(&self, place: &Place) -> Result<Vec<Neighbour>, ServerError> {
        let state = self.lock();
        let query = "SELECT id, words, vector, observations FROM meanings \
                     WHERE context = ?1 AND signature = ?2 ORDER BY used DESC LIMIT ?3";
        let found = state
            .connection
            .prepare_cached(query)
            .and_then(|mut query| {
                let most = MOST_NEIGHBOURS as i64;
                let values = params![&place.context[..], &place.signature[..], most];
                query.query_map(values, neighbour)?.collect()
            });
        found.map_err(failed)
    }

    /// What was seen of a remembered question, in JSON; nothing of one that is gone.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn observations(&self, id: i64) -> Result<Option<String>, ServerError> {
        let state = self.lock();
        let query = "SELECT observations FROM meanings WHERE id = ?1";
        let found = state
            .connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_row([id], |row| row.get(0)).optional());
        found.map_err(failed)
    }

    /// The answer to a remembered question. One that is gone or cannot be read is none.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn meant(&self, id: i64) -> Result<Option<Completion>, ServerError> {
        let mut state = self.lock();
        let now = state.tick();
        let update = "UPDATE meanings SET used = ?2 WHERE id = ?1 RETURNING answer";
        let found = state
            .connection
            .prepare_cached(update)
            .and_then(|mut update| {
                let rows = update.query_map(params![id, now], |row| row.get::<_, String>(0))?;
                rows.collect::<rusqlite::Result<Vec<String>>>()
            });
        let text = found.map_err(failed)?.pop();
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Puts down what was seen of a remembered question.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn put_observations(&self, id: i64, text: &str) -> Result<(), ServerError> {
        let state = self.lock();
        let update = "UPDATE meanings SET observations = ?2 WHERE id = ?1";
        let put = state.connection.prepare_cached(update);
        let put = put.and_then(|mut update| update.execute(params![id, text]));
        put.map(drop).map_err(failed)
    }

    /// Remembers a question with its answer.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn put_meaning(
        &self,
        place: &Place,
        words: &[u32],
        vector: &[f32],
        answer: &Completion,
    ) -> Result<(), ServerError> {
        let text = serde_json::to_string(answer).expect("answers are plain data");
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let vector: Vec<u8> = vector
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let size = (text.len() + words.len() + vector.len() + ROW_BYTES) as u64;
        let limit = self.limits.meaning_bytes;
        if size > limit / 8 {
            // One answer must not push out all others.
            return Ok(());
        }
        let mut state = self.lock();
        while state.meaning_bytes > 0 && state.meaning_bytes + size > limit {
            let freed = state.evict("meanings").map_err(failed)?;
            state.meaning_bytes = state.meaning_bytes.saturating_sub(freed);
        }
        let now = state.tick();
        let insert = "INSERT INTO meanings \
                      (context, signature, words, vector, answer, observations, size_bytes, used) \
                      VALUES (?1, ?2, ?3, ?4, ?5, '[]', ?6, ?7)";
        let (context, signature) = (&place.context[..], &place.signature[..]);
        let values = params![
            context,
            signature,
            words,
            vector,
            text,
            size.cast_signed(),
            now
        ];
        let put = state.connection.prepare_cached(insert);
        put.and_then(|mut insert| insert.execute(values))
            .map_err(failed)?;
        state.meaning_bytes += size;
        Ok(())
    }
}

fn neighbour(row: &Row<'_>) -> rusqlite::Result<Neighbour> {
    let (words, vector): (Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(2)?);
    let words = words.as_chunks().0.iter();
    let vector = vector.as_chunks().0.iter();
    Ok(Neighbour {
        id: row.get(0)?,
        words: words.map(|&bytes| u32::from_le_bytes(bytes)).collect(),
        vector: vector.map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        observations: row.get(3)?,
    })
}
