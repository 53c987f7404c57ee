//! What a reader of words or files noticed without failing.

use std::fmt;
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

    /// The remark with its place in the text: the line where the text has several, and the words
    /// that it is about where they are few.
    pub fn tell(&self, text: &str) -> String {
        let line = if text.trim_end().contains('\n') {
            format!("line {}: ", self.line(text))
        } else {
            String::new()
        };
        let words = text.get(self.span.clone()).unwrap_or_default();
        let few = !words.is_empty() && words.len() < text.trim().len() && !words.contains('\n');
        let about = if few && words.chars().count() <= SHOWN {
            format!(" (at `{words}`)")
        } else {
            String::new()
        };
        let message = format!("{line}{}{about}", self.message);
        Self {
            message,
            ..self.clone()
        }
        .to_string()
    }

    /// The line of the text on which the remark's span begins, counted from 1.
    pub fn line(&self, text: &str) -> usize {
        line_of(text, self.span.start)
    }
}

/// Words up to this many characters are shown with a remark.
const SHOWN: usize = 60;

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "\nhint: {suggestion}"),
            None => Ok(()),
        }
    }
}

/// The line, counted from 1, on which a byte stands.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    1 + before.matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_tells_its_place() {
        let remark = Remark::warning(8..9, "odd").suggest("even");
        assert_eq!(remark.to_string(), "warning: odd\nhint: even");
        assert_eq!(
            remark.tell("one two 3"),
            "warning: odd (at `3`)\nhint: even"
        );
        assert_eq!(
            remark.tell("one two\n3 four"),
            "warning: line 2: odd (at `3`)\nhint: even"
        );
        let whole = Remark::note(0..3, "odd");
        assert_eq!(whole.tell("one"), "note: odd");
    }
}
