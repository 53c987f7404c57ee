//! The messages of a conversation, as a client writes them.

use autoglm_token::{Message, ToolCall};
use serde_json::{Map, Value};

use crate::ServerError;
use crate::fields::{Fields, quoted};

/// Messages of a conversation at most, and parts of a message.
const MOST_MESSAGES: usize = 4_096;
const MOST_PARTS: usize = 1_024;
/// Tools that one message calls at most.
const MOST_CALLS: usize = 128;

/// Takes the messages.
pub(crate) fn take_messages(body: &mut Fields) -> Result<Vec<Message>, ServerError> {
    let name = "messages";
    let list = body.list(name, MOST_MESSAGES)?;
    let list = list.ok_or_else(|| ServerError::Missing { field: name.into() })?;
    if list.is_empty() {
        return Err(ServerError::invalid(name, "none", "at least one message"));
    }
    let numbered = list.into_iter().enumerate();
    numbered
        .map(|(index, value)| message(value, &format!("{name}[{index}]")))
        .collect()
}

fn message(value: Value, path: &str) -> Result<Message, ServerError> {
    let mut fields = Fields::of(value, path)?;
    let roles = ["system", "developer", "user", "assistant", "tool"];
    let role = fields.word("role", &roles)?;
    let role = role.ok_or_else(|| ServerError::Missing {
        field: fields.path("role"),
    })?;
    let content = fields.take("content");
    let message = match role {
        "assistant" => spoken(&mut fields, content)?,
        "tool" => given_by_tool(&mut fields, content)?,
        // What newer clients call the system.
        "developer" => Message::new("system", need_content(&fields, content)?),
        other => Message::new(other, need_content(&fields, content)?),
    };
    fields.finish()?;
    Ok(message)
}

/// What the model said before.
fn spoken(fields: &mut Fields, content: Option<Value>) -> Result<Message, ServerError> {
    let calls = fields.list("tool_calls", MOST_CALLS)?.unwrap_or_default();
    let content = match content {
        None if calls.is_empty() => return Err(missing_content(fields)),
        None => String::new(),
        Some(value) => text_of(value, &fields.path("content"))?,
    };
    let path = fields.path("tool_calls");
    let numbered = calls.into_iter().enumerate();
    let tool_calls = numbered
        .map(|(index, value)| tool_call(value, &format!("{path}[{index}]")))
        .collect::<Result<_, _>>()?;
    Ok(Message {
        reasoning: fields.text("reasoning_content")?,
        tool_calls,
        ..Message::new("assistant", content)
    })
}

/// What a tool gave. Templates put it behind the call that it answers, so that its id says nothing
/// that its place does not.
fn given_by_tool(fields: &mut Fields, content: Option<Value>) -> Result<Message, ServerError> {
    fields.need_text("tool_call_id")?;
    fields.text("name")?;
    Ok(Message::new("tool", need_content(fields, content)?))
}

fn need_content(fields: &Fields, content: Option<Value>) -> Result<String, ServerError> {
    let content = content.ok_or_else(|| missing_content(fields))?;
    text_of(content, &fields.path("content"))
}

fn missing_content(fields: &Fields) -> ServerError {
    ServerError::Missing {
        field: fields.path("content"),
    }
}

/// A text, or the texts of several parts one behind the other.
pub(super) fn text_of(value: Value, path: &str) -> Result<String, ServerError> {
    let parts = match value {
        Value::String(text) => return Ok(text),
        Value::Array(parts) if parts.len() <= MOST_PARTS => parts,
        other => {
            let wanted = format!("a string, or a list of at most {MOST_PARTS} parts");
            return Err(ServerError::invalid(
                path,
                crate::fields::kind(&other),
                wanted,
            ));
        }
    };
    let numbered = parts.into_iter().enumerate();
    numbered
        .map(|(index, part)| text_part(part, &format!("{path}[{index}]")))
        .collect()
}

fn text_part(part: Value, path: &str) -> Result<String, ServerError> {
    let mut fields = Fields::of(part, path)?;
    let kind = fields.need_text("type")?;
    if !["text", "input_text", "output_text"].contains(&kind.as_str()) {
        return Err(ServerError::Unsupported {
            field: format!("{} {}", fields.path("type"), quoted(&kind)),
            note: " (parts of messages are text)",
        });
    }
    let text = fields.need_text("text")?;
    // Answers of the responses endpoint, sent back as they came.
    fields.list("annotations", MOST_PARTS)?;
    fields.list("logprobs", usize::MAX)?;
    fields.finish()?;
    Ok(text)
}

fn tool_call(value: Value, path: &str) -> Result<ToolCall, ServerError> {
    let mut fields = Fields::of(value, path)?;
    fields.text("id")?;
    fields.word("type", &["function"])?;
    let function = fields.object("function")?;
    let mut function = function.ok_or_else(|| ServerError::Missing {
        field: fields.path("function"),
    })?;
    let name = function.need_text("name")?;
    let arguments = function.need_text("arguments")?;
    let arguments = parse_arguments(&arguments, &function.path("arguments"))?;
    function.finish()?;
    fields.finish()?;
    Ok(ToolCall { name, arguments })
}

/// The arguments of a call, which are JSON in a string.
pub(super) fn parse_arguments(text: &str, path: &str) -> Result<Map<String, Value>, ServerError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text)
        .map_err(|_| ServerError::invalid(path, quoted(text), "an object in JSON, as a string"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(messages: &Value) -> Result<Vec<Message>, ServerError> {
        let mut body = Fields::of(json!({ "messages": messages }), "").unwrap();
        take_messages(&mut body)
    }

    #[test]
    fn a_conversation_with_tools_is_read() {
        let messages = read(&json!([
            {"role": "developer", "content": "简短回答。"},
            {"role": "user", "content": [{"type": "text", "text": "北京"}, {"type": "text", "text": "天气？"}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function",
                 "function": {"name": "weather", "arguments": "{\"city\": \"北京\"}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "晴"},
        ]))
        .unwrap();
        let roles: Vec<&str> = messages.iter().map(|m| m.role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool"]);
        assert_eq!(messages[1].content, "北京天气？");
        assert_eq!(messages[2].tool_calls[0].arguments["city"], "北京");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let check = |messages: Value, field: &str| {
            let error = read(&messages).unwrap_err();
            assert_eq!(error.field(), Some(field), "{error}");
        };
        check(json!([]), "messages");
        check(json!([{"role": "user"}]), "messages[0].content");
        check(
            json!([{"role": "narrator", "content": ""}]),
            "messages[0].role",
        );
        check(
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
            "messages[0].content[0].type \"image_url\"",
        );
        check(
            json!([{"role": "user", "content": "hi", "name": "Bo"}]),
            "messages[0].name",
        );
        check(
            json!([{"role": "tool", "content": "hi"}]),
            "messages[0].tool_call_id",
        );
        check(
            json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "["}}]}]),
            "messages[0].tool_calls[0].function.arguments",
        );
    }
}
