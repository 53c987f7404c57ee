//! The registry: which versions of each model are live, before it and on trial.

use rusqlite::OptionalExtension;

use super::{ServerStore, failed};
use crate::ServerError;

impl ServerStore {
    /// What is on record of a name's versions.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn versions(&self, name: &str) -> Result<Option<String>, ServerError> {
        let state = self.lock();
        state
            .connection
            .prepare_cached("SELECT record FROM versions WHERE name = ?1")
            .and_then(|mut query| query.query_row([name], |row| row.get(0)).optional())
            .map_err(failed)
    }

    /// Puts down what is to be known of a name's versions; all of it or nothing.
    ///
    /// # Errors
    /// A file that fails.
    pub(crate) fn put_versions(&self, name: &str, record: &str) -> Result<(), ServerError> {
        let state = self.lock();
        let put = state
            .connection
            .prepare_cached("INSERT OR REPLACE INTO versions (name, record) VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute([name, record]));
        put.map(drop).map_err(failed)
    }
}
