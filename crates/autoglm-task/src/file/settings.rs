//! What a task file says besides the task itself.

use autoglm_spec::{Calibration, Decoding, Sampling, TaskSpec};

/// A task file that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskFile {
    /// The task.
    pub spec: TaskSpec,
    /// How it is run.
    pub settings: TaskSettings,
}

/// How a task is run, as far as its file says so.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSettings {
    /// The model's name or path; the default model for the kind of answer where none is given.
    pub model: Option<String>,
    /// How tokens of a generated answer are chosen.
    pub sampling: Sampling,
    /// What may be done to answer sooner.
    pub decoding: Decoding,
    /// Texts that end a generated answer, besides those of the template.
    pub stop: Vec<String>,
    /// How label bias is removed.
    pub calibration: Calibration,
}

impl Default for TaskSettings {
    fn default() -> Self {
        Self {
            model: None,
            sampling: Sampling::GREEDY,
            decoding: Decoding::default(),
            stop: Vec::new(),
            calibration: Calibration::Batch,
        }
    }
}
