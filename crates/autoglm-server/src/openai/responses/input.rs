//! What is said to a response: a text, or items.

use autoglm_token::{Message, ToolCall};
use serde_json::{Value, json};

use super::super::messages::{parse_arguments, text_of};
use crate::ServerError;
use crate::fields::{Fields, quoted};

/// Items of an input at most.
const MOST_ITEMS: usize = 4_096;

/// Takes the input as items; a text is what a user says.
pub(super) fn take_input(body: &mut Fields) -> Result<Vec<Value>, ServerError> {
    match body.need("input")? {
        Value::String(text) => Ok(vec![json!({"role": "user", "content": text})]),
        Value::Array(items) if (1..=MOST_ITEMS).contains(&items.len()) => {
            // Each is checked by its place in this request, not in the conversation.
            messages_of(&items)?;
            Ok(items)
        }
        other => {
            let wanted = format!("a string, or a list of 1 to {MOST_ITEMS} items");
            Err(body.wrong("input", &other, &wanted))
        }
    }
}

/// The messages that items are. Calls and thoughts belong to the assistant's message beside them.
pub(super) fn messages_of(items: &[Value]) -> Result<Vec<Message>, ServerError> {
    let mut messages = Messages::default();
    for (index, item) in items.iter().enumerate() {
        let mut fields = Fields::of(item.clone(), &format!("input[{index}]"))?;
        let kind = fields.text("type")?;
        // Answers that come back have names of their own, which say nothing to the model.
        fields.text("id")?;
        fields.word("status", &["completed", "incomplete", "in_progress"])?;
        match kind.as_deref() {
            None | Some("message") => messages.say(&mut fields)?,
            Some("function_call") => messages.call(&mut fields)?,
            Some("function_call_output") => messages.hear_tool(&mut fields)?,
            Some("reasoning") => messages.think(&mut fields)?,
            Some(other) => {
                let what = format!("{} {}", fields.path("type"), quoted(other));
                return Err(ServerError::unsupported(what, ""));
            }
        }
        fields.finish()?;
    }
    Ok(messages.done)
}

#[derive(Default)]
struct Messages {
    done: Vec<Message>,
    /// What the assistant thought before its next words or calls.
    thought: Option<String>,
}

impl Messages {
    fn say(&mut self, fields: &mut Fields) -> Result<(), ServerError> {
        let roles = ["system", "developer", "user", "assistant"];
        let role = fields.word("role", &roles)?;
        let role = role.ok_or_else(|| ServerError::Missing {
            field: fields.path("role"),
        })?;
        let content = fields.need("content")?;
        let content = text_of(content, &fields.path("content"))?;
        let role = if role == "developer" { "system" } else { role };
        let reasoning = self.thought.take().filter(|_| role == "assistant");
        self.done.push(Message {
            reasoning,
            ..Message::new(role, content)
        });
        Ok(())
    }

    fn call(&mut self, fields: &mut Fields) -> Result<(), ServerError> {
        fields.need_text("call_id")?;
        let name = fields.need_text("name")?;
        let arguments = fields.need_text("arguments")?;
        let arguments = parse_arguments(&arguments, &fields.path("arguments"))?;
        let call = ToolCall { name, arguments };
        match self.done.last_mut() {
            Some(last) if last.role == "assistant" => last.tool_calls.push(call),
            _ => self.done.push(Message {
                reasoning: self.thought.take(),
                tool_calls: vec![call],
                ..Message::new("assistant", "")
            }),
        }
        Ok(())
    }

    fn hear_tool(&mut self, fields: &mut Fields) -> Result<(), ServerError> {
        fields.need_text("call_id")?;
        let output = fields.need("output")?;
        let output = text_of(output, &fields.path("output"))?;
        self.done.push(Message::new("tool", output));
        Ok(())
    }

    fn think(&mut self, fields: &mut Fields) -> Result<(), ServerError> {
        let mut thought = String::new();
        for part in ["summary", "content"] {
            for part in fields.list(part, MOST_ITEMS)?.unwrap_or_default() {
                thought += part["text"].as_str().unwrap_or_default();
            }
        }
        fields.text("encrypted_content")?;
        self.thought = Some(thought).filter(|thought| !thought.is_empty());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_become_messages_in_which_calls_stand_with_their_speaker() {
        let items = [
            json!({"role": "user", "content": [{"type": "input_text", "text": "天气？"}]}),
            json!({"type": "reasoning", "id": "rs_1", "summary": [],
                   "content": [{"type": "reasoning_text", "text": "Look it up."}]}),
            json!({"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}),
            json!({"type": "function_call", "call_id": "c2", "name": "time", "arguments": "{}"}),
            json!({"type": "function_call_output", "call_id": "c1", "output": "晴"}),
            json!({"type": "message", "role": "assistant", "status": "completed", "id": "msg_1",
                   "content": [{"type": "output_text", "text": "晴天。", "annotations": []}]}),
        ];
        let messages = messages_of(&items).unwrap();
        let roles: Vec<&str> = messages.iter().map(|m| m.role.as_str()).collect();
        assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
        assert_eq!(messages[1].tool_calls.len(), 2);
        assert_eq!(messages[1].reasoning.as_deref(), Some("Look it up."));
        assert_eq!(messages[3].content, "晴天。");
    }

    #[test]
    fn an_item_that_is_none_is_named_by_its_place() {
        let check = |item: Value, field: &str| {
            let items = [json!({"role": "user", "content": "a"}), item];
            let error = messages_of(&items).unwrap_err();
            assert_eq!(error.field(), Some(field), "{error}");
        };
        check(
            json!({"type": "item_reference", "id": "x"}),
            "input[1].type \"item_reference\"",
        );
        check(json!({"role": "user"}), "input[1].content");
        check(
            json!({"role": "user", "content": "a", "mood": 1}),
            "input[1].mood",
        );
    }
}
