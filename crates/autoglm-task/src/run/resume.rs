//! Finds the run that goes on, and makes sure that it can.

use std::time::SystemTime;

use serde::Serialize;

use super::Job;
use crate::TaskError;
use crate::records::{NumberedRecord, RecordError};
use crate::row::Row;
use crate::store::{RunId, RunInfo, RunKey, RunStart, RunStatus, Store};

/// Whether an earlier run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// A run of its own.
    No,
    /// The latest run with the same task, model, input, output and settings; a run of its own
    /// where there has been none with this output.
    Matching,
    /// This run, whatever its output was.
    Run(RunId),
}

/// The run to work on, begun anew or found.
pub(super) fn open(
    job: &Job<'_>,
    key: &RunKey,
    store: &mut dyn Store,
    at: SystemTime,
) -> Result<RunInfo, TaskError> {
    let found = match job.resume {
        Resume::No => None,
        Resume::Matching => matching(key, store)?,
        Resume::Run(id) => Some(store.run(id)?),
    };
    let id = match found {
        Some(info) => {
            check(&info, key)?;
            store.put_status(info.id, RunStatus::Unfinished, at)?;
            info.id
        }
        None => store.begin(&RunStart {
            key,
            spec: job.spec,
            at,
        })?,
    };
    store.run(id)
}

/// The latest run with the same key, or else the latest with the same output file.
fn matching(key: &RunKey, store: &dyn Store) -> Result<Option<RunInfo>, TaskError> {
    let runs = store.runs()?;
    if let Some(same) = runs.iter().find(|run| run.key == *key) {
        return Ok(Some(same.clone()));
    }
    let to_same_file = |run: &RunInfo| key.output != "-" && run.key.output == key.output;
    Ok(runs.into_iter().find(to_same_file))
}

/// Compares what the run was begun with to what is given now; the output may be another.
fn check(info: &RunInfo, key: &RunKey) -> Result<(), TaskError> {
    let stored = &info.key;
    same(info, "input", &stored.source, &key.source)?;
    same(
        info,
        "content of the input",
        &short(&stored.fingerprint),
        &short(&key.fingerprint),
    )?;
    same(
        info,
        "task",
        &short(&stored.task_hash),
        &short(&key.task_hash),
    )?;
    same(info, "model", &stored.model.name, &key.model.name)?;
    same(info, "model", &stored.model, &key.model)?;
    same(info, "calibration", &stored.calibration, &key.calibration)?;
    same(info, "sampling", &stored.sampling, &key.sampling)?;
    same(info, "plan of samples", &stored.plan, &key.plan)?;
    same(info, "comparison of answers", &stored.compare, &key.compare)?;
    same(info, "embedder", &stored.similar, &key.similar)?;
    same(
        info,
        "correction of confidences",
        &stored.calibrator,
        &key.calibrator,
    )?;
    same(
        info,
        "least confidence",
        &stored.min_confidence,
        &key.min_confidence,
    )?;
    same(info, "list of stop texts", &stored.stop, &key.stop)?;
    same(
        info,
        "use of both orders",
        &stored.both_orders,
        &key.both_orders,
    )?;
    same(
        info,
        "judge that labelled records have taught",
        &stored.ensemble,
        &key.ensemble,
    )?;
    same(info, "strategy", &stored.strategy, &key.strategy)?;
    same(
        info,
        "choice of examples",
        &stored.selection,
        &key.selection,
    )?;
    same(info, "limit", &stored.limit, &key.limit)?;
    same(info, "feedback", &stored.feedback, &key.feedback)
}

fn same<T: PartialEq + Serialize>(
    info: &RunInfo,
    what: &'static str,
    stored: &T,
    given: &T,
) -> Result<(), TaskError> {
    if stored == given {
        return Ok(());
    }
    Err(TaskError::ResumeMismatch {
        run: info.id.0,
        what,
        stored: plain(stored),
        given: plain(given),
    })
}

/// A value as it is shown: strings without quotes, others as JSON.
fn plain(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}

/// A hash as its first digits, which is what people compare.
fn short<T: Serialize>(hash: &T) -> String {
    plain(hash).chars().take(12).collect()
}

/// Whether an item of the input is what a stored row was made from.
pub(super) fn is_same(row: &Row, item: &Result<NumberedRecord, RecordError>) -> bool {
    match item {
        Ok(numbered) => row.line == numbered.line && row.input.as_ref() == Some(&numbered.record),
        Err(error) => row.line == error.line() && row.input.is_none(),
    }
}
