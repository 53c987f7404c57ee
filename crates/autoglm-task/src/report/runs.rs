//! The runs of a task: a list of them, and one with its records.

use std::collections::BTreeMap;
use std::slice;

use autoglm_spec::{TaskSpec, Usage};
use serde::Serialize;

use super::collect::{Shelf, gold_field, run_of};
use super::facts::RecordFacts;
use crate::TaskError;
use crate::store::{EvaluationScores, RunId, RunInfo, RunTotals};
use crate::strategy::{StrategyId, StrategyVersion};

/// Evaluations in which the accuracy of runs is looked up.
const EVALUATIONS: usize = 1_000;
/// So many records a list adds up in all, and an opened run if it has no more: they are read in less than
/// a second.
const ADDED_UP_RECORDS: u64 = 200_000;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// The run.
    #[serde(skip)]
    pub info: RunInfo,
    /// The strategy that it followed; none for the task as it is written, or where the store does
    /// not have it.
    pub strategy: Option<StrategyId>,
    /// Whether it followed the task as it is written.
    pub as_written: bool,
    /// What all records cost; none where there are very many.
    pub usage: Option<Usage>,
    /// The mean of how sure the answers are, where that is known.
    pub mean_confidence: Option<f64>,
    /// How many were right, where the run was evaluated.
    pub score: Option<RunScore>,
}

/// How good a run was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunScore {
    /// What was measured, such as `accuracy`.
    pub measure: String,
    /// The share of right answers.
    pub value: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
    /// Rows with a right answer.
    pub rows: usize,
}

/// Runs of a task, the latest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// How many the task has.
    pub total: usize,
}

/// A run with some of its records.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// The run.
    pub run: RunSummary,
    /// The records in their order; long texts are cut.
    pub records: Vec<RecordFacts>,
}

/// Lists at most `count` runs of a task, the latest first.
///
/// # Errors
/// When the store cannot be read.
pub fn list_runs(store: &dyn Shelf, spec: &TaskSpec, count: usize) -> Result<RunList, TaskError> {
    let (infos, total) = store.task_runs(&spec.name, count)?;
    let known = Known::of(store, spec, &infos)?;
    let runs = infos.into_iter().map(|info| known.summary(info)).collect();
    Ok(RunList { runs, total })
}

/// A run of a task with at most `count` of its records from `first` on.
///
/// # Errors
/// When the store cannot be read, or the run does not exist or is another task's.
pub fn open_run(
    store: &dyn Shelf,
    spec: &TaskSpec,
    run: RunId,
    first: u64,
    count: usize,
) -> Result<RunPage, TaskError> {
    let info = run_of(store, spec, run)?;
    let known = Known::of(store, spec, slice::from_ref(&info))?;
    let gold = gold_field(&known.evaluations, info.id);
    let rows = store.rows(info.id, first, count)?;
    let facts = |row| RecordFacts::of(&info.spec, gold, info.id, row);
    let records = rows.iter().map(facts).collect();
    let run = known.summary(info);
    Ok(RunPage { run, records })
}

/// The runs whose records are added up: as many as fit, the first ones first.
fn added_up(infos: &[RunInfo]) -> Vec<RunId> {
    let mut left = ADDED_UP_RECORDS;
    let fits = |info: &&RunInfo| {
        let fits = info.records <= left;
        left -= if fits { info.records } else { 0 };
        fits
    };
    infos.iter().filter(fits).map(|info| info.id).collect()
}

/// What is known of runs of a task beside what they say themselves.
struct Known {
    strategies: Vec<Followed>,
    evaluations: Vec<EvaluationScores>,
    /// What the records come to, of the runs whose records are added up.
    totals: BTreeMap<RunId, RunTotals>,
}

impl Known {
    fn of(store: &dyn Shelf, spec: &TaskSpec, runs: &[RunInfo]) -> Result<Self, TaskError> {
        Ok(Self {
            totals: store.run_totals(&added_up(runs))?,
            strategies: store
                .strategies(Some(&spec.name))?
                .iter()
                .map(Followed::of)
                .collect(),
            evaluations: store.evaluation_scores(&spec.name, EVALUATIONS)?,
        })
    }

    fn summary(&self, info: RunInfo) -> RunSummary {
        let totals = self.totals.get(&info.id);
        RunSummary {
            strategy: strategy_of(&self.strategies, &info),
            as_written: info.key.strategy.is_none(),
            usage: totals.map(|totals| totals.usage),
            mean_confidence: totals.and_then(|totals| totals.mean_confidence),
            score: self.score(&info),
            info,
        }
    }

    fn score(&self, info: &RunInfo) -> Option<RunScore> {
        let mut evaluations = self.evaluations.iter();
        let found = evaluations.find(|evaluation| evaluation.run == info.id)?;
        let headline = found.summary.headline();
        Some(RunScore {
            measure: headline.measure.to_string(),
            value: headline.value,
            interval: headline.interval,
            rows: found.rows,
        })
    }
}

/// A strategy's version as runs name it.
pub(super) struct Followed {
    id: StrategyId,
    created_ms: i64,
    hash: String,
}

impl Followed {
    pub(super) fn of(version: &StrategyVersion) -> Self {
        Self {
            id: version.id,
            created_ms: version.created_ms,
            hash: version.strategy.hash(),
        }
    }
}

/// The number of the strategy that a run followed, among versions that begin with the latest. The
/// same strategy may have been found for several models: the latest that there was when the run
/// began is the one.
pub(super) fn strategy_of(versions: &[Followed], info: &RunInfo) -> Option<StrategyId> {
    let hash = info.key.strategy.as_ref()?;
    let is_it =
        |version: &&Followed| version.created_ms <= info.created_ms && version.hash == *hash;
    versions.iter().find(is_it).map(|version| version.id)
}
