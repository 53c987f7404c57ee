//! Log-probabilities of tokens as the endpoints tell them.

use std::fmt::Write as _;

use autoglm_spec::{Completion, Delta};
use serde_json::{Value, json};

use crate::backend::Backend;

/// Tokens with what is known of them: logprobs and likeliest tokens are of the same length as the
/// tokens, or empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    tokens: &'a [u32],
    logprobs: &'a [f32],
    top: &'a [Vec<(u32, f32)>],
}

impl<'a> From<&'a Completion> for Told<'a> {
    fn from(completion: &'a Completion) -> Self {
        Self {
            tokens: &completion.tokens,
            logprobs: &completion.logprobs,
            top: &completion.top,
        }
    }
}

impl<'a> From<&'a Delta> for Told<'a> {
    fn from(delta: &'a Delta) -> Self {
        Self {
            tokens: &delta.tokens,
            logprobs: &delta.logprobs,
            top: &delta.top,
        }
    }
}

impl<'a> Told<'a> {
    /// Each token with its log-probability and the likeliest ones at its place.
    fn each(self) -> impl Iterator<Item = (u32, f32, &'a [(u32, f32)])> {
        let top = move |index| self.top.get(index).map_or(&[][..], Vec::as_slice);
        let pairs = self.tokens.iter().zip(self.logprobs).enumerate();
        pairs.map(move |(index, (token, logprob))| (*token, *logprob, top(index)))
    }

    /// As `logprobs` of a chat's answer has them; null where nothing is known.
    pub(crate) fn of_chat(self, backend: &dyn Backend) -> Value {
        if self.logprobs.is_empty() {
            return Value::Null;
        }
        let one = |(token, logprob, top): (u32, f32, &[(u32, f32)])| {
            let mut entry = entry(backend, token, logprob);
            let top = top
                .iter()
                .map(|&(id, logprob)| self::entry(backend, id, logprob));
            entry["top_logprobs"] = top.collect();
            entry
        };
        json!({ "content": self.each().map(one).collect::<Vec<_>>(), "refusal": null })
    }

    /// As `logprobs` of a completion has them, where the text before has `offset` characters; null
    /// where nothing is known.
    pub(crate) fn of_completion(self, backend: &dyn Backend, offset: usize) -> Value {
        if self.logprobs.is_empty() {
            return Value::Null;
        }
        let text = |id| text_of(&backend.token_bytes(id));
        let texts: Vec<String> = self.tokens.iter().map(|&id| text(id)).collect();
        let mut at = offset;
        let mut offsets = Vec::new();
        for text in &texts {
            offsets.push(at);
            at += text.chars().count();
        }
        let top = |(_, _, top): (u32, f32, &[(u32, f32)])| {
            let pairs = top.iter().map(|&(id, p)| (text(id), json!(finite(p))));
            Value::Object(pairs.collect())
        };
        json!({
            "tokens": texts,
            "token_logprobs": self.logprobs.iter().map(|&p| finite(p)).collect::<Vec<_>>(),
            "top_logprobs": self.each().map(top).collect::<Vec<_>>(),
            "text_offset": offsets,
        })
    }
}

fn entry(backend: &dyn Backend, id: u32, logprob: f32) -> Value {
    let bytes = backend.token_bytes(id);
    json!({
        "token": text_of(&bytes),
        "logprob": finite(logprob),
        "bytes": bytes,
    })
}

/// A token's text; one that is a part of a character is told by its bytes, so that two of them are
/// not taken for the same.
fn text_of(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut told = "bytes:".to_owned();
    for byte in bytes {
        // A `String` takes whatever it is given.
        let _ = write!(told, "\\x{byte:02x}");
    }
    told
}

/// JSON has no infinity: an impossible token gets the number that OpenAI gives it.
fn finite(logprob: f32) -> f64 {
    f64::from(logprob.max(-9999.0))
}
