//! Why a prompt cannot be composed.

use autoglm_spec::{Blame, Blamed};

/// Why a prompt cannot be composed from a task, or from a task and a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ComposeError {
    /// The task names no input field.
    #[error("the task has no input field, it needs at least one")]
    NoFields,
    /// A closed set with fewer than two labels decides nothing.
    #[error("the task has {given} label(s), it needs at least two")]
    TooFewLabels {
        /// How many labels there are.
        given: usize,
    },
    /// A label has no name or no word.
    #[error("label {number} is empty")]
    EmptyLabel {
        /// The label's place, from 1.
        number: usize,
    },
    /// Two labels cannot be told apart.
    #[error("labels {first} and {second} have the same wording `{word}`")]
    SameWord {
        /// The name of the one label.
        first: String,
        /// The name of the other label.
        second: String,
        /// What the model would be asked to score for both.
        word: String,
    },
    /// An example's answer is not a label.
    #[error("example {number} has the answer `{answer}`, the labels are {}", quoted(.labels))]
    UnknownLabel {
        /// The example's place, from 1.
        number: usize,
        /// The answer that is no label.
        answer: String,
        /// The labels that there are.
        labels: Vec<String>,
    },
    /// An example lacks an input field.
    #[error("example {number} has no field `{field}`, it has {}", quoted(.present))]
    ExampleField {
        /// The example's place, from 1.
        number: usize,
        /// The field that is missing.
        field: String,
        /// The fields that are there.
        present: Vec<String>,
    },
    /// A record lacks an input field.
    #[error("the record has no field `{field}`, it has {}", quoted(.present))]
    MissingField {
        /// The field that is missing.
        field: String,
        /// The fields that are there.
        present: Vec<String>,
    },
}

impl Blamed for ComposeError {
    fn blame(&self) -> Blame {
        match self {
            Self::MissingField { .. } => Blame::Data,
            Self::NoFields
            | Self::TooFewLabels { .. }
            | Self::EmptyLabel { .. }
            | Self::SameWord { .. }
            | Self::UnknownLabel { .. }
            | Self::ExampleField { .. } => Blame::Caller,
        }
    }
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
