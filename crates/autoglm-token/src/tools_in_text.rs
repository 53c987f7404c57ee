//! Tools for models whose chat template knows none: told in words, in the manner of
//! [`ToolCallFormat::TaggedJson`](crate::ToolCallFormat::TaggedJson), which most models have seen.
//!
//! # Source
//! Hermes function calling (Nous Research 2024), in the wording of Qwen2.5's chat template.

use serde_json::{Value, json};

use crate::python_json::{JsonStyle, dumps};
use crate::{Message, ToolCall, ToolDefinition};

const SYSTEM: &str = "system";
const USER: &str = "user";
const TOOL: &str = "tool";

/// The conversation with nothing in it that a template without tools would leave out: the tools
/// stand in the system message, calls in the text of the assistant's turns, and what tools gave in
/// turns of the user.
pub fn tools_in_text(messages: &[Message], tools: &[ToolDefinition]) -> Vec<Message> {
    let mut told: Vec<Message> = Vec::with_capacity(messages.len() + 1);
    let mut follows_tool = false;
    for message in messages {
        let is_tool = message.role == TOOL;
        match told.last_mut().filter(|_| is_tool && follows_tool) {
            Some(turn) => turn.content = format!("{}\n{}", turn.content, response(message)),
            None if is_tool => told.push(Message::new(USER, response(message))),
            None => told.push(spoken(message)),
        }
        follows_tool = is_tool;
    }
    if !tools.is_empty() {
        tell(&mut told, &description(tools));
    }
    told
}

/// Puts a text behind the first system message, or before all messages.
fn tell(messages: &mut Vec<Message>, text: &str) {
    let system = messages.first_mut().filter(|first| first.role == SYSTEM);
    match system {
        Some(system) if system.content.trim().is_empty() => text.clone_into(&mut system.content),
        Some(system) => system.content = format!("{}\n\n{text}", system.content),
        None => messages.insert(0, Message::new(SYSTEM, text)),
    }
}

fn response(message: &Message) -> String {
    format!("<tool_response>\n{}\n</tool_response>", message.content)
}

/// A turn with its calls as text.
fn spoken(message: &Message) -> Message {
    let calls = message.tool_calls.iter().map(call);
    let parts: Vec<String> = std::iter::once(message.content.clone())
        .filter(|content| !content.is_empty())
        .chain(calls)
        .collect();
    Message {
        content: parts.join("\n"),
        tool_calls: Vec::new(),
        ..message.clone()
    }
}

fn call(call: &ToolCall) -> String {
    let call = spelt(&json!({"name": call.name, "arguments": call.arguments}));
    format!("<tool_call>\n{call}\n</tool_call>")
}

fn description(tools: &[ToolDefinition]) -> String {
    let lines: Vec<String> = tools.iter().map(|tool| spelt(tool.json())).collect();
    format!(
        "# Tools\n\n\
         You may call one or more functions to assist with the user query.\n\n\
         You are provided with function signatures within <tools></tools> XML tags:\n\
         <tools>\n{}\n</tools>\n\n\
         For each function call, return a json object with function name and arguments within \
         <tool_call></tool_call> XML tags:\n\
         <tool_call>\n\
         {{\"name\": <function-name>, \"arguments\": <args-json-object>}}\n\
         </tool_call>",
        lines.join("\n")
    )
}

fn spelt(value: &Value) -> String {
    dumps(value, JsonStyle::default()).expect("keys of JSON values are strings")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnswerParser, ToolCallFormat};

    fn tools() -> Vec<ToolDefinition> {
        let tool = json!({"name": "now", "parameters": {"type": "object", "properties": {}}});
        vec![ToolDefinition::from_json(tool).unwrap()]
    }

    fn contents(messages: &[Message], tools: &[ToolDefinition]) -> Vec<(String, String)> {
        let told = tools_in_text(messages, tools).into_iter();
        told.map(|message| (message.role, message.content))
            .collect()
    }

    #[test]
    fn the_description_goes_into_the_first_system_message() {
        let user = Message::new("user", "hi");
        let own = Message::new("system", "Be brief.");
        let alone = contents(std::slice::from_ref(&user), &tools());
        let merged = contents(&[own, user], &tools());
        assert_eq!((alone.len(), merged.len()), (2, 2));
        assert_eq!(alone[0].0, "system");
        assert!(
            alone[0]
                .1
                .contains("{\"type\": \"function\", \"function\": {\"name\": \"now\"")
        );
        assert_eq!(merged[0].1, format!("Be brief.\n\n{}", alone[0].1));
    }

    #[test]
    fn calls_and_what_they_gave_are_told_without_tools_too() {
        let called = Message {
            tool_calls: vec![
                ToolCall {
                    name: "now".to_owned(),
                    arguments: json!({"zone": "北京"}).as_object().unwrap().clone(),
                };
                2
            ],
            ..Message::new("assistant", "One moment.")
        };
        let given = [Message::new("tool", "12:00"), Message::new("tool", "13:00")];
        let [first, second] = given;
        let told = contents(&[called, first, second, Message::new("user", "so?")], &[]);
        let call =
            "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"zone\": \"北京\"}}\n</tool_call>";
        let response = |text: &str| format!("<tool_response>\n{text}\n</tool_response>");
        let wanted = [
            ("assistant", format!("One moment.\n{call}\n{call}")),
            (
                "user",
                format!("{}\n{}", response("12:00"), response("13:00")),
            ),
            ("user", "so?".to_owned()),
        ];
        assert_eq!(told, wanted.map(|(role, text)| (role.to_owned(), text)));
    }

    #[test]
    fn what_is_told_of_a_call_is_read_back() {
        let made = ToolCall {
            name: "now".to_owned(),
            arguments: json!({"a": [1, "b\n"]}).as_object().unwrap().clone(),
        };
        let message = Message {
            tool_calls: vec![made.clone()],
            ..Message::new("assistant", "")
        };
        let text = tools_in_text(&[message], &[]).remove(0).content;
        let parser = AnswerParser::new(Some(ToolCallFormat::TaggedJson), &tools(), false);
        assert_eq!(parser.parse(&text).tool_calls, [made]);
    }
}
