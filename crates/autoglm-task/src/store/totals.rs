//! The runs of a task, and what all records of a run come to.

use std::collections::BTreeMap;
use std::time::Duration;

use autoglm_spec::Usage;
use rusqlite::{Row, params};

use super::sqlite::{SqliteStore, failed, json};
use super::{RunId, RunInfo};
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

    /// What the records of each of these runs come to. All of them are read.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn run_totals(&self, runs: &[RunId]) -> Result<BTreeMap<RunId, RunTotals>, TaskError>;
}

impl Ledger for SqliteStore {
    fn task_runs(&self, task: &str, count: usize) -> Result<(Vec<RunInfo>, usize), TaskError> {
        let wanted = ("WHERE task_name = ?1", "LIMIT ?2");
        let runs = self.list_runs(wanted, params![task, count as i64])?;
        let all: rusqlite::Result<i64> = self
            .connection
            .prepare_cached("SELECT COUNT(*) FROM runs WHERE task_name = ?1")
            .and_then(|mut count| count.query_row([task], |row| row.get(0)));
        Ok((runs, all.map_err(failed("list runs"))? as usize))
    }

    fn run_totals(&self, runs: &[RunId]) -> Result<BTreeMap<RunId, RunTotals>, TaskError> {
        let read = || -> rusqlite::Result<Vec<(RunId, RunTotals)>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT run, SUM(prompt_tokens), SUM(cached_tokens), SUM(completion_tokens), \
                 SUM(compute_us), AVG(confidence) FROM records \
                 WHERE run IN (SELECT value FROM json_each(?1)) GROUP BY run",
            )?;
            let sums = statement.query_map([json(&runs)], read_totals)?;
            sums.collect()
        };
        // A run without records has no row.
        let mut totals: BTreeMap<RunId, RunTotals> = runs
            .iter()
            .map(|&run| (run, RunTotals::default()))
            .collect();
        totals.extend(read().map_err(failed("add runs up"))?);
        Ok(totals)
    }
}

fn read_totals(row: &Row<'_>) -> rusqlite::Result<(RunId, RunTotals)> {
    let usage = Usage {
        prompt_tokens: row.get::<_, i64>(1)? as usize,
        cached_tokens: row.get::<_, i64>(2)? as usize,
        completion_tokens: row.get::<_, i64>(3)? as usize,
        compute: Duration::from_micros(row.get::<_, i64>(4)? as u64),
    };
    let totals = RunTotals {
        usage,
        mean_confidence: row.get(5)?,
    };
    Ok((RunId(row.get(0)?), totals))
}
