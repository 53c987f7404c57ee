//! What a task is: the sentence, the fields that go in, what shall come out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One record: field names with values, in the order in which they were given.
pub type Record = serde_json::Map<String, Value>;

/// What sort of work a task is; it selects the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// One label out of a closed set.
    Classification,
    /// A shorter text with the same content.
    Summarisation,
    /// Fields read out of a text.
    Extraction,
    /// The same content in another language.
    Translation,
    /// The same content in other words.
    Rewriting,
    /// An answer to a question, with or without a passage.
    QuestionAnswering,
    /// Code that goes on from given code.
    CodeCompletion,
    /// Code from a description.
    CodeGeneration,
    /// Anything else.
    Free,
}

/// The language in which the prompt is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Language {
    /// English.
    #[serde(rename = "en")]
    English,
    /// Chinese.
    #[serde(rename = "zh")]
    Chinese,
}

/// An input field of the task's records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The field's name in a record.
    pub name: String,
    /// How the field is called in the prompt, such as `Review` or `评论`.
    pub title: String,
}

/// Documents whose passages the records of a task are answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knowledge {
    /// The names of their collections, at least one.
    pub collections: Vec<String>,
    /// Passages of a record at most.
    pub passages: usize,
    /// Tokens of a record's passages together at most.
    pub tokens: usize,
}

impl Knowledge {
    /// The field of a record that holds its passages: a list of objects with `titles` and `text`,
    /// and with what else tells where each is from.
    pub const FIELD: &str = "knowledge";
}

/// One label of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The label as it appears in answers and in data.
    pub name: String,
    /// The wording that the model is asked to score; the name where none is given.
    pub word: String,
}

/// What shall come out of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Output {
    /// One of these labels, at least two.
    Labels {
        /// The closed set, in the order of the task file.
        labels: Vec<Label>,
    },
    /// A JSON value that satisfies a schema.
    Json {
        /// The JSON Schema.
        schema: Value,
        /// Tokens at most.
        max_tokens: usize,
    },
    /// Free text.
    Text {
        /// Tokens at most.
        max_tokens: usize,
    },
    /// Source code.
    Code {
        /// The programming language, such as `python`, where the task names one.
        language: Option<String>,
        /// Tokens at most.
        max_tokens: usize,
    },
}

impl Output {
    /// The labels of a closed set; none where the answer is open.
    pub fn labels(&self) -> &[Label] {
        match self {
            Self::Labels { labels } => labels,
            Self::Json { .. } | Self::Text { .. } | Self::Code { .. } => &[],
        }
    }

    /// The most tokens that an answer may have; 0 for a closed set, whose labels are scored.
    pub fn max_tokens(&self) -> usize {
        match self {
            Self::Labels { .. } => 0,
            Self::Json { max_tokens, .. }
            | Self::Text { max_tokens }
            | Self::Code { max_tokens, .. } => *max_tokens,
        }
    }
}

/// A record with the answer that is wanted for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The record.
    pub input: Record,
    /// The answer that is wanted: a label's name, a text, or JSON text.
    pub output: String,
}

/// A task that is fully understood: everything that a prompt is composed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// A short name, used in lists of runs.
    pub name: String,
    /// What sort of work it is.
    pub kind: TaskKind,
    /// The task in the user's words.
    pub instruction: String,
    /// The language of the prompt.
    pub language: Language,
    /// The input fields, in prompt order, at least one.
    pub fields: Vec<Field>,
    /// How the answer is called in the prompt, such as `Sentiment` or `情感`.
    pub answer_title: String,
    /// What shall come out.
    pub output: Output,
    /// Rules that every answer must obey, in the user's words.
    pub constraints: Vec<String>,
    /// Examples, in prompt order.
    pub examples: Vec<Example>,
    /// Documents whose passages are put before each record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knowledge: Option<Knowledge>,
}
