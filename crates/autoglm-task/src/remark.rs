//! What a reader of words or files noticed without failing.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// How much a remark matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something was supplied that the text leaves open.
    Note,
    /// Something is probably not as it was meant.
    Warning,
}

/// Something noticed in a text: where, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The bytes of the text that it is about; the whole text where it is about no one place.
    pub span: Range<usize>,
    /// How much it matters.
    pub severity: Severity,
    /// What was noticed.
    pub message: String,
    /// What could be written instead.
    pub suggestion: Option<String>,
}

impl Remark {
    /// Something was supplied that the text leaves open.
    pub fn note(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            severity: Severity::Note,
            message: message.into(),
            suggestion: None,
        }
    }

    /// Something is probably not as it was meant.
    pub fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            severity: Severity::Warning,
            message: message.into(),
            suggestion: None,
        }
    }

    /// Adds what could be written instead.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// The line of the text on which the remark's span begins, counted from 1.
    pub fn line(&self, text: &str) -> usize {
        line_of(text, self.span.start)
    }
}

/// The line, counted from 1, on which a byte stands.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}
