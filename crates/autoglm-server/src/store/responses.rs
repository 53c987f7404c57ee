//! Responses that conversations go on from.

use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::{ServerStore, failed};
use crate::ServerError;

/// A response with the conversation that it ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredResponse {
    /// The response as it was given.
    pub(crate) response: Value,
    /// Everything that was said, the response included, as items of an input.
    pub(crate) conversation: Vec<Value>,
}

impl ServerStore {
    /// Remembers a response of a client's.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn put_response(
        &self,
        id: &str,
        client: &str,
        stored: &StoredResponse,
    ) -> Result<(), ServerError> {
        let response = stored.response.to_string();
        let conversation = Value::Array(stored.conversation.clone()).to_string();
        let size = (response.len() + conversation.len()) as u64;
        let state = &mut *self.lock();
        let made = state.responses.make_room(&state.connection, size);
        made.map_err(failed)?;
        let now = state.tick();
        state
            .connection
            .execute(
                "INSERT OR REPLACE INTO responses \
                 (id, client, response, conversation, size_bytes, used) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![id, client, response, conversation, size.cast_signed(), now],
            )
            .map_err(failed)?;
        state.responses.bytes += size;
        Ok(())
    }

    /// A response of this client's.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn response(
        &self,
        id: &str,
        client: &str,
    ) -> Result<Option<StoredResponse>, ServerError> {
        let state = self.lock();
        let texts: Option<(String, String)> = state
            .connection
            .prepare_cached(
                "SELECT response, conversation FROM responses WHERE id = ?1 AND client = ?2",
            )
            .and_then(|mut query| {
                query
                    .query_row([id, client], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .map_err(failed)?;
        Ok(texts.and_then(|(response, conversation)| {
            Some(StoredResponse {
                response: serde_json::from_str(&response).ok()?,
                conversation: serde_json::from_str(&conversation).ok()?,
            })
        }))
    }

    /// Forgets a response of this client's; `false` where there is none.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn forget_response(&self, id: &str, client: &str) -> Result<bool, ServerError> {
        let mut state = self.lock();
        let size: Option<i64> = state
            .connection
            .prepare_cached(
                "DELETE FROM responses WHERE id = ?1 AND client = ?2 RETURNING size_bytes",
            )
            .and_then(|mut delete| delete.query_row([id, client], |row| row.get(0)).optional())
            .map_err(failed)?;
        let size_bytes = size.unwrap_or(0).cast_unsigned();
        state.responses.bytes = state.responses.bytes.saturating_sub(size_bytes);
        Ok(size.is_some())
    }
}
