//! What a search comes to.

use serde::{Deserialize, Serialize};

use super::{Rung, Spent};
use crate::eval::Measure;
use crate::strategy::{Strategy, StrategyId, StrategyScores};

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// All was done.
    Finished,
    /// The budget was spent before all was done.
    BudgetSpent,
    /// The user stopped it. The same search goes on where it stopped.
    Interrupted,
}

/// What was decided about the winner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It is better on untouched records, and live.
    Promoted,
    /// It is better on untouched records, and stays a candidate all the same: runs answer with more
    /// than the search did.
    Held,
    /// It is better than the start on untouched records, and stays a candidate: another version is
    /// live, which it was not compared with.
    NotCompared,
    /// It is not surely better, and stays a candidate.
    NotBetter,
    /// There are too few untouched records to tell; it stays a candidate.
    TooFewRecords,
}

/// The best strategy of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Its version.
    pub version: StrategyId,
    /// What it is.
    pub strategy: Strategy,
    /// What differs from the start.
    pub changes: Vec<String>,
    /// How good it is.
    pub scores: StrategyScores,
    /// What was decided.
    pub decision: Decision,
    /// The live version that it was not compared with, where that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<StrategyId>,
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchReport {
    /// The task's name.
    pub task: String,
    /// The model's name.
    pub model: String,
    /// How it ended.
    pub ended: Ended,
    /// What was measured.
    pub measure: Measure,
    /// Records to propose from, to choose by, and untouched.
    pub parts: [usize; 3],
    /// Strategies that entered the race.
    pub strategies: usize,
    /// The rungs.
    pub rungs: Vec<Rung>,
    /// The winner; none where nothing beat the start.
    pub found: Option<Found>,
    /// What was spent.
    pub spent: Spent,
    /// The budget in words.
    pub budget: String,
    /// What a user should know besides.
    pub notes: Vec<String>,
}

/// What a search is expected to cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Requests.
    pub calls: u64,
    /// Tokens of prompts and answers.
    pub tokens: u64,
    /// Tokens where the shortest prompts win, and where the longest do.
    pub tokens_between: [u64; 2],
    /// Records to propose from, to choose by, and untouched.
    pub parts: [usize; 3],
    /// Strategies that would enter the race.
    pub strategies: usize,
    /// Strategies and records of each rung.
    pub rungs: Vec<[usize; 2]>,
    /// What a user should know besides.
    pub notes: Vec<String>,
}
