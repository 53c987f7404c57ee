//! What a report on a task says. There are at most so many evaluations, strategies and records,
//! however much the store holds.

use autoglm_spec::{Language, Usage};
use serde::Serialize;

use crate::eval::Majority;
use crate::learn::FeedbackReport;
use crate::store::{RunId, RunStatus, StoredEvaluation};
use crate::strategy::{StrategyId, StrategyScores, StrategyState};

/// All that a report on a task says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskReport {
    /// The task.
    pub task: TaskFacts,
    /// When the report was made, in milliseconds since 1970.
    pub made_ms: i64,
    /// The strategy that was promoted; none where the task runs as it is written.
    pub live: Option<LiveStrategy>,
    /// The latest evaluation.
    pub newest: Option<StoredEvaluation>,
    /// The latest evaluations, those of the same records together.
    pub groups: Vec<DataGroup>,
    /// The latest strategies, the newest first.
    pub strategies: Vec<StrategyFacts>,
    /// What feedback came to, with a curve of not too many stretches; none without feedback.
    pub learning: Option<FeedbackReport>,
    /// The run whose records are shown.
    pub run: Option<RunFacts>,
    /// Its records for which the model computed most, the costliest first.
    pub costliest: Vec<RecordFacts>,
    /// Its least sure records, the least sure first.
    pub least_sure: Vec<RecordFacts>,
}

/// The strategy that runs use where it suits them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveStrategy {
    /// Its number.
    pub id: StrategyId,
    /// The model that runs by it.
    pub model: String,
    /// Whether it was made for another instruction than the task's, so that runs do not use it.
    pub is_stale: bool,
}

/// The task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskFacts {
    /// Its name.
    pub name: String,
    /// Its instruction, or the beginning of a very long one.
    pub instruction: String,
    /// The language of the prompt.
    pub language: Language,
    /// The labels, the first of very many.
    pub labels: Vec<String>,
    /// How many labels there are; 0 where answers are open.
    pub label_count: usize,
    /// Examples in the task file.
    pub examples: usize,
}

/// Evaluations on the same records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataGroup {
    /// What the records are: the same hash, the same records.
    pub data_hash: String,
    /// Their file, as it was named last.
    pub source: String,
    /// Rows with a right answer.
    pub rows: usize,
    /// What was measured, such as `accuracy`.
    pub measure: String,
    /// What always giving the most frequent right answer would reach; none for open answers.
    pub majority: Option<Majority>,
    /// The evaluations, the oldest first.
    pub versions: Vec<VersionScore>,
}

/// How good one version of a task was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionScore {
    /// The evaluation's number.
    pub evaluation: i64,
    /// The run that holds the answers.
    pub run: RunId,
    /// When it was made, in milliseconds since 1970.
    pub at_ms: i64,
    /// The model.
    pub model: String,
    /// The strategy; none for the task as it is written.
    pub strategy: Option<StrategyId>,
    /// Examples in the prompt.
    pub examples: usize,
    /// Whether labelled records had taught a judge.
    pub taught: bool,
    /// Rows of feedback that took part.
    pub feedback: u64,
    /// Hash of what determines the prompts.
    pub task_hash: String,
    /// The share of right answers.
    pub accuracy: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
    /// The expected calibration error.
    pub calibration_error: f64,
    /// How long all rows took.
    pub seconds: f64,
}

/// A strategy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrategyFacts {
    /// Its number.
    pub id: StrategyId,
    /// Whether it is live.
    pub state: StrategyState,
    /// What differs from what it was made from.
    pub changes: Vec<String>,
    /// How good it was when it was made.
    pub scores: Option<StrategyScores>,
    /// How it came about.
    pub origin: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunFacts {
    /// Its number.
    pub id: RunId,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: i64,
    /// How far it has come.
    pub status: RunStatus,
    /// The model.
    pub model: String,
    /// The input.
    pub source: String,
    /// Its records.
    pub records: u64,
    /// Of these, records without an answer.
    pub errors: u64,
    /// What all of them cost.
    pub usage: Usage,
}

/// A record with what became of it; long texts are cut.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordFacts {
    /// Its run.
    pub run: RunId,
    /// Its place in the run, counted from 0.
    pub index: u64,
    /// Its line in the input.
    pub line: u64,
    /// The task's fields by their titles.
    pub input: Vec<(String, String)>,
    /// The answer.
    pub answer: Option<String>,
    /// How sure it is.
    pub confidence: Option<f32>,
    /// The next label and its probability.
    pub runner_up: Option<(String, f32)>,
    /// The right answer, where the record has it.
    pub gold: Option<String>,
    /// Whether a label is the right one.
    pub is_right: Option<bool>,
    /// Whether the answer is withheld.
    pub abstained: bool,
    /// Why there is no answer.
    pub error: Option<String>,
    /// What it cost.
    pub usage: Usage,
}
