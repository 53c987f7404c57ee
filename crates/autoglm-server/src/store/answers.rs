//! Answers that may be given again, each under the hash of everything that it depends on.

use autoglm_spec::{Completion, GenerateRequest, Prompt};
use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{ServerStore, State, failed};
use crate::ServerError;

/// What an answer depends on, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerKey([u8; 32]);

/// Everything that an answer depends on. A field of a request that is missing here would let two
/// requests have one answer.
#[derive(Serialize)]
struct Depends<'a> {
    version: u32,
    model: &'a str,
    prompt: &'a Prompt,
    max_tokens: usize,
    sampling: &'a autoglm_spec::Sampling,
    logit_bias: &'a [(u32, f32)],
    stop: &'a [String],
    constraint: &'a Option<autoglm_spec::Constraint>,
    decoding: &'a autoglm_spec::Decoding,
    attention: &'a autoglm_spec::AttentionPolicy,
    adapter: &'a Option<String>,
}

impl AnswerKey {
    /// The key of a model's answer to a request. `model` identifies its weights, settings and
    /// adapter.
    pub(crate) fn of(model: &str, request: &GenerateRequest) -> Self {
        let GenerateRequest {
            prompt,
            max_tokens,
            sampling,
            logit_bias,
            stop,
            constraint,
            decoding,
            attention,
            adapter,
        } = request;
        let depends = Depends {
            version: 1,
            model,
            prompt,
            max_tokens: *max_tokens,
            sampling,
            logit_bias,
            stop,
            constraint,
            decoding,
            attention,
            adapter,
        };
        let json = serde_json::to_vec(&depends).expect("requests are plain data");
        Self(Sha256::digest(json).into())
    }
}

impl ServerStore {
    /// The answer that a request had before.
    ///
    /// # Errors
    /// A file that fails. An answer that cannot be read counts as none.
    pub(crate) fn answer(&self, key: AnswerKey) -> Result<Option<Completion>, ServerError> {
        let mut state = self.lock();
        if state.answers.limit == 0 {
            return Ok(None);
        }
        let stored: Option<String> = state
            .connection
            .prepare_cached("SELECT answer FROM answers WHERE key = ?1")
            .and_then(|mut query| query.query_row([&key.0[..]], |row| row.get(0)).optional())
            .map_err(failed)?;
        let answer = stored.and_then(|text| serde_json::from_str(&text).ok());
        if answer.is_some() {
            let now = state.tick();
            state
                .connection
                .prepare_cached("UPDATE answers SET used = ?2 WHERE key = ?1")
                .and_then(|mut update| update.execute(params![&key.0[..], now]))
                .map_err(failed)?;
        }
        Ok(answer)
    }

    /// Remembers an answer.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn put_answer(
        &self,
        key: AnswerKey,
        answer: &Completion,
    ) -> Result<(), ServerError> {
        let text = serde_json::to_string(answer).expect("answers are plain data");
        let size = (text.len() + key.0.len()) as u64;
        let mut state = self.lock();
        if size > state.answers.limit / 8 {
            // One answer must not push out all others.
            return Ok(());
        }
        state.put_answer(key, &text, size).map_err(failed)
    }
}

impl State {
    fn put_answer(&mut self, key: AnswerKey, text: &str, size: u64) -> rusqlite::Result<()> {
        self.answers.make_room(&self.connection, size)?;
        let now = self.tick();
        let inserted = self
            .connection
            .prepare_cached(
                "INSERT OR IGNORE INTO answers (key, answer, size_bytes, used) \
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![&key.0[..], text, size.cast_signed(), now])?;
        if inserted == 1 {
            self.answers.bytes += size;
        }
        Ok(())
    }
}
