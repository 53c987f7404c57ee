//! What servers send, as far as it is of use, and no more strictly read than needed: servers that
//! call themselves compatible differ in everything that is optional.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The answer of `/models`.
#[derive(Debug, Deserialize)]
pub(crate) struct Models {
    pub(crate) data: Vec<ModelEntry>,
}

/// A model of the server. Each server has its own name for the size of the context.
#[derive(Debug, Deserialize)]
pub(crate) struct ModelEntry {
    pub(crate) id: String,
    max_model_len: Option<usize>,
    context_length: Option<usize>,
    context_window: Option<usize>,
    max_context_length: Option<usize>,
    meta: Option<ModelMeta>,
}

#[derive(Debug, Deserialize)]
struct ModelMeta {
    n_ctx: Option<usize>,
    n_ctx_train: Option<usize>,
}

impl ModelEntry {
    /// Tokens that the context holds, where the server tells.
    pub(crate) fn context_tokens(&self) -> Option<usize> {
        let meta = self.meta.as_ref();
        let told = [
            self.max_model_len,
            self.context_length,
            self.context_window,
            self.max_context_length,
            meta.and_then(|meta| meta.n_ctx),
            meta.and_then(|meta| meta.n_ctx_train),
        ];
        told.into_iter().flatten().find(|&tokens| tokens > 0)
    }
}

/// A whole answer, or a piece of one that is streamed.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Reply {
    #[serde(default)]
    pub(crate) choices: Vec<Choice>,
    pub(crate) usage: Option<TokenUsage>,
    pub(crate) error: Option<Value>,
}

/// One of the answers to a request; one is all we ask for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Choice {
    text: Option<String>,
    delta: Option<Message>,
    message: Option<Message>,
    logprobs: Option<Logprobs>,
    pub(crate) finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Message {
    content: Option<String>,
}

impl Choice {
    /// The text, of a completion or of a message.
    pub(crate) fn text(&self) -> &str {
        let message = self.delta.as_ref().or(self.message.as_ref());
        let content = message.and_then(|message| message.content.as_ref());
        self.text.as_ref().or(content).map_or("", String::as_str)
    }

    /// What is told of the tokens; empty where nothing is.
    pub(crate) fn tokens(&self) -> Vec<TokenScore> {
        self.logprobs
            .as_ref()
            .map_or_else(Vec::new, Logprobs::tokens)
    }
}

/// What a request cost.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct TokenUsage {
    #[serde(default)]
    pub(crate) prompt_tokens: usize,
    #[serde(default)]
    pub(crate) completion_tokens: usize,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<usize>,
}

impl TokenUsage {
    pub(crate) fn cached_tokens(&self) -> usize {
        let details = self.prompt_tokens_details;
        details.and_then(|d| d.cached_tokens).unwrap_or(0)
    }
}

/// Log-probabilities: as a list of tokens (chats, and llama.cpp everywhere), or as lists side by
/// side (completions).
#[derive(Debug, Default, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are the protocol's")]
struct Logprobs {
    content: Option<Vec<Content>>,
    tokens: Option<Vec<String>>,
    token_logprobs: Option<Vec<Option<f32>>>,
    top_logprobs: Option<Vec<Option<BTreeMap<String, f32>>>>,
    text_offset: Option<Vec<usize>>,
}

#[derive(Debug, Deserialize)]
struct Content {
    token: String,
    logprob: f32,
    #[serde(default)]
    top_logprobs: Vec<Rival>,
}

#[derive(Debug, Deserialize)]
struct Rival {
    token: String,
    logprob: f32,
}

/// A token as a server tells it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenScore {
    pub(crate) text: String,
    pub(crate) logprob: Option<f32>,
    /// Where it starts in the text, in the server's own unit.
    pub(crate) start: Option<usize>,
    /// The most likely tokens at its place with their log-probabilities.
    pub(crate) top: Vec<(String, f32)>,
}

impl Logprobs {
    fn tokens(&self) -> Vec<TokenScore> {
        match (&self.content, &self.tokens) {
            (Some(content), _) => content.iter().map(Content::token).collect(),
            (None, Some(tokens)) => (0..tokens.len())
                .map(|i| self.token(&tokens[i], i))
                .collect(),
            (None, None) => Vec::new(),
        }
    }

    fn token(&self, text: &str, index: usize) -> TokenScore {
        let top = at(self.top_logprobs.as_ref(), index).flatten();
        TokenScore {
            text: text.to_owned(),
            logprob: at(self.token_logprobs.as_ref(), index).flatten(),
            start: at(self.text_offset.as_ref(), index),
            top: top.into_iter().flatten().collect(),
        }
    }
}

fn at<T: Clone>(list: Option<&Vec<T>>, index: usize) -> Option<T> {
    list.and_then(|list| list.get(index)).cloned()
}

impl Content {
    fn token(&self) -> TokenScore {
        let top = self.top_logprobs.iter();
        TokenScore {
            text: self.token.clone(),
            logprob: Some(self.logprob),
            start: None,
            top: top
                .map(|rival| (rival.token.clone(), rival.logprob))
                .collect(),
        }
    }
}

/// What a server says about a request that it refuses.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Complaint {
    /// Its message.
    pub(crate) message: String,
    /// Its words for the kind of error.
    pub(crate) codes: String,
    /// Tokens of the prompt, where it is too long.
    prompt_tokens: Option<usize>,
    /// Tokens that the context holds, where the prompt is too long.
    limit_tokens: Option<usize>,
}

impl Complaint {
    /// Reads the body of a refusal: an `error` object or text, or a `detail` or `message` beside
    /// nothing.
    pub(crate) fn of(body: &Value) -> Self {
        let error = body.get("error").unwrap_or(body);
        let text = |field: &str| error.get(field).and_then(Value::as_str);
        let message = error.as_str().or_else(|| text("message"));
        let message = message.or_else(|| body.get("detail").and_then(Value::as_str));
        let number = |field: &str| error.get(field).and_then(Value::as_u64).map(|n| n as usize);
        let codes = ["code", "type"].iter().filter_map(|field| text(field));
        Self {
            message: message.unwrap_or_default().to_owned(),
            codes: codes.collect::<Vec<_>>().join(" "),
            prompt_tokens: number("n_prompt_tokens"),
            limit_tokens: number("n_ctx"),
        }
    }

    /// Tokens of the prompt and of the context where the complaint is that it is too long, 0 where
    /// a number is not told.
    pub(crate) fn context_exceeded(&self) -> Option<(usize, usize)> {
        const SIGNS: [&str; 6] = [
            "context_length_exceeded",
            "exceed_context_size",
            "maximum context length",
            "available context size",
            "exceed context window",
            "exceeds the model's context",
        ];
        let said = format!("{} {}", self.codes, self.message).to_lowercase();
        if !SIGNS.iter().any(|sign| said.contains(sign)) {
            return None;
        }
        let message = self.message.to_lowercase();
        let behind = ["context length is ", "context size (", "context window of "];
        let limit = behind.iter().find_map(|mark| number_behind(&message, mark));
        let before = [" in the messages", " in your prompt", " input tokens"];
        let prompt = before.iter().find_map(|mark| number_before(&message, mark));
        let requested = ["request (", "requested tokens (", "requested "];
        let prompt = prompt.or_else(|| {
            requested
                .iter()
                .find_map(|mark| number_behind(&message, mark))
        });
        let known = |told: Option<usize>, found: Option<usize>| told.or(found).unwrap_or(0);
        Some((
            known(self.prompt_tokens, prompt),
            known(self.limit_tokens, limit),
        ))
    }
}

fn number_behind(text: &str, mark: &str) -> Option<usize> {
    let rest = &text[text.find(mark)? + mark.len()..];
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn number_before(text: &str, mark: &str) -> Option<usize> {
    let rest = &text[..text.find(mark)?];
    let start = rest
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + 1);
    rest.get(start..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_server_names_its_context_otherwise() {
        let check = |entry: Value, wanted: Option<usize>| {
            let entry: ModelEntry = serde_json::from_value(entry).unwrap();
            assert_eq!(entry.context_tokens(), wanted);
        };
        check(json!({"id": "m", "max_model_len": 4096}), Some(4096));
        check(
            json!({"id": "m", "meta": {"n_ctx_train": 2048}}),
            Some(2048),
        );
        check(json!({"id": "m", "context_length": 0}), None);
        check(json!({"id": "m", "meta": null, "owned_by": "me"}), None);
    }

    #[test]
    fn tokens_are_read_in_both_forms() {
        let sides = json!({"text": " b", "logprobs": {
            "tokens": ["a", " b"], "token_logprobs": [null, -0.5],
            "top_logprobs": [null, {" b": -0.5, " c": -1.0}], "text_offset": [0, 1]}});
        let list = json!({"message": {"content": "b"}, "logprobs": {"content": [
            {"token": " b", "logprob": -0.5, "top_logprobs": [
                {"token": " b", "logprob": -0.5}, {"token": " c", "logprob": -1.0}]}]}});
        let sides: Choice = serde_json::from_value(sides).unwrap();
        let list: Choice = serde_json::from_value(list).unwrap();
        let (sides, list) = (sides.tokens(), list.tokens());
        assert_eq!(sides[0].logprob, None);
        assert_eq!(sides[1].start, Some(1));
        assert_eq!(sides[1].top, list[0].top);
        assert_eq!(sides[1].logprob, list[0].logprob);
    }

    #[test]
    fn prompts_that_are_too_long_are_told_from_other_complaints() {
        let check = |body: Value, wanted: Option<(usize, usize)>| {
            assert_eq!(Complaint::of(&body).context_exceeded(), wanted, "{body}");
        };
        check(
            json!({"error": {"code": "context_length_exceeded", "message": "This model's maximum \
                   context length is 64 tokens, however you requested 90 tokens (80 in your \
                   prompt; 10 for the completion)."}}),
            Some((80, 64)),
        );
        check(
            json!({"error": {"code": 400, "type": "exceed_context_size_error", "message": "x",
                   "n_prompt_tokens": 99, "n_ctx": 64}}),
            Some((99, 64)),
        );
        check(
            json!({"object": "error", "message": "This model's maximum context length is 100 \
                   tokens and your request has 90 input tokens (20 > 100 - 90).", "code": 400}),
            Some((90, 100)),
        );
        check(json!({"error": {"message": "no such field"}}), None);
        check(json!("text"), None);
    }

    #[test]
    fn complaints_are_read_in_every_shape() {
        let message = |body: Value| Complaint::of(&body).message;
        assert_eq!(message(json!({"error": {"message": "a"}})), "a");
        assert_eq!(message(json!({"error": "b"})), "b");
        assert_eq!(message(json!({"detail": "c"})), "c");
        assert_eq!(message(json!({"detail": [{"input": "the prompt"}]})), "");
        assert_eq!(message(json!(null)), "");
    }
}
