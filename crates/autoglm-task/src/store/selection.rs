//! Vectors of labelled records in the SQLite file.

use std::collections::BTreeMap;

use rusqlite::params;

use super::feedback::{bytes, floats};
use super::sqlite::{SqliteStore, failed};
use crate::TaskError;
use crate::select::VectorStore;

impl VectorStore for SqliteStore {
    fn example_vectors(
        &self,
        task: &str,
        space: &str,
    ) -> Result<BTreeMap<String, Vec<f32>>, TaskError> {
        let read = || -> rusqlite::Result<BTreeMap<String, Vec<f32>>> {
            let mut statement = self.connection.prepare(
                "SELECT record, vector FROM example_vectors WHERE task = ?1 AND space = ?2",
            )?;
            let rows = statement.query_map([task, space], |row| {
                Ok((row.get(0)?, floats(row.get_ref(1)?.as_blob()?)))
            })?;
            rows.collect()
        };
        read().map_err(failed("read vectors"))
    }

    fn put_example_vectors(
        &mut self,
        task: &str,
        space: &str,
        vectors: &[(String, Vec<f32>)],
    ) -> Result<(), TaskError> {
        self.write("write vectors", |transaction| {
            for (record, vector) in vectors {
                transaction.execute(
                    "INSERT OR REPLACE INTO example_vectors VALUES (?1, ?2, ?3, ?4)",
                    params![task, space, record, bytes(vector)],
                )?;
            }
            Ok(())
        })
    }
}
