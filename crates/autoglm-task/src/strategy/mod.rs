//! Everything about how a task is run that may change without the user's task changing: its
//! wording, its examples, how answers are calibrated and chosen. Labels, fields and rules are the
//! task's own, and no strategy touches them.

mod change;
mod protect;
mod route;
mod soft_prompt;
#[cfg(test)]
mod tests;
mod version;

use std::sync::Arc;

use autoglm_spec::{Calibration, Example, Output, Sampling, TaskSpec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::judge::Prior;
use crate::judge::agreement::Compare;
use crate::run::{RunSettings, hexadecimal};
use crate::select::Selection;

pub use change::changes;
pub use protect::{Unprotected, check};
pub use route::{Branch, Route, RouteLesson, RouteTaken, branch_name};
pub use soft_prompt::check_soft_prompt;
pub use version::{
    Measured, NewStrategy, StrategyId, StrategyKey, StrategyScores, StrategyState, StrategyStore,
    StrategyVersion,
};

/// How a task is run, as far as it may change without the task changing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    /// The task in other words; its own where none are given.
    pub instruction: Option<String>,
    /// What prompts call the answer; the task's own title where none is given.
    #[serde(default)]
    pub answer_title: Option<String>,
    /// The examples that stand in all prompts.
    pub examples: ExampleChoice,
    /// How further examples are chosen for each record; none where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// How label bias is removed.
    pub calibration: Calibration,
    /// The bias that labelled records have taught; none where it is found anew by each run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior: Option<Prior>,
    /// Whether labels are scored behind the examples in their order and in reverse.
    pub both_orders: bool,
    /// How tokens of a generated answer are chosen.
    pub sampling: Sampling,
    /// A learned prompt or adapter that the model runs with.
    #[serde(default)]
    pub soft_prompt: Option<SoftPrompt>,
    /// The strategies between which each record is routed; none where all records are answered by
    /// this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Box<Route>>,
}

/// Which examples stand in prompts, and in which order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "choice", content = "examples")]
pub enum ExampleChoice {
    /// The task's own.
    Task,
    /// These for every record.
    Fixed(Vec<Example>),
}

/// A learned prompt or adapter in a folder as PEFT writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftPrompt {
    /// The folder's absolute path.
    pub folder: String,
    /// SHA-256 in hexadecimal of its files, so that another one is noticed.
    pub hash: String,
}

impl Strategy {
    /// The task as it is written, run with these settings.
    pub fn as_written(settings: &RunSettings) -> Self {
        Self {
            instruction: None,
            answer_title: None,
            examples: ExampleChoice::Task,
            selection: settings.selection.clone(),
            calibration: settings.calibration,
            prior: settings.prior.clone(),
            both_orders: settings.both_orders,
            sampling: settings.sampling,
            soft_prompt: None,
            route: None,
        }
    }

    /// The task and the settings of a run under this strategy. Name, kind, fields, labels, output
    /// and constraints of the task stay as they are, and so does by what open answers are the same:
    /// other words or examples do not change what is asked for.
    pub fn apply(&self, spec: &TaskSpec, settings: &RunSettings) -> (TaskSpec, RunSettings) {
        let mut applied = spec.clone();
        if let Some(instruction) = &self.instruction {
            applied.instruction.clone_from(instruction);
        }
        if let ExampleChoice::Fixed(examples) = &self.examples {
            applied.examples.clone_from(examples);
        }
        if let Some(title) = &self.answer_title {
            applied.answer_title.clone_from(title);
        }
        let own = match spec.output {
            Output::Labels { .. } => None,
            Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => {
                Some(Compare::of(spec))
            }
        };
        let settings = RunSettings {
            compare: settings.compare.or(own),
            calibration: self.calibration,
            prior: self.prior.clone(),
            both_orders: self.both_orders,
            sampling: self.sampling,
            selection: self.selection.clone(),
            route: self.route.as_ref().map(|route| Arc::new((**route).clone())),
            strategy: Some(self.hash()),
            ..settings.clone()
        };
        (applied, settings)
    }

    /// The first 128 bits of the SHA-256 of its content in hexadecimal.
    pub fn hash(&self) -> String {
        content_hash(self)
    }
}

/// The first 128 bits of the SHA-256 of a value as JSON, in hexadecimal.
pub(crate) fn content_hash(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("what is hashed here has keys that are text");
    hexadecimal(&Sha256::digest(json)[..16])
}
