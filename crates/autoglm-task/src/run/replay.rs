//! Looks at a stored record again, and answers it again to see whether the same comes out.

use autoglm_spec::{Cancel, Prompt, Record, Verdict};
use serde::Serialize;

use super::ask::{Asker, cannot_compose, prompt_hash};
use super::{Engine, Job, Resume, RunSettings};
use crate::TaskError;
use crate::compose::{Composed, Composer};
use crate::judge::{Judge, Prior};
use crate::row::Row;
use crate::store::{RunId, RunInfo, Store};

/// A stored record with its prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// What is stored.
    pub row: Row,
    /// The prompt, composed again; none where the record could not be read or has no prompt.
    pub prompt: Option<Prompt>,
    /// Whether it is the prompt that was used.
    pub same_prompt: bool,
}

/// A stored record and the same record answered again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// What is stored, and the prompt.
    pub shown: Shown,
    /// The verdict now.
    pub verdict: Option<Verdict>,
    /// Why there is none.
    pub error: Option<String>,
    /// Whether the verdict is the stored one.
    pub same_verdict: bool,
}

/// A stored record with the prompt that the run's task gives for it.
///
/// # Errors
/// When the run has no such record, or its task has no prompts.
pub fn show(store: &dyn Store, run: RunId, index: u64) -> Result<Shown, TaskError> {
    let info = store.run(run)?;
    let row = stored_row(store, &info, index)?;
    let composer = Composer::new(&info.spec, &info.key.model).map_err(cannot_compose)?;
    let compose = |record: &Record| composer.compose(record).ok();
    let composed = row.input.as_ref().and_then(compose);
    Ok(shown(row, composed))
}

/// Composes, answers and judges a stored record once more, with the run's task, settings and
/// prior and the engine given.
///
/// # Errors
/// When the run has no such record with an input, its task has no prompt for it, or the engine
/// fails.
pub fn replay(
    store: &dyn Store,
    run: RunId,
    index: u64,
    engine: &dyn Engine,
    cancel: &Cancel,
) -> Result<Replay, TaskError> {
    let info = store.run(run)?;
    let row = stored_row(store, &info, index)?;
    let record = row.input.as_ref().ok_or_else(|| missing(&info, index))?;
    let asker = Asker::new(&job_of(&info, engine))?;
    let prompts = asker.prompts(record).map_err(cannot_compose)?;
    let failed = |source| TaskError::Engine {
        line: row.line,
        source,
    };
    let mut answers = asker.ask(&[prompts.as_slice()], cancel)?;
    let (raw, _) = answers.remove(0).map_err(failed)?;
    let prior = info.prior.clone().unwrap_or_else(Prior::none);
    let verdict = Judge::new(&info.spec.output, prior).verdict(&raw);
    Ok(Replay {
        same_verdict: verdict.as_ref().ok() == row.verdict.as_ref(),
        error: verdict.as_ref().err().cloned(),
        verdict: verdict.ok(),
        shown: shown(row, prompts.into_iter().next()),
    })
}

fn job_of<'a>(info: &'a RunInfo, engine: &'a dyn Engine) -> Job<'a> {
    Job {
        spec: &info.spec,
        engine,
        settings: RunSettings {
            calibration: info.key.calibration,
            sampling: info.key.sampling,
            stop: info.key.stop.clone(),
            both_orders: info.key.both_orders,
            ..RunSettings::default()
        },
        source: info.key.source.clone(),
        survey: None,
        output: info.key.output.clone(),
        resume: Resume::No,
        correction: None,
    }
}

fn shown(row: Row, composed: Option<Composed>) -> Shown {
    let hash = composed.as_ref().map(prompt_hash);
    Shown {
        same_prompt: hash.is_some() && row.prompt_hash == hash,
        prompt: composed.map(|composed| composed.prompt),
        row,
    }
}

fn stored_row(store: &dyn Store, info: &RunInfo, index: u64) -> Result<Row, TaskError> {
    let row = store.rows(info.id, index, 1)?.pop();
    row.filter(|row| row.index == index)
        .ok_or_else(|| missing(info, index))
}

fn missing(info: &RunInfo, index: u64) -> TaskError {
    TaskError::NoSuchRecord {
        run: info.id.0,
        index,
        records: info.records,
    }
}
