//! The runs of a task, and what all records of a run come to.

use std::time::Duration;

use autoglm_spec::Usage;
use rusqlite::params;

use super::sqlite::{SqliteStore, failed};
use super::{RunId, RunInfo, Store as _};
use crate::TaskError;

/// What all records of a run come to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RunTotals {
    /// What they cost.
    pub usage: Usage,
    /// The mean of how sure their answers are; none where no record has one.
    pub mean_confidence: Option<f64>,
}

/// Where the runs of a task are looked up.
pub trait Ledger {
    /// At most `count` runs of a task, the latest first, and how many it has.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn task_runs(&self, task: &str, count: usize) -> Result<(Vec<RunInfo>, usize), TaskError>;

    /// What the records of a run come to. All of them are read.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn run_totals(&self, run: RunId) -> Result<RunTotals, TaskError>;
}

impl Ledger for SqliteStore {
    fn task_runs(&self, task: &str, count: usize) -> Result<(Vec<RunInfo>, usize), TaskError> {
        let read = || -> rusqlite::Result<(Vec<i64>, i64)> {
            let mut statement = self.connection.prepare_cached(
                "SELECT id FROM runs WHERE task_name = ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let ids = statement.query_map(params![task, count as i64], |row| row.get(0))?;
            let ids = ids.collect::<rusqlite::Result<_>>()?;
            let mut count = self
                .connection
                .prepare_cached("SELECT COUNT(*) FROM runs WHERE task_name = ?1")?;
            Ok((ids, count.query_row([task], |row| row.get(0))?))
        };
        let (ids, all) = read().map_err(failed("list runs"))?;
        let runs: Result<_, _> = ids.into_iter().map(|id| self.run(RunId(id))).collect();
        Ok((runs?, all as usize))
    }

    fn run_totals(&self, run: RunId) -> Result<RunTotals, TaskError> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT COALESCE(SUM(prompt_tokens), 0), COALESCE(SUM(cached_tokens), 0), \
                 COALESCE(SUM(completion_tokens), 0), COALESCE(SUM(compute_us), 0), \
                 AVG(confidence) FROM records WHERE run = ?1",
            )
            .map_err(failed("add a run up"))?;
        let totals = statement.query_row([run.0], |row| {
            Ok(RunTotals {
                usage: Usage {
                    prompt_tokens: row.get::<_, i64>(0)? as usize,
                    cached_tokens: row.get::<_, i64>(1)? as usize,
                    completion_tokens: row.get::<_, i64>(2)? as usize,
                    compute: Duration::from_micros(row.get::<_, i64>(3)? as u64),
                },
                mean_confidence: row.get(4)?,
            })
        });
        totals.map_err(failed("add a run up"))
    }
}
