//! What a response holds: thoughts, words and calls as items.

use autoglm_spec::{Completion, FinishReason};
use autoglm_token::ToolCall;
use serde_json::{Value, json};

use super::super::logprobs::Told;
use super::Conversation;

/// An item of a response.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) content: Content,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// What the model thought.
    Thought(String),
    /// What it says, with its tokens' probabilities where they are wanted.
    Words { text: String, logprobs: Value },
    /// A tool that it calls.
    Call {
        call_id: String,
        name: String,
        arguments: String,
    },
}

impl Item {
    /// The item as it is told.
    pub(super) fn told(&self, status: &str) -> Value {
        match &self.content {
            Content::Thought(text) => json!({
                "type": "reasoning", "id": self.id, "summary": [], "status": status,
                "content": [{"type": "reasoning_text", "text": text}],
            }),
            Content::Words { text, logprobs } => json!({
                "type": "message", "id": self.id, "role": "assistant", "status": status,
                "content": [text_part(text, logprobs)],
            }),
            Content::Call {
                call_id,
                name,
                arguments,
            } => json!({
                "type": "function_call", "id": self.id, "call_id": call_id, "name": name,
                "arguments": arguments, "status": status,
            }),
        }
    }

    /// A call of a tool, the `number`th item of its response.
    pub(super) fn call(talk: &Conversation, number: usize, call: &ToolCall) -> Self {
        Self {
            id: talk.ticket.part_name("fc_", number),
            content: Content::Call {
                call_id: talk.ticket.part_name("call_", number),
                name: call.name.clone(),
                arguments: Value::Object(call.arguments.clone()).to_string(),
            },
        }
    }
}

/// A text as a part of a message.
pub(super) fn text_part(text: &str, logprobs: &Value) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs})
}

/// The items of an answer: thoughts, then words, then calls.
pub(super) fn items_of(talk: &Conversation, completion: &Completion) -> Vec<Item> {
    let answer = talk.parser.clone().parse(&completion.text);
    let mut items = Vec::new();
    if !answer.reasoning.is_empty() {
        items.push(Item {
            id: talk.ticket.part_name("rs_", 0),
            content: Content::Thought(answer.reasoning),
        });
    }
    if !answer.content.is_empty() || answer.tool_calls.is_empty() {
        items.push(Item {
            id: talk.ticket.part_name("msg_", items.len()),
            content: Content::Words {
                text: answer.content,
                logprobs: logprobs_of(talk, Told::from(completion)),
            },
        });
    }
    for call in &answer.tool_calls {
        items.push(Item::call(talk, items.len(), call));
    }
    items
}

/// Probabilities as a list, which is empty where none are wanted.
pub(super) fn logprobs_of(talk: &Conversation, told: Told<'_>) -> Value {
    match told.of_chat(&*talk.backend) {
        Value::Null => json!([]),
        mut told => told["content"].take(),
    }
}

/// The response with these items; in progress while there is no completion.
pub(super) fn response(
    talk: &Conversation,
    items: &[Item],
    completion: Option<&Completion>,
) -> Value {
    let cut = completion.is_some_and(|c| c.finish != FinishReason::Stop);
    let status = match completion {
        None => "in_progress",
        Some(_) if cut => "incomplete",
        Some(_) => "completed",
    };
    let item_status = if cut { "incomplete" } else { "completed" };
    let mut response = json!({
        "id": talk.ticket.name("resp_"),
        "object": "response",
        "created_at": talk.ticket.created,
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": cut.then(|| json!({"reason": "max_output_tokens"})),
        "model": talk.model,
        "output": items.iter().map(|item| item.told(item_status)).collect::<Vec<_>>(),
        "store": talk.store,
        "usage": completion.map(|completion| usage(talk, items, completion)),
    });
    for (name, value) in &talk.echoed {
        response[name] = value.clone();
    }
    response
}

/// What an answer cost. Thoughts count as many tokens as their text alone has.
fn usage(talk: &Conversation, items: &[Item], completion: &Completion) -> Value {
    let usage = completion.usage;
    let thoughts = items.iter().filter_map(|item| match &item.content {
        Content::Thought(text) => Some(talk.backend.encode_text(text).len()),
        Content::Words { .. } | Content::Call { .. } => None,
    });
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": thoughts.sum::<usize>()},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    })
}
