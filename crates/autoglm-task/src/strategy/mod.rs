//! Everything about how a task is run that may change without the user's task changing: its
//! wording, its examples, how answers are calibrated and chosen. Labels, fields and rules are the
//! task's own, and no strategy touches them.

mod change;
mod protect;
mod soft_prompt;
#[cfg(test)]
mod tests;
mod version;

use autoglm_spec::{Calibration, Example, Language, Sampling, TaskSpec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::run::{RunSettings, hexadecimal};

pub use change::changes;
pub use protect::{Unprotected, check};
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
    /// How prompts read.
    #[serde(default)]
    pub form: TemplateForm,
    /// The examples in prompts.
    pub examples: ExampleChoice,
    /// How label bias is removed.
    pub calibration: Calibration,
    /// Whether labels are scored behind the examples in their order and in reverse.
    pub both_orders: bool,
    /// How tokens of a generated answer are chosen.
    pub sampling: Sampling,
    /// A learned prompt or adapter that the model runs with.
    #[serde(default)]
    pub soft_prompt: Option<SoftPrompt>,
}

/// How prompts read, where that is not as the task has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TemplateForm {
    /// The language of the template.
    pub language: Option<Language>,
    /// What the task's fields are called, in their order; their own titles where it is empty.
    pub titles: Vec<String>,
    /// What the answer is called.
    pub answer_title: Option<String>,
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
            form: TemplateForm::default(),
            examples: ExampleChoice::Task,
            calibration: settings.calibration,
            both_orders: settings.both_orders,
            sampling: settings.sampling,
            soft_prompt: None,
        }
    }

    /// The task and the settings of a run under this strategy. Name, kind, fields, labels, output
    /// and constraints of the task stay as they are.
    pub fn apply(&self, spec: &TaskSpec, settings: &RunSettings) -> (TaskSpec, RunSettings) {
        let mut applied = spec.clone();
        if let Some(instruction) = &self.instruction {
            applied.instruction.clone_from(instruction);
        }
        if let ExampleChoice::Fixed(examples) = &self.examples {
            applied.examples.clone_from(examples);
        }
        self.form.apply(&mut applied);
        let settings = RunSettings {
            calibration: self.calibration,
            both_orders: self.both_orders,
            sampling: self.sampling,
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

impl TemplateForm {
    fn apply(&self, spec: &mut TaskSpec) {
        spec.language = self.language.unwrap_or(spec.language);
        for (field, title) in spec.fields.iter_mut().zip(&self.titles) {
            field.title.clone_from(title);
        }
        if let Some(title) = &self.answer_title {
            spec.answer_title.clone_from(title);
        }
    }
}
