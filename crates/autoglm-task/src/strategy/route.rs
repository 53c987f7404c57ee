//! Several strategies of a task with what has taught which of them suits which record.

use autoglm_spec::Record;
use serde::{Deserialize, Serialize};

use super::{Strategy, StrategyId};
use crate::judge::Prior;
use crate::learn::Branches;
use crate::numeric::softmax;

/// A way to run a task by several strategies. What tells which of them answers a record is made
/// anew from the lessons, so that a route is the same wherever it is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// The strategies, at least two.
    pub branches: Vec<Branch>,
    /// What has taught which of them suits which record.
    pub lessons: Vec<RouteLesson>,
}

/// One of the strategies between which records are routed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// Its version; none for the task as it was written.
    pub version: Option<StrategyId>,
    /// What it is.
    pub strategy: Strategy,
    /// What is divided out of its labels' probabilities, found on the lessons' records: records
    /// that are routed are too few, and too alike, to find it on.
    pub prior: Prior,
}

/// A record with how probable each branch found its right answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteLesson {
    /// The record, with the fields that the task reads.
    pub input: Record,
    /// One probability a branch.
    pub merits: Vec<f32>,
}

/// The way that one record took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteTaken {
    /// Each branch by its name with the probability that it suits the record best.
    pub branches: Vec<(String, f32)>,
    /// The place of the branch that answered alone; none where all answered, each by its
    /// probability.
    pub only: Option<usize>,
}

impl RouteTaken {
    /// The place of the branch whose prompt came first: the only one, or the likeliest.
    pub fn first(&self) -> usize {
        let likeliest = || {
            let top = self.branches.iter().map(|b| b.1).fold(0.0, f32::max);
            self.branches.iter().position(|b| b.1 == top)
        };
        self.only.or_else(likeliest).unwrap_or_default()
    }
}

impl Branch {
    /// What it is called.
    pub fn name(&self) -> String {
        branch_name(self.version)
    }
}

/// What a strategy is called beside others.
pub fn branch_name(version: Option<StrategyId>) -> String {
    version.map_or_else(
        || "the task as written".to_owned(),
        |id| format!("strategy {}", id.0),
    )
}

impl Route {
    /// The way of a record, told by the branches' names.
    pub(crate) fn taken(&self, way: &Branches) -> RouteTaken {
        let names = self.branches.iter().map(Branch::name);
        RouteTaken {
            branches: names.zip(way.probabilities.iter().copied()).collect(),
            only: way.only,
        }
    }

    /// What branches say together, each weighed: the labels' log-probabilities as the model gave
    /// them, and their probabilities with each branch's own prior divided out. Scores of branches
    /// without weight are not looked at.
    pub(crate) fn mix(&self, weights: &[f32], scores: &[Vec<f32>]) -> (Vec<f32>, Vec<f32>) {
        let labels = scores.iter().map(Vec::len).max().unwrap_or_default();
        let (mut raw, mut judged) = (vec![0.0; labels], vec![0.0; labels]);
        let all = self.branches.iter().zip(weights).zip(scores);
        for ((branch, &weight), scores) in all.filter(|((_, weight), _)| **weight > 0.0) {
            let wide: Vec<f64> = scores.iter().map(|&p| f64::from(p)).collect();
            let said = softmax(&wide).into_iter().map(|p| p as f32);
            raw.iter_mut().zip(said).for_each(|(s, p)| *s += weight * p);
            let divided = branch.prior.divide_out(scores);
            judged
                .iter_mut()
                .zip(divided)
                .for_each(|(s, p)| *s += weight * p);
        }
        let log = |p: f32| p.max(f32::MIN_POSITIVE).ln();
        (raw.into_iter().map(log).collect(), judged)
    }
}
