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
    /// Exactly these tokens of the model's vocabulary, nothing before and nothing behind them. They
    /// may be control tokens, so they are not for text from outside.
    Tokens(Vec<u32>),
}

impl Prompt {
    /// The prompt as one text for hashing and display: segments as `role: text` lines, tokens as
    /// their numbers between angle brackets, which no vocabulary is needed for.
    pub fn display_text(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Chat(segments) => segments
                .iter()
                .map(|s| format!("{}: {}", s.role.name(), s.text))
                .collect::<Vec<_>>()
                .join("\n"),
            Self::Tokens(tokens) => {
                let ids: Vec<String> = tokens.iter().map(u32::to_string).collect();
                format!("<{}>", ids.join(" "))
            }
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
