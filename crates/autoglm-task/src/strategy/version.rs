//! Strategies as they are kept: versions of a task, one of which may be live.

use std::time::SystemTime;

use autoglm_spec::{TaskSpec, Usage};
use serde::{Deserialize, Serialize};

use super::{Strategy, content_hash};
use crate::TaskError;
use crate::eval::Compared;

/// The number of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StrategyId(pub i64);

/// What versions belong to: a task by its name, with the fields and the output that they were made
/// for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyKey {
    /// The task's name.
    pub task: String,
    /// Hash of what strategies depend on.
    pub subject: String,
}

impl StrategyKey {
    /// The key of a task. It does not change with wording, rules or examples.
    pub fn of(spec: &TaskSpec) -> Self {
        let names: Vec<&str> = spec.fields.iter().map(|f| f.name.as_str()).collect();
        Self {
            task: spec.name.clone(),
            subject: content_hash(&(names, &spec.output)),
        }
    }
}

/// What a version is to its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyState {
    /// It has never been used.
    Candidate,
    /// Runs use it.
    Live,
    /// It was live.
    Retired,
}

/// A value measured on records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The mean over the records.
    pub value: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
    /// How many records.
    pub rows: usize,
}

/// How good a version was when it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StrategyScores {
    /// What was measured, such as `accuracy`.
    pub measure: String,
    /// On the records by which it was chosen: too high, for it was the best of many there.
    pub chosen_on: Option<Measured>,
    /// The start on the same records.
    pub start_on: Option<Measured>,
    /// The version beside the start on records that nothing had been chosen by.
    pub untouched: Option<Compared>,
}

/// A version as it is added.
#[derive(Debug, Clone, PartialEq)]
pub struct NewStrategy {
    /// What it belongs to.
    pub key: StrategyKey,
    /// The version that it was made from; none where that is the task as written.
    pub parent: Option<StrategyId>,
    /// What it is.
    pub strategy: Strategy,
    /// What differs from its parent, a line a change.
    pub changes: Vec<String>,
    /// How good it was.
    pub scores: Option<StrategyScores>,
    /// What it cost to find: requests to the engine, those that the store answered included.
    pub calls: u64,
    /// What these cost.
    pub usage: Usage,
    /// How it came about, such as `optimize --budget 500 --seed 1`.
    pub origin: String,
    /// The model that it was made with.
    pub model: String,
    /// The task's instruction at that time.
    pub made_for: String,
}

impl NewStrategy {
    /// Tells versions of a task apart: another model or instruction makes another version, for what
    /// was measured with one says nothing of the other.
    pub(crate) fn identity(&self) -> String {
        content_hash(&(&self.strategy, &self.model, &self.made_for))
    }
}

/// A version as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StrategyVersion {
    /// Its number.
    pub id: StrategyId,
    /// What it belongs to.
    pub key: StrategyKey,
    /// The version that it was made from; none where that is the task as written.
    pub parent: Option<StrategyId>,
    /// What it is to its task.
    pub state: StrategyState,
    /// What it is.
    pub strategy: Strategy,
    /// What differs from its parent, a line a change.
    pub changes: Vec<String>,
    /// How good it was.
    pub scores: Option<StrategyScores>,
    /// Requests to the engine that it cost to find.
    pub calls: u64,
    /// What these cost.
    pub usage: Usage,
    /// How it came about.
    pub origin: String,
    /// The model that it was made with.
    pub model: String,
    /// The task's instruction at that time.
    pub made_for: String,
    /// When it was added, in milliseconds since 1970.
    pub created_ms: i64,
}

/// Where versions are kept.
pub trait StrategyStore {
    /// Adds a version as a candidate. The same strategy for the same task, model and instruction is
    /// there once; how it came about and how good it was is as it was added last.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn add_strategy(
        &mut self,
        strategy: &NewStrategy,
        at: SystemTime,
    ) -> Result<StrategyId, TaskError>;

    /// One version.
    ///
    /// # Errors
    /// When there is no such version, or the store cannot be read.
    fn strategy(&self, id: StrategyId) -> Result<StrategyVersion, TaskError>;

    /// The versions of the tasks with this name, or of all, the latest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn strategies(&self, task: Option<&str>) -> Result<Vec<StrategyVersion>, TaskError>;

    /// The version that runs of a task use; none where they run it as it is written.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn live_strategy(&self, key: &StrategyKey) -> Result<Option<StrategyVersion>, TaskError>;

    /// Makes a version live, or the task as it is written where none is given; nothing where it is
    /// live already.
    ///
    /// # Errors
    /// When there is no such version, it is another task's, or the store cannot be written.
    fn promote(
        &mut self,
        key: &StrategyKey,
        id: Option<StrategyId>,
        at: SystemTime,
    ) -> Result<(), TaskError>;

    /// Takes the last promotion back and gives what is live then.
    ///
    /// # Errors
    /// When nothing was promoted, or the store cannot be written.
    fn roll_back(&mut self, key: &StrategyKey) -> Result<Option<StrategyId>, TaskError>;
}
