//! Marks that go through a chat template in place of text that the template must not see.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use crate::conversation::has_char;
use crate::{TokenError, TokenId, Tokenizer};

/// A private-use character that no message has. A mark is this character, what it marks, and the
/// character again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(char);

/// A conversation with the marks replaced.
pub(crate) struct Resolved {
    pub(crate) text: String,
    /// The text of control tokens that stood in messages.
    pub(crate) plain: Vec<Range<usize>>,
}

impl Mark {
    /// A mark for what a template is given.
    ///
    /// # Errors
    /// [`TokenError::TemplateLostText`] if it has every private-use character.
    pub(crate) fn absent_from(given: &Value) -> Result<Self, TokenError> {
        ('\u{100000}'..='\u{10FFFD}')
            .find(|&char| !has_char(given, char))
            .map(Self)
            .ok_or(TokenError::TemplateLostText {
                what: "every private-use character",
            })
    }

    /// Marks where a message is continued.
    pub(crate) fn end(self) -> String {
        format!("{0}end{0}", self.0)
    }

    /// The text with a mark in place of every control token's text.
    pub(crate) fn hide_control_tokens(self, tokenizer: &Tokenizer, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some((found, id)) = tokenizer.next_control(text, at) {
            out.push_str(&text[at..found.start]);
            out.push(self.0);
            out.push_str(&id.to_string());
            out.push(self.0);
            at = found.end;
        }
        out.push_str(&text[at..]);
        out
    }

    /// Puts back what marks stand for; `name` gives the text of a control token.
    ///
    /// # Errors
    /// [`TokenError::TemplateLostText`] if a mark has been changed.
    pub(crate) fn resolve<'a>(
        self,
        rendered: &str,
        name: impl Fn(TokenId) -> Option<Cow<'a, str>>,
    ) -> Result<Resolved, TokenError> {
        let lost = || TokenError::TemplateLostText {
            what: "the text of a control token",
        };
        // A template that escapes everything outside ASCII has escaped the mark.
        let [high, low] = *self.0.encode_utf16(&mut [0; 2]) else {
            unreachable!("private-use characters of plane 16 are two units")
        };
        if rendered.contains(&format!("\\u{high:04x}\\u{low:04x}")) {
            return Err(lost());
        }
        let mut text = String::with_capacity(rendered.len());
        let mut plain = Vec::new();
        let mut parts = rendered.split(self.0);
        text.push_str(parts.next().unwrap_or_default());
        while let Some(marked) = parts.next() {
            let hidden = marked.parse().ok().and_then(&name).ok_or_else(lost)?;
            plain.push(text.len()..text.len() + hidden.len());
            text.push_str(&hidden);
            text.push_str(parts.next().ok_or_else(lost)?);
        }
        Ok(Resolved { text, plain })
    }
}
