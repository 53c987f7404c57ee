//! Answers a stored record again, to see whether the same comes out.

use autoglm_spec::{Cancel, Prompt, TaskSpec, Verdict};
use serde::Serialize;

use super::answer::{Answerer, prompt_hash};
use super::{Engine, Job, Resume, RunSettings};
use crate::TaskError;
use crate::judge::{Judge, Prior};
use crate::row::Row;
use crate::store::{RunId, RunInfo, Store};

/// A stored record and the same record answered again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// What is stored.
    pub stored: Row,
    /// The prompt, composed again.
    pub prompt: Prompt,
    /// Whether it is the prompt that was used.
    pub same_prompt: bool,
    /// The verdict now; an error's sentence where there is none.
    pub verdict: Result<Verdict, String>,
    /// Whether answer and confidence are the stored ones.
    pub same_answer: bool,
}

/// Composes, answers and judges a stored record once more, with the run's task, settings and
/// prior and the engine given.
///
/// # Errors
/// When the run has no such record with an answer, its task has no prompt for it, or the engine
/// fails.
pub fn replay(
    store: &dyn Store,
    run: RunId,
    index: u64,
    engine: &dyn Engine,
    cancel: &Cancel,
) -> Result<Replay, TaskError> {
    let info = store.run(run)?;
    let (stored, record) = stored_row(store, &info, index)?;
    let spec: &TaskSpec = &info.spec;
    let job = Job {
        spec,
        engine,
        settings: RunSettings {
            calibration: info.key.calibration,
            sampling: info.key.sampling,
            stop: info.key.stop.clone(),
            ..RunSettings::default()
        },
        source: info.key.source.clone(),
        survey: None,
        output: info.key.output.clone(),
        resume: Resume::No,
    };
    let answerer = Answerer::new(&job)?;
    let composed = answerer.compose(&record)?;
    let failed = |source| TaskError::Engine {
        line: stored.line,
        source,
    };
    let mut answers = answerer.ask(&[&composed], cancel)?;
    let (raw, _) = answers.remove(0).map_err(failed)?;
    let judge = Judge::new(&spec.output, info.prior.unwrap_or_else(Prior::none));
    let verdict = judge.verdict(&raw);
    Ok(Replay {
        same_prompt: stored.prompt_hash.as_ref() == Some(&prompt_hash(&composed)),
        same_answer: verdict.as_ref().ok() == stored.verdict.as_ref(),
        prompt: composed.prompt,
        stored,
        verdict,
    })
}

fn stored_row(
    store: &dyn Store,
    info: &RunInfo,
    index: u64,
) -> Result<(Row, autoglm_spec::Record), TaskError> {
    let row = store.rows(info.id, index, 1)?.pop();
    row.filter(|row| row.index == index)
        .and_then(|row| row.input.clone().map(|input| (row, input)))
        .ok_or(TaskError::NoSuchRecord {
            run: info.id.0,
            index,
            records: info.records,
        })
}
