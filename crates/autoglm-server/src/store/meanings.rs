//! Answers that may be given again to questions of the same meaning.

use autoglm_spec::Completion;
use rusqlite::{OptionalExtension, Row, params};

use super::{ServerStore, State, failed};
use crate::ServerError;

/// Questions of one context that are looked at, the latest used first.
const MOST_NEIGHBOURS: usize = 2_000;

/// Bytes of a row beside its texts: two hashes of 32 bytes each, once more in the index, and numbers
/// with their index; 205 were measured beside small rows.
const ROW_BYTES: usize = 4 * 32 + 80;
/// What was seen of a question that is remembered now.
const NOTHING_SEEN: &str = "[]";

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

    /// Puts down what was seen of a remembered question, and forgets others where that leaves too
    /// little room.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn put_observations(&self, id: i64, text: &str) -> Result<(), ServerError> {
        self.lock().put_observations(id, text).map_err(failed)
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
        let row = NewRow {
            place,
            words: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            vector: vector
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect(),
            answer: serde_json::to_string(answer).expect("answers are plain data"),
        };
        let mut state = self.lock();
        if row.size_bytes() > state.meanings.limit / 8 {
            // One answer must not push out all others.
            return Ok(());
        }
        state.put_meaning(&row).map_err(failed)
    }
}

/// A question that is to be remembered.
struct NewRow<'a> {
    place: &'a Place,
    words: Vec<u8>,
    vector: Vec<u8>,
    answer: String,
}

impl NewRow<'_> {
    fn size_bytes(&self) -> u64 {
        let texts = self.words.len() + self.vector.len() + self.answer.len();
        (texts + NOTHING_SEEN.len() + ROW_BYTES) as u64
    }
}

impl State {
    fn put_meaning(&mut self, row: &NewRow<'_>) -> rusqlite::Result<()> {
        let size_bytes = row.size_bytes();
        self.meanings.make_room(&self.connection, size_bytes)?;
        let now = self.tick();
        self.connection
            .prepare_cached(
                "INSERT INTO meanings \
                 (context, signature, words, vector, answer, observations, size_bytes, used) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                &row.place.context[..],
                &row.place.signature[..],
                row.words,
                row.vector,
                row.answer,
                NOTHING_SEEN,
                size_bytes.cast_signed(),
                now
            ])?;
        self.meanings.bytes += size_bytes;
        Ok(())
    }

    fn put_observations(&mut self, id: i64, text: &str) -> rusqlite::Result<()> {
        let before: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT length(CAST(observations AS BLOB)) FROM meanings WHERE id = ?1",
            )?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let Some(before) = before else {
            return Ok(());
        };
        let more = text.len() as i64 - before;
        self.connection
            .prepare_cached(
                "UPDATE meanings SET observations = ?2, size_bytes = size_bytes + ?3 WHERE id = ?1",
            )?
            .execute(params![id, text, more])?;
        self.meanings.bytes = self.meanings.bytes.saturating_add_signed(more);
        self.meanings.make_room(&self.connection, 0)
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
