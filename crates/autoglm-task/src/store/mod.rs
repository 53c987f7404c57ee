//! What was run, kept so that it can be listed, shown, run again and resumed.

mod calibrators;
mod evaluations;
mod feedback;
mod library;
mod selection;
mod sqlite;
mod stamp;
mod strategies;
#[cfg(test)]
mod tests;
mod totals;

use std::time::SystemTime;

use autoglm_spec::{Calibration, FeedbackVersion, ModelFacts, Sampling, TaskSpec, Usage};
use serde::{Deserialize, Serialize};

use crate::TaskError;
use crate::judge::agreement::{Compare, SamplingPlan};
use crate::judge::{Calibrator, Prior};
use crate::library::Ensembles;
use crate::row::{Raw, Row};
use crate::select::SelectionKey;
use crate::strategy::StrategyStore;

pub use calibrators::{CalibratorStore, FittedConfidence, confidence_basis};
pub use evaluations::{
    EvaluationScores, EvaluationStore, NewEvaluation, RunKind, StoredEvaluation,
};
pub use feedback::{Feedback, FeedbackStore, Judgement, NewFeedback, Withdrawal};
pub use sqlite::SqliteStore;
pub use stamp::TaskStamp;
pub use totals::{Ledger, RunTotals};

/// The number of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// Going on, or ended without a word, as after `kill -9`.
    Unfinished,
    /// Stopped by its user.
    Interrupted,
    /// Stopped by an error.
    Failed,
    /// Done.
    Finished,
}

/// What must be the same for one run to go on where another stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunKey {
    /// Hash of everything that determines the prompts.
    pub task_hash: String,
    /// The model.
    pub model: ModelFacts,
    /// Where records come from: an absolute path, `-`, or `api` where they came in a request.
    pub source: String,
    /// Hash of the input's content, where it could be read beforehand.
    pub fingerprint: Option<String>,
    /// Where rows go: an absolute path, or `-`.
    pub output: String,
    /// How label bias is removed.
    pub calibration: Calibration,
    /// The hash of the judge that labelled records have taught, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<String>,
    /// How tokens of generated answers are chosen.
    pub sampling: Sampling,
    /// How many samples an open answer gets.
    #[serde(default)]
    pub plan: SamplingPlan,
    /// By what open answers are compared; what suits the task where nothing was said.
    #[serde(default)]
    pub compare: Option<Compare>,
    /// The measure by which texts are near to each other, where it is not their words.
    #[serde(default)]
    pub similar: Option<String>,
    /// What corrects how sure open answers are; nothing where none was fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrator: Option<Calibrator>,
    /// Answers that are less sure than this are withheld.
    #[serde(default)]
    pub min_confidence: Option<f32>,
    /// Texts that end a generated answer, besides those of the template.
    pub stop: Vec<String>,
    /// Whether scores are the mean over the examples in their order and in reverse.
    pub both_orders: bool,
    /// Records at most.
    pub limit: Option<u64>,
    /// Hash of the strategy; none where the task is run as it is written.
    #[serde(default)]
    pub strategy: Option<String>,
    /// How examples are chosen for each record; none where all have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionKey>,
    /// The feedback that takes part in the answers.
    #[serde(default)]
    pub feedback: Option<FeedbackKey>,
}

/// What determines how feedback changes answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackKey {
    /// The feedback that takes part.
    pub version: FeedbackVersion,
    /// The space of the vectors that take part.
    pub space: Option<String>,
}

/// A run as it is begun.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStart<'a> {
    /// What identifies it.
    pub key: &'a RunKey,
    /// The task.
    pub spec: &'a TaskSpec,
    /// When it is begun.
    pub at: SystemTime,
}

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Its number.
    pub id: RunId,
    /// What identifies it.
    pub key: RunKey,
    /// The task.
    pub spec: TaskSpec,
    /// The calibration's prior, once it is known.
    pub prior: Option<Prior>,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it last came further, in milliseconds since 1970.
    pub updated_ms: i64,
    /// How far it has come.
    pub status: RunStatus,
    /// Records that are stored.
    pub records: u64,
    /// Of these, those that have no answer because of an error.
    pub errors: u64,
}

/// A finished call of the optimiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredCall {
    /// What the engine said, or why it could not answer this request.
    pub outcome: Result<Raw, String>,
    /// What it cost.
    pub usage: Usage,
}

/// Where the optimiser's finished calls are kept.
pub trait CallStore {
    /// The call with this key.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn call(&self, key: &str) -> Result<Option<StoredCall>, TaskError>;

    /// Keeps calls, all or none.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put_calls(
        &mut self,
        calls: &[(String, StoredCall)],
        at: SystemTime,
    ) -> Result<(), TaskError>;
}

/// Where runs are kept.
///
/// What a call has written survives the end of the process, however it ends.
pub trait Store {
    /// Begins a run.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn begin(&mut self, start: &RunStart<'_>) -> Result<RunId, TaskError>;

    /// Adds rows to a run, all or none; a row that is there already is replaced.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put_rows(&mut self, run: RunId, rows: &[Row]) -> Result<(), TaskError>;

    /// Freezes the prior of a run.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put_prior(&mut self, run: RunId, prior: &Prior) -> Result<(), TaskError>;

    /// Notes how far a run has come.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put_status(
        &mut self,
        run: RunId,
        status: RunStatus,
        at: SystemTime,
    ) -> Result<(), TaskError>;

    /// All runs, the latest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn runs(&self) -> Result<Vec<RunInfo>, TaskError>;

    /// One run.
    ///
    /// # Errors
    /// When there is no such run, or the store cannot be read.
    fn run(&self, run: RunId) -> Result<RunInfo, TaskError>;

    /// At most `count` rows of a run from `first` on, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn rows(&self, run: RunId, first: u64, count: usize) -> Result<Vec<Row>, TaskError>;
}

/// Runs with the judges that labelled records had taught for them, and the strategies that they were
/// made by.
pub trait Archive: Store + Ensembles + StrategyStore {}

impl<T: Store + Ensembles + StrategyStore + ?Sized> Archive for T {}
