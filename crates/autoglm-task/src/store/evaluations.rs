//! What evaluations found, kept so that versions of a task can be compared later.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, Row as SqlRow, params};
use serde::{Deserialize, Serialize};

use super::sqlite::{SqliteStore, Unread, failed, json, millis, required};
use super::{RunId, RunInfo, Store};
use crate::TaskError;
use crate::eval::{Report, Summary};
use crate::strategy::StrategyId;

/// An evaluation as it is added; what its run tells of it is taken from there.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvaluation<'a> {
    /// The run that holds the answers.
    pub run: RunId,
    /// The strategy that ran; none where the task was run as it is written.
    pub strategy: Option<StrategyId>,
    /// The field of the right answers, where one was named.
    pub gold_field: Option<&'a str>,
    /// What the records were, by [`data_hash`](crate::eval::data_hash).
    pub data_hash: String,
    /// What was found.
    pub report: &'a Report,
}

/// An evaluation as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEvaluation {
    /// Its number.
    pub id: i64,
    /// When it was made, in milliseconds since 1970.
    pub at_ms: i64,
    /// The run that holds the answers.
    pub run: RunId,
    /// The file of the data.
    pub source: String,
    /// What the records were: the same hash, the same records.
    pub data_hash: String,
    /// The field of the right answers, where one was named.
    pub gold_field: Option<String>,
    /// Hash of what determines the prompts.
    pub task_hash: String,
    /// The model.
    pub model: String,
    /// The strategy that ran; none where the task was run as it is written.
    pub strategy: Option<StrategyId>,
    /// Hash of the judge that labelled records had taught, where there was one.
    pub taught: Option<String>,
    /// Rows of feedback that took part.
    pub feedback: u64,
    /// What was found.
    pub report: Report,
}

/// Where evaluations are kept.
pub trait EvaluationStore {
    /// Adds an evaluation and returns its number.
    ///
    /// # Errors
    /// When there is no such run, or the store cannot be written.
    fn put_evaluation(
        &mut self,
        evaluation: &NewEvaluation<'_>,
        at: SystemTime,
    ) -> Result<i64, TaskError>;

    /// At most `count` evaluations of a task, the latest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn evaluations(&self, task: &str, count: usize) -> Result<Vec<StoredEvaluation>, TaskError>;

    /// What at most `count` evaluations of a task came to, the latest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn evaluation_scores(
        &self,
        task: &str,
        count: usize,
    ) -> Result<Vec<EvaluationScores>, TaskError>;

    /// The task's latest run of a kind that has records.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn latest_run(&self, task: &str, kind: RunKind) -> Result<Option<RunInfo>, TaskError>;
}

/// Which runs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// All.
    Any,
    /// Those that no evaluation was made of.
    Answering,
}

/// What an evaluation came to, without what its report tells of every label and bin.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationScores {
    /// Its number.
    pub id: i64,
    /// When it was made, in milliseconds since 1970.
    pub at_ms: i64,
    /// The run that holds the answers.
    pub run: RunId,
    /// The file of the data.
    pub source: String,
    /// What the records were: the same hash, the same records.
    pub data_hash: String,
    /// The field of the right answers, where one was named.
    pub gold_field: Option<String>,
    /// Hash of what determines the prompts.
    pub task_hash: String,
    /// The model.
    pub model: String,
    /// The strategy that ran; none where the task was run as it is written.
    pub strategy: Option<StrategyId>,
    /// Whether labelled records had taught a judge.
    pub taught: bool,
    /// Rows of feedback that took part.
    pub feedback: u64,
    /// Rows with a right answer.
    pub rows: usize,
    /// What the report says of them.
    pub summary: Summary,
}

impl EvaluationStore for SqliteStore {
    fn put_evaluation(
        &mut self,
        evaluation: &NewEvaluation<'_>,
        at: SystemTime,
    ) -> Result<i64, TaskError> {
        let run = self.run(evaluation.run)?;
        let feedback = run.key.feedback.map_or(0, |key| key.version.rows);
        let values = params![
            run.spec.name,
            millis(at),
            run.id.0,
            run.key.source,
            evaluation.data_hash,
            evaluation.gold_field,
            run.key.task_hash,
            run.key.model.name,
            evaluation.strategy.map(|id| id.0),
            run.key.ensemble,
            feedback as i64,
            evaluation.report.rows as i64,
            json(evaluation.report),
        ];
        self.connection
            .execute(
                "INSERT INTO evaluations (task_name, at_ms, run, source, data_hash, gold_field, \
                 task_hash, model, strategy, taught, feedback, rows, report) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                values,
            )
            .map_err(failed("keep an evaluation"))?;
        Ok(self.connection.last_insert_rowid())
    }

    fn evaluations(&self, task: &str, count: usize) -> Result<Vec<StoredEvaluation>, TaskError> {
        let read_all = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare(
                "SELECT id, at_ms, run, source, data_hash, gold_field, task_hash, model, \
                 strategy, taught, feedback, report FROM evaluations WHERE task_name = ?1 \
                 ORDER BY id DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![task, count as i64], |row| Ok(read(row)))?;
            rows.collect()
        };
        all_read(read_all())
    }

    fn evaluation_scores(
        &self,
        task: &str,
        count: usize,
    ) -> Result<Vec<EvaluationScores>, TaskError> {
        let read_all = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare(
                "SELECT id, at_ms, run, source, data_hash, gold_field, task_hash, model, \
                 strategy, taught IS NOT NULL, feedback, rows, report FROM evaluations \
                 WHERE task_name = ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let rows =
                statement.query_map(params![task, count as i64], |row| Ok(read_scores(row)))?;
            rows.collect()
        };
        all_read(read_all())
    }

    fn latest_run(&self, task: &str, kind: RunKind) -> Result<Option<RunInfo>, TaskError> {
        let but = match kind {
            RunKind::Any => "",
            RunKind::Answering => "AND id NOT IN (SELECT run FROM evaluations)",
        };
        let query = format!(
            "SELECT id FROM runs WHERE task_name = ?1 AND records > 0 {but} ORDER BY id DESC LIMIT 1"
        );
        let found: Option<i64> = self
            .connection
            .query_row(&query, [task], |row| row.get(0))
            .optional()
            .map_err(failed("list runs"))?;
        found.map(|id| self.run(RunId(id))).transpose()
    }
}

fn all_read<T>(read: rusqlite::Result<Vec<Result<T, Unread>>>) -> Result<Vec<T>, TaskError> {
    let read = read.map_err(failed("read evaluations"))?.into_iter();
    read.map(|row| row.map_err(|e| e.explain("read evaluations")))
        .collect()
}

fn read_scores(row: &SqlRow<'_>) -> Result<EvaluationScores, Unread> {
    let run = row.get(2)?;
    Ok(EvaluationScores {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        run: RunId(run),
        source: row.get(3)?,
        data_hash: row.get(4)?,
        gold_field: row.get(5)?,
        task_hash: row.get(6)?,
        model: row.get(7)?,
        strategy: row.get::<_, Option<i64>>(8)?.map(StrategyId),
        taught: row.get(9)?,
        feedback: row.get::<_, i64>(10)? as u64,
        rows: row.get::<_, i64>(11)? as usize,
        summary: required(row, 12, "report", run)?,
    })
}

fn read(row: &SqlRow<'_>) -> Result<StoredEvaluation, Unread> {
    let run = row.get(2)?;
    Ok(StoredEvaluation {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        run: RunId(run),
        source: row.get(3)?,
        data_hash: row.get(4)?,
        gold_field: row.get(5)?,
        task_hash: row.get(6)?,
        model: row.get(7)?,
        strategy: row.get::<_, Option<i64>>(8)?.map(StrategyId),
        taught: row.get(9)?,
        feedback: row.get::<_, i64>(10)? as u64,
        report: required(row, 11, "report", run)?,
    })
}
