//! Text while its tokens arrive one by one.

use crate::{TokenId, Tokenizer};

/// What stands for bytes that are no character.
const REPLACEMENT: &str = "\u{FFFD}";

/// Turns tokens into text as they come, holding back the bytes of a character that is not
/// complete. The default is a stream behind a prompt: a leading space is part of what is said.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    /// Whether nothing but control tokens has come, where a text begins.
    at_start: bool,
    /// The bytes of an incomplete character.
    pending: Vec<u8>,
}

impl TextStream {
    /// A stream at the start of a text: the space that encoding put there is taken away. The
    /// pieces add up to [`Tokenizer::decode`] of all tokens.
    pub fn at_start() -> Self {
        Self {
            at_start: true,
            pending: Vec::new(),
        }
    }

    /// Takes a token and gives the text that has become certain.
    ///
    /// # Panics
    /// If the id is not below [`Tokenizer::vocabulary_len`].
    pub fn push(&mut self, tokenizer: &Tokenizer, id: TokenId) -> String {
        let mut bytes = tokenizer.token_bytes(id);
        if self.at_start && !bytes.is_empty() {
            self.at_start = false;
            if tokenizer.adds_space() {
                bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            }
        }
        self.pending.extend_from_slice(bytes);
        self.release()
    }

    /// Ends the text: a character that was not completed becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let rest = if self.pending.is_empty() {
            ""
        } else {
            REPLACEMENT
        };
        self.pending.clear();
        rest.to_owned()
    }

    /// Takes out everything but an incomplete last character.
    fn release(&mut self) -> String {
        let mut text = String::with_capacity(self.pending.len());
        let mut done = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            if is_incomplete(chunk.invalid(), self.pending.len() - done) {
                break;
            }
            if !chunk.invalid().is_empty() {
                text.push_str(REPLACEMENT);
                done += chunk.invalid().len();
            }
        }
        self.pending.drain(..done);
        text
    }
}

/// Whether bytes that are no character could become one if more came behind them.
fn is_incomplete(invalid: &[u8], rest: usize) -> bool {
    let at_end = invalid.len() == rest;
    at_end && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}
