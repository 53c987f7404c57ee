//! Labelled records and taught judges in the SQLite file.

use std::time::SystemTime;

use autoglm_spec::{Example, Record};
use rusqlite::{OptionalExtension, Transaction, params};
use serde::de::DeserializeOwned;

use super::sqlite::{SqliteStore, failed, json, millis};
use crate::TaskError;
use crate::ensemble::Ensemble;
use crate::library::{Added, Ensembles, Entry, Library, Source};
use crate::select::vector_key;

impl Library for SqliteStore {
    fn add_examples(
        &mut self,
        task: &str,
        examples: &[Example],
        source: Source,
        at: SystemTime,
    ) -> Result<Added, TaskError> {
        let mut add = || -> rusqlite::Result<Added> {
            let transaction = self.connection.transaction()?;
            let mut added = Added::default();
            for example in examples {
                let given = (task, json(&example.input), source, millis(at));
                add_one(&transaction, given, &example.output, &mut added)?;
            }
            transaction.commit()?;
            Ok(added)
        };
        add().map_err(failed("write examples"))
    }

    fn examples(&self, task: &str) -> Result<Vec<Entry>, TaskError> {
        type Stored = (i64, String, String, String, i64);
        let read = || -> rusqlite::Result<Vec<Stored>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT id, input, answer, source, added_ms FROM examples WHERE task = ?1 \
                 ORDER BY id",
            )?;
            let rows = statement.query_map([task], |row| row.try_into())?;
            rows.collect()
        };
        let entry = |(id, input, output, source, added_ms): Stored| {
            Ok(Entry {
                id,
                example: Example {
                    input: parsed(&input, "example")?,
                    output,
                },
                source: parsed(&source, "source of an example")?,
                added_ms,
            })
        };
        let stored = read().map_err(failed("read examples"))?;
        stored.into_iter().map(entry).collect()
    }

    fn remove_examples(&mut self, task: &str, ids: &[i64]) -> Result<(), TaskError> {
        let mut remove = || -> rusqlite::Result<Option<i64>> {
            let transaction = self.connection.transaction()?;
            for id in ids {
                let removed: Option<String> = transaction
                    .query_row(
                        "DELETE FROM examples WHERE task = ?1 AND id = ?2 RETURNING input",
                        params![task, id],
                        |row| row.get(0),
                    )
                    .optional()?;
                let Some(input) = removed else {
                    return Ok(Some(*id));
                };
                if let Ok(input) = serde_json::from_str::<Record>(&input) {
                    transaction.execute(
                        "DELETE FROM example_vectors WHERE task = ?1 AND record = ?2",
                        params![task, vector_key(&input)],
                    )?;
                }
            }
            transaction.commit()?;
            Ok(None)
        };
        match remove().map_err(failed("remove examples"))? {
            None => Ok(()),
            Some(id) => Err(TaskError::NoSuchExample {
                task: task.to_owned(),
                id,
            }),
        }
    }
}

fn add_one(
    transaction: &Transaction<'_>,
    (task, input, source, at_ms): (&str, String, Source, i64),
    answer: &str,
    added: &mut Added,
) -> rusqlite::Result<()> {
    let known: Option<String> = transaction
        .query_row(
            "SELECT answer FROM examples WHERE task = ?1 AND input = ?2",
            params![task, input],
            |row| row.get(0),
        )
        .optional()?;
    match known {
        Some(known) if known == answer => {
            added.known += 1;
            return Ok(());
        }
        Some(_) => added.replaced += 1,
        None => added.added += 1,
    }
    transaction.execute(
        "INSERT INTO examples (task, input, answer, source, added_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (task, input) DO UPDATE SET answer = ?3, source = ?4, added_ms = ?5",
        params![task, input, answer, json(&source), at_ms],
    )?;
    Ok(())
}

impl Ensembles for SqliteStore {
    fn put_ensemble(
        &mut self,
        key: &str,
        ensemble: &Ensemble,
        at: SystemTime,
    ) -> Result<(), TaskError> {
        let mut put = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            let hash = ensemble.hash();
            transaction.execute(
                "INSERT OR IGNORE INTO ensembles (hash, ensemble) VALUES (?1, ?2)",
                params![hash, json(ensemble)],
            )?;
            transaction.execute(
                "INSERT OR REPLACE INTO fits (key, ensemble, fitted_ms) VALUES (?1, ?2, ?3)",
                params![key, hash, millis(at)],
            )?;
            transaction.commit()
        };
        put().map_err(failed("write a taught judge"))
    }

    fn ensemble_of_key(&self, key: &str) -> Result<Option<Ensemble>, TaskError> {
        let found: Option<String> = self
            .connection
            .query_row("SELECT ensemble FROM fits WHERE key = ?1", [key], |row| {
                row.get(0)
            })
            .optional()
            .map_err(failed("read a taught judge"))?;
        match found {
            Some(hash) => self.ensemble(&hash),
            None => Ok(None),
        }
    }

    fn ensemble(&self, hash: &str) -> Result<Option<Ensemble>, TaskError> {
        let found: Option<String> = self
            .connection
            .query_row(
                "SELECT ensemble FROM ensembles WHERE hash = ?1",
                [hash],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed("read a taught judge"))?;
        found.map(|text| parsed(&text, "judge")).transpose()
    }
}

fn parsed<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, TaskError> {
    serde_json::from_str(text).map_err(|source| TaskError::StoredExample { what, source })
}
