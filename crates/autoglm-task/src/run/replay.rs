//! Looks at a stored record again, and answers it again to see whether the same comes out.

use std::sync::Arc;

use autoglm_spec::{Cancel, Embed, EngineError, Example, Prompt, Record, TaskSpec, Verdict};
use serde::Serialize;

use super::ask::{Asked, Asker, cannot_compose, prompt_hash};
use super::routed::{Routed, RoutedAsker};
use super::taught::{Question, Taught, TaughtAsker};
use super::{Engine, Job, Resume, RunSettings};
use crate::TaskError;
use crate::compose::{Composed, Composer};
use crate::ensemble::Ensemble;
use crate::judge::Prior;
use crate::judge::agreement::Similar;
use crate::row::Row;
use crate::select::SelectionKey;
use crate::store::{Archive, RunId, RunInfo};
use crate::strategy::Route;

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
pub fn show(store: &dyn Archive, run: RunId, index: u64) -> Result<Shown, TaskError> {
    let info = store.run(run)?;
    let row = stored_row(store, &info, index)?;
    let spec = shown_spec(store, &info, &row)?;
    let composer = Composer::new(&spec, &info.key.model).map_err(cannot_compose)?;
    let examples = examples_of(&row);
    let compose = |record: &Record| composer.compose_behind(&examples, record).ok();
    let composed = row.input.as_ref().and_then(compose);
    Ok(shown(row, composed))
}

/// What a record is answered with again.
#[derive(Clone)]
pub struct Again<'a> {
    /// The engine.
    pub engine: &'a dyn Engine,
    /// How near texts are, as in [`Job`].
    pub similar: Option<Arc<dyn Similar>>,
    /// What makes the vectors of records, as in [`Taught`].
    pub embedder: Option<&'a dyn Embed>,
}

/// Composes, answers and judges a stored record once more, with the run's task, settings and
/// prior or taught judge and the engines given, without what feedback had taught.
///
/// # Errors
/// When the run has no such record with an input, its task has no prompt for it, or the engine
/// fails.
pub fn replay(
    store: &dyn Archive,
    run: RunId,
    index: u64,
    again: &Again<'_>,
    cancel: &Cancel,
) -> Result<Replay, TaskError> {
    let info = store.run(run)?;
    let row = stored_row(store, &info, index)?;
    let record = row.input.as_ref().ok_or_else(|| missing(&info, index))?;
    let (prompt, verdict) = match (ensemble_of(store, &info)?, route_of(store, &info)?) {
        (Some(ensemble), _) => answer_as_taught(&info, record, (&ensemble, again), cancel),
        (None, Some(route)) => answer_as_routed(&info, record, (route, again), cancel),
        (None, None) => answer(&info, &row, again, cancel),
    }?;
    let verdict = verdict.map_err(|source| TaskError::Engine {
        line: row.line,
        source,
    })?;
    Ok(Replay {
        same_verdict: verdict.as_ref().ok() == row.verdict.clone().map(before_feedback).as_ref(),
        error: verdict.as_ref().err().cloned(),
        verdict: verdict.ok(),
        shown: shown(row, prompt),
    })
}

/// A stored verdict as it was before feedback corrected it; records are answered again without.
fn before_feedback(mut verdict: Verdict) -> Verdict {
    let Some(learnt) = verdict.learnt.take() else {
        return verdict;
    };
    for ((_, probability), before) in verdict.distribution.iter_mut().zip(learnt.before) {
        *probability = before;
    }
    verdict.distribution.sort_by(|a, b| b.1.total_cmp(&a.1));
    let first = verdict.distribution.first().cloned();
    (verdict.answer, verdict.confidence) = first.unwrap_or_default();
    verdict
}

/// The first prompt of a record, and the verdict or why the answer cannot be used.
type Answered = (
    Option<Composed>,
    Result<Result<Verdict, String>, EngineError>,
);

fn answer(
    info: &RunInfo,
    row: &Row,
    again: &Again<'_>,
    cancel: &Cancel,
) -> Result<Answered, TaskError> {
    let job = job_of(info, again);
    let asker = Asker::new(&job)?;
    let record = row.input.as_ref().ok_or_else(|| missing(info, row.index))?;
    let prompts = asker
        .prompts_behind(&examples_of(row), record)
        .map_err(cannot_compose)?;
    let asked = Asked {
        index: row.index,
        prompts: &prompts,
    };
    let mut answers = asker.ask(&[asked], cancel)?;
    let prior = info.prior.clone().unwrap_or_else(Prior::none);
    let judge = job.judge(prior);
    let verdict = answers.remove(0).map(|(raw, _)| judge.verdict(&raw));
    Ok((prompts.into_iter().next(), verdict))
}

/// The examples that were chosen for a stored record.
fn examples_of(row: &Row) -> Vec<Example> {
    let chosen = row.examples.iter();
    chosen.map(|chosen| chosen.example.clone()).collect()
}

fn answer_as_taught(
    info: &RunInfo,
    record: &Record,
    (ensemble, again): (&Ensemble, &Again<'_>),
    cancel: &Cancel,
) -> Result<Answered, TaskError> {
    let taught = Taught {
        ensemble,
        embedder: again.embedder,
    };
    let asker = TaughtAsker::new(&info.spec, again.engine, taught)?;
    let prompts = asker.prompts(record).map_err(cannot_compose)?;
    let question = Question {
        record,
        prompts: &prompts,
    };
    let (answer, verdict) = asker.ask(&[question], cancel)?.remove(0);
    let verdict = answer.map(|_| verdict.ok_or_else(|| "there is no verdict".to_owned()));
    Ok((prompts.into_iter().next(), verdict))
}

fn answer_as_routed(
    info: &RunInfo,
    record: &Record,
    (route, again): (Route, &Again<'_>),
    cancel: &Cancel,
) -> Result<Answered, TaskError> {
    let settings = job_of(info, again).settings;
    let asker = RoutedAsker::new(&info.spec, again.engine, &settings, Arc::new(route))?;
    let prompts = asker.prompts(record).map_err(cannot_compose)?;
    let question = Question {
        record,
        prompts: &prompts,
    };
    let Routed {
        answer, verdict, ..
    } = asker.ask(&[question], cancel)?.remove(0);
    let verdict = answer.map(|_| verdict.ok_or_else(|| "there is no verdict".to_owned()));
    Ok((prompts.into_iter().next(), verdict))
}

/// The route that the records of a run took, where they took one.
fn route_of(store: &dyn Archive, info: &RunInfo) -> Result<Option<Route>, TaskError> {
    let Some(hash) = &info.key.strategy else {
        return Ok(None);
    };
    let versions = store.strategies(Some(&info.spec.name))?.into_iter();
    let mut strategies = versions.map(|version| version.strategy);
    let found = strategies.find(|strategy| strategy.hash() == *hash);
    Ok(found
        .and_then(|strategy| strategy.route)
        .map(|route| *route))
}

/// The judge that labelled records had taught for a run, where one had.
fn ensemble_of(store: &dyn Archive, info: &RunInfo) -> Result<Option<Ensemble>, TaskError> {
    match &info.key.ensemble {
        Some(hash) => store.ensemble(hash),
        None => Ok(None),
    }
}

/// The run's task with the words and the examples of a record's first prompt.
fn shown_spec(store: &dyn Archive, info: &RunInfo, row: &Row) -> Result<TaskSpec, TaskError> {
    if let Some(taken) = &row.route
        && let Some(route) = route_of(store, info)?
        && let Some(branch) = route.branches.get(taken.first())
    {
        return Ok(branch.strategy.apply(&info.spec, &RunSettings::default()).0);
    }
    let mut spec = info.spec.clone();
    if let Some(ensemble) = ensemble_of(store, info)? {
        spec.examples.clone_from(&ensemble.sets()[0]);
    }
    Ok(spec)
}

fn job_of<'a>(info: &'a RunInfo, again: &'a Again<'_>) -> Job<'a> {
    Job {
        spec: &info.spec,
        engine: again.engine,
        taught: None,
        choosing: None,
        similar: again.similar.clone(),
        settings: RunSettings {
            calibration: info.key.calibration,
            sampling: info.key.sampling,
            stop: info.key.stop.clone(),
            both_orders: info.key.both_orders,
            plan: info.key.plan,
            compare: info.key.compare,
            calibrator: info.key.calibrator.clone(),
            selection: info.key.selection.as_ref().map(SelectionKey::selection),
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

fn stored_row(store: &dyn Archive, info: &RunInfo, index: u64) -> Result<Row, TaskError> {
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
