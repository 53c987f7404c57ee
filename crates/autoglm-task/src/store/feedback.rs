//! What users said of answers, row by row, kept for good: what is withdrawn is marked and stays.

use std::collections::BTreeMap;
use std::time::SystemTime;

use autoglm_spec::Record;
use rusqlite::{
    Connection, OptionalExtension, Row as SqlRow, Transaction, TransactionBehavior, params,
};
use serde::{Deserialize, Serialize};

use super::RunId;
use super::sqlite::{SqliteStore, Unread, failed, json, millis, parsed, required};
use crate::TaskError;

/// What a user said of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// This is the right label.
    Correct(String),
    /// The answer was right.
    Good,
    /// The answer was wrong; what is right was not said.
    Bad,
}

/// Feedback on one record, before it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFeedback {
    /// The run and the record's place in it, where it is of one.
    pub record: Option<(RunId, u64)>,
    /// The record.
    pub input: Record,
    /// The labels with the probabilities that the model gave them without any feedback.
    pub opinion: Option<Vec<(String, f32)>>,
    /// What was answered.
    pub given: Option<String>,
    /// What the user said.
    pub judgement: Judgement,
    /// Why.
    pub note: Option<String>,
    /// Whether this record must be right from now on.
    pub pinned: bool,
}

/// Feedback on one record, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Feedback {
    /// Its number.
    pub id: i64,
    /// The number of what was given together.
    pub batch: i64,
    /// When it was given, in milliseconds since 1970.
    pub at_ms: i64,
    /// The run of the record.
    pub run: Option<RunId>,
    /// The record's place in the run.
    pub index: Option<u64>,
    /// The record.
    pub input: Record,
    /// The labels with the probabilities that the model gave them without any feedback.
    pub opinion: Option<Vec<(String, f32)>>,
    /// What was answered.
    pub given: Option<String>,
    /// What the user said.
    pub judgement: Judgement,
    /// Why.
    pub note: Option<String>,
    /// Whether the record must be right.
    pub pinned: bool,
    /// When it was withdrawn, in milliseconds since 1970.
    pub withdrawn_ms: Option<i64>,
}

impl Feedback {
    /// Whether it was not withdrawn.
    pub fn is_live(&self) -> bool {
        self.withdrawn_ms.is_none()
    }
}

/// What is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// All that was given together.
    Batch(i64),
    /// One row.
    Row(i64),
}

/// Where feedback is kept.
pub trait FeedbackStore {
    /// Adds rows as one batch and returns its number.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put_feedback(
        &mut self,
        task: &str,
        rows: &[NewFeedback],
        at: SystemTime,
    ) -> Result<i64, TaskError>;

    /// All feedback of a task, withdrawn rows included, in the order in which it came.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn feedback(&self, task: &str) -> Result<Vec<Feedback>, TaskError>;

    /// Withdraws feedback of a task and returns how many rows that were.
    ///
    /// # Errors
    /// When there is nothing of this number that is not withdrawn already, or the store cannot be
    /// written.
    fn withdraw(
        &mut self,
        task: &str,
        what: Withdrawal,
        at: SystemTime,
    ) -> Result<usize, TaskError>;

    /// Keeps vectors of the records of feedback rows.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put_vectors(&mut self, space: &str, vectors: &[(i64, Vec<f32>)]) -> Result<(), TaskError>;

    /// The vectors of a task's feedback in a space, by the rows' numbers.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn vectors(&self, task: &str, space: &str) -> Result<BTreeMap<i64, Vec<f32>>, TaskError>;

    /// The space in which most of a task's feedback has vectors; none where there are none.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn usual_space(&self, task: &str) -> Result<Option<String>, TaskError>;
}

const COLUMNS: &str = "id, batch, at_ms, run, idx, input, opinion, given, judgement, note, pinned, \
                       withdrawn_ms";

impl FeedbackStore for SqliteStore {
    fn put_feedback(
        &mut self,
        task: &str,
        rows: &[NewFeedback],
        at: SystemTime,
    ) -> Result<i64, TaskError> {
        self.write("write feedback", |transaction| {
            let batch: i64 = transaction.query_row(
                "SELECT COALESCE(MAX(batch), 0) + 1 FROM feedback",
                [],
                |row| row.get(0),
            )?;
            for row in rows {
                put_row(transaction, (task, batch, millis(at)), row)?;
            }
            Ok(batch)
        })
    }

    fn feedback(&self, task: &str) -> Result<Vec<Feedback>, TaskError> {
        let query = format!("SELECT {COLUMNS} FROM feedback WHERE task_name = ?1 ORDER BY id");
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare(&query)?;
            let rows = statement.query_map([task], |row| Ok(read_row(row)))?;
            rows.collect()
        };
        let rows: Vec<Result<Feedback, Unread>> = read().map_err(failed("read feedback"))?;
        rows.into_iter()
            .map(|row| row.map_err(|error| error.explain("read feedback")))
            .collect()
    }

    fn withdraw(
        &mut self,
        task: &str,
        what: Withdrawal,
        at: SystemTime,
    ) -> Result<usize, TaskError> {
        let (column, noun, number) = match what {
            Withdrawal::Batch(batch) => ("batch", "batch", batch),
            Withdrawal::Row(id) => ("id", "row", id),
        };
        let query = format!(
            "UPDATE feedback SET withdrawn_ms = ?3 \
             WHERE task_name = ?1 AND {column} = ?2 AND withdrawn_ms IS NULL"
        );
        let changed = self
            .connection
            .execute(&query, params![task, number, millis(at)])
            .map_err(failed("withdraw feedback"))?;
        if changed == 0 {
            return Err(TaskError::NoSuchFeedback {
                task: task.to_owned(),
                noun,
                number,
            });
        }
        Ok(changed)
    }

    fn put_vectors(&mut self, space: &str, vectors: &[(i64, Vec<f32>)]) -> Result<(), TaskError> {
        self.write("write vectors", |transaction| {
            for (id, vector) in vectors {
                transaction.execute(
                    "INSERT OR REPLACE INTO feedback_vectors VALUES (?1, ?2, ?3)",
                    params![id, space, bytes(vector)],
                )?;
            }
            Ok(())
        })
    }

    fn vectors(&self, task: &str, space: &str) -> Result<BTreeMap<i64, Vec<f32>>, TaskError> {
        let read = || -> rusqlite::Result<BTreeMap<i64, Vec<f32>>> {
            let mut statement = self.connection.prepare(
                "SELECT feedback, vector FROM feedback_vectors JOIN feedback ON id = feedback \
                 WHERE task_name = ?1 AND space = ?2",
            )?;
            let rows = statement.query_map([task, space], |row| {
                Ok((row.get(0)?, floats(row.get_ref(1)?.as_blob()?)))
            })?;
            rows.collect()
        };
        read().map_err(failed("read vectors"))
    }

    fn usual_space(&self, task: &str) -> Result<Option<String>, TaskError> {
        let query = "SELECT space FROM feedback_vectors JOIN feedback ON id = feedback \
                     WHERE task_name = ?1 GROUP BY space ORDER BY COUNT(*) DESC, space LIMIT 1";
        let read = self.connection.query_row(query, [task], |row| row.get(0));
        read.optional().map_err(failed("read vectors"))
    }
}

impl SqliteStore {
    /// Writes all or nothing. The transaction takes its turn among writers before it reads: one
    /// that read first would fail where another wrote in between.
    pub(super) fn write<T>(
        &mut self,
        action: &'static str,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, TaskError> {
        let behaviour = TransactionBehavior::Immediate;
        let all = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(behaviour)?;
            let written = write(&transaction)?;
            transaction.commit()?;
            Ok(written)
        };
        all(&mut self.connection).map_err(failed(action))
    }
}

/// A vector as it is stored.
pub(super) fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The numbers of a vector as it is stored.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

fn put_row(
    connection: &Connection,
    (task, batch, at_ms): (&str, i64, i64),
    row: &NewFeedback,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO feedback (task_name, batch, at_ms, run, idx, input, opinion, given, \
         judgement, note, pinned) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    statement.execute(params![
        task,
        batch,
        at_ms,
        row.record.map(|(run, _)| run.0),
        row.record.map(|(_, index)| index as i64),
        json(&row.input),
        row.opinion.as_ref().map(json),
        row.given,
        json(&row.judgement),
        row.note,
        row.pinned,
    ])?;
    Ok(())
}

fn read_row(row: &SqlRow<'_>) -> Result<Feedback, Unread> {
    let run: Option<i64> = row.get(3)?;
    let of_run = run.unwrap_or_default();
    Ok(Feedback {
        id: row.get(0)?,
        batch: row.get(1)?,
        at_ms: row.get(2)?,
        run: run.map(RunId),
        index: row.get::<_, Option<i64>>(4)?.map(|index| index as u64),
        input: required(row, 5, "input", of_run)?,
        opinion: parsed(row, 6, "opinion", of_run)?,
        given: row.get(7)?,
        judgement: required(row, 8, "judgement", of_run)?,
        note: row.get(9)?,
        pinned: row.get(10)?,
        withdrawn_ms: row.get(11)?,
    })
}
