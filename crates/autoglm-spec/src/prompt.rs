//! What goes to a model.

use serde::{Deserialize, Serialize};

/// Who speaks a segment. A model without a chat template reads the segments' texts in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Standing instructions.
    System,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
}

/// A stretch of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: String,
}

/// What a model is given: the stable part first, so that prompts of one task share a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prompt {
    /// Text that the model continues; no chat template is applied.
    Plain(String),
    /// Turns that the model's chat template renders; the model's turn comes next. Where the last
    /// segment is the assistant's, the model continues that segment.
    Chat(Vec<Segment>),
    /// Exactly these ids of the model's vocabulary; nothing is put before them.
    Tokens(Vec<u32>),
}

impl Prompt {
    /// The prompt as one text for hashing and display: segments as `role: text` lines.
    pub fn display_text(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Chat(segments) => segments
                .iter()
                .map(|s| format!("{}: {}", s.role.name(), s.text))
                .collect::<Vec<_>>()
                .join("\n"),
            Self::Tokens(tokens) => format!("{tokens:?}"),
        }
    }
}

impl Role {
    /// The name that chat templates use for this role.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}
