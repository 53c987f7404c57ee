//! Gathering from the store what a report says.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use autoglm_spec::TaskSpec;

use super::facts::{
    DataGroup, LiveStrategy, RunFacts, StrategyFacts, TaskFacts, TaskReport, VersionScore,
};
use super::records::{Chosen, choose, cut};
use crate::TaskError;
use crate::eval::{Headline, Majority};
use crate::learn::{Corrector, FeedbackReport, Stretch, only_present_opinions};
use crate::store::{
    EvaluationScores, EvaluationStore, FeedbackStore, Ledger, RunId, RunInfo, RunKind, Store,
};
use crate::strategy::{StrategyKey, StrategyStore, StrategyVersion};
use crate::words::cut_to;

/// Evaluations that are looked at.
const EVALUATIONS: usize = 60;
/// Strategies that are told.
const STRATEGIES: usize = 20;
/// Labels that are named.
const LABELS: usize = 200;
/// Characters of the instruction that are told.
const INSTRUCTION_CHARACTERS: usize = 4000;
/// Stretches of the learning curve.
const STRETCHES: usize = 50;

/// All of the store that a report looks at.
pub trait Shelf: Store + StrategyStore + FeedbackStore + EvaluationStore + Ledger {}

impl<T> Shelf for T where
    T: Store + StrategyStore + FeedbackStore + EvaluationStore + Ledger + ?Sized
{
}

/// What a report shall be about.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The task.
    pub spec: &'a TaskSpec,
    /// The run whose records are shown; the task's latest that has any where none is given.
    pub run: Option<RunId>,
    /// The time.
    pub now: SystemTime,
}

/// Gathers what the store holds of a task.
///
/// # Errors
/// When the store cannot be read, or the run does not exist or is another task's.
pub fn collect(store: &dyn Shelf, wanted: &Wanted<'_>) -> Result<TaskReport, TaskError> {
    let spec = wanted.spec;
    let evaluations = store.evaluation_scores(&spec.name, EVALUATIONS)?;
    let key = StrategyKey::of(spec);
    let live = store.live_strategy(&key)?;
    let strategies = store.strategies(Some(&spec.name))?.into_iter();
    let strategies = strategies.filter(|version| version.key == key);
    let run = find_run(store, wanted)?;
    let (run, chosen) = match run {
        Some(info) => {
            let chosen = choose(store, &info, gold_field(&evaluations, info.id))?;
            (Some(run_facts(info, &chosen)), chosen)
        }
        None => (None, Chosen::default()),
    };
    let since = wanted.now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(TaskReport {
        task: task_facts(spec),
        made_ms: since.as_millis() as i64,
        live: live.map(|version| LiveStrategy {
            id: version.id,
            is_stale: version.made_for != spec.instruction,
            model: version.model,
        }),
        groups: groups(&evaluations),
        newest: store.evaluations(&spec.name, 1)?.pop(),
        strategies: strategies.take(STRATEGIES).map(strategy_facts).collect(),
        learning: learning(store, spec)?,
        run,
        costliest: chosen.costliest,
        least_sure: chosen.least_sure,
    })
}

fn task_facts(spec: &TaskSpec) -> TaskFacts {
    let labels = spec.output.labels();
    let named = labels.iter().take(LABELS);
    TaskFacts {
        name: spec.name.clone(),
        instruction: cut_to(INSTRUCTION_CHARACTERS, &spec.instruction),
        language: spec.language,
        labels: named.map(|label| cut(&label.name)).collect(),
        label_count: labels.len(),
        examples: spec.examples.len(),
    }
}

fn strategy_facts(version: StrategyVersion) -> StrategyFacts {
    StrategyFacts {
        id: version.id,
        state: version.state,
        changes: version.changes.iter().map(|change| cut(change)).collect(),
        scores: version.scores,
        origin: cut(&version.origin),
        created_ms: version.created_ms,
    }
}

/// The run that a report is about; none where the task has no run with records.
fn find_run(store: &dyn Shelf, wanted: &Wanted<'_>) -> Result<Option<RunInfo>, TaskError> {
    match wanted.run {
        Some(id) => run_of(store, wanted.spec, id).map(Some),
        None => store.latest_run(&wanted.spec.name, RunKind::Any),
    }
}

/// A run of a task.
///
/// # Errors
/// When the store cannot be read, or the run does not exist or is another task's.
pub(super) fn run_of(store: &dyn Shelf, spec: &TaskSpec, id: RunId) -> Result<RunInfo, TaskError> {
    let info = store.run(id)?;
    if info.spec.name != spec.name {
        return Err(TaskError::RunOfOtherTask {
            run: id.0,
            found: info.spec.name,
            wanted: spec.name.clone(),
        });
    }
    Ok(info)
}

/// Where the right answers of a run's records stand, if an evaluation has said so.
pub(super) fn gold_field(evaluations: &[EvaluationScores], run: RunId) -> Option<&str> {
    let of_run = evaluations.iter().find(|evaluation| evaluation.run == run);
    of_run?.gold_field.as_deref()
}

fn run_facts(info: RunInfo, chosen: &Chosen) -> RunFacts {
    RunFacts {
        id: info.id,
        created_ms: info.created_ms,
        status: info.status,
        model: info.key.model.name,
        source: info.key.source,
        records: info.records,
        errors: info.errors,
        usage: chosen.usage,
    }
}

/// Evaluations by what they looked at and what they measured, in the order of the latest of each.
fn groups(evaluations: &[EvaluationScores]) -> Vec<DataGroup> {
    let mut groups: Vec<DataGroup> = Vec::new();
    for evaluation in evaluations {
        let measure = evaluation.summary.headline().measure.to_string();
        let is_same = |group: &&mut DataGroup| {
            // Other labels may make other rows usable.
            let is_as_large = group.rows == evaluation.rows;
            group.data_hash == evaluation.data_hash && group.measure == measure && is_as_large
        };
        let score = version_score(evaluation);
        match groups.iter_mut().find(is_same) {
            Some(group) => group.versions.insert(0, score),
            None => groups.push(DataGroup {
                data_hash: evaluation.data_hash.clone(),
                source: evaluation.source.clone(),
                rows: evaluation.rows,
                measure,
                majority: evaluation.summary.majority().map(|majority| Majority {
                    label: cut(&majority.label),
                    ..*majority
                }),
                versions: vec![score],
            }),
        }
    }
    groups
}

fn version_score(evaluation: &EvaluationScores) -> VersionScore {
    let Headline {
        value, interval, ..
    } = evaluation.summary.headline();
    VersionScore {
        evaluation: evaluation.id,
        run: evaluation.run,
        at_ms: evaluation.at_ms,
        model: evaluation.model.clone(),
        strategy: evaluation.strategy,
        examples: evaluation.summary.examples,
        taught: evaluation.taught,
        feedback: evaluation.feedback,
        task_hash: evaluation.task_hash.clone(),
        accuracy: value,
        interval,
        calibration_error: evaluation.summary.calibration_error(),
        seconds: evaluation.summary.seconds,
    }
}

/// The learning curve, with the vectors that runs have made of the feedback so far.
fn learning(store: &dyn Shelf, spec: &TaskSpec) -> Result<Option<FeedbackReport>, TaskError> {
    if spec.output.labels().is_empty() {
        return Ok(None);
    }
    let vectors = match store.usual_space(&spec.name)? {
        Some(space) => store.vectors(&spec.name, &space)?,
        None => BTreeMap::new(),
    };
    let mut feedback = store.feedback(&spec.name)?;
    only_present_opinions(&spec.name, &mut feedback, store)?;
    let learnt = Corrector::learn(spec, &feedback, &vectors)?;
    Ok(learnt.map(|(_, report)| FeedbackReport {
        curve: thinned(&report.curve),
        ..report
    }))
}

/// The same rows in fewer stretches.
fn thinned(curve: &[Stretch]) -> Vec<Stretch> {
    let together = curve.len().div_ceil(STRETCHES).max(1);
    let sum = |stretches: &[Stretch]| Stretch {
        rows: stretches.iter().map(|s| s.rows).sum(),
        right: stretches.iter().map(|s| s.right).sum(),
        right_before: stretches.iter().map(|s| s.right_before).sum(),
    };
    curve.chunks(together).map(sum).collect()
}
