//! What a chat template is given: messages, tools and options, under the names that templates know.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks, as templates call it: `system`, `user`, `assistant`, or `tool` for what a
    /// called tool gave.
    pub role: String,
    /// What is said.
    pub content: String,
    /// What the assistant thought before it spoke.
    pub reasoning: Option<String>,
    /// The tools that the assistant calls.
    pub tool_calls: Vec<ToolCall>,
}

impl Message {
    /// What this role says.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            reasoning: None,
            tool_calls: Vec::new(),
        }
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = json!({"role": self.role, "content": self.content});
        if let Some(reasoning) = &self.reasoning {
            fields["reasoning_content"] = json!(reasoning);
        }
        if !self.tool_calls.is_empty() {
            let call = |call: &ToolCall| json!({"type": "function", "function": call});
            fields["tool_calls"] = self.tool_calls.iter().map(call).collect();
        }
        fields.serialize(serializer)
    }
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// What it is given, by name.
    pub arguments: Map<String, Value>,
}

/// A tool that a model may call: the JSON of a function with `name`, `description` and
/// `parameters`, a JSON schema.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ToolDefinition(Value);

impl ToolDefinition {
    /// Takes a definition as it is usually written, `{"type": "function", "function": {…}}`, or
    /// the function alone; `None` for what is no object with a name.
    pub fn from_json(definition: Value) -> Option<Self> {
        let wrapped = match definition.get("function") {
            Some(_) => definition,
            None => json!({"type": "function", "function": definition}),
        };
        wrapped["function"]["name"].as_str()?;
        Some(Self(wrapped))
    }

    /// The tool's name.
    pub fn name(&self) -> &str {
        self.0["function"]["name"].as_str().unwrap_or_default()
    }

    /// The definition, `{"type": "function", "function": {…}}`.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// The schema of one argument; null where there is none.
    pub(crate) fn argument(&self, name: &str) -> &Value {
        &self.0["function"]["parameters"]["properties"][name]
    }
}

/// How a conversation is written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatOptions {
    /// The tools that the model may call.
    pub tools: Vec<ToolDefinition>,
    /// Whether the model shall think before it answers; `None` leaves it to the template.
    pub thinking: Option<bool>,
}

/// Changes every text of a value: keys of objects too, which are names of arguments.
pub(crate) fn map_texts(value: &mut Value, change: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(list) => list.iter_mut().for_each(|item| map_texts(item, change)),
        Value::Object(object) => {
            let changed = std::mem::take(object).into_iter().map(|(key, mut item)| {
                map_texts(&mut item, change);
                (change(&key), item)
            });
            *object = changed.collect();
        }
        _ => {}
    }
}

/// Whether some text of a value has this character.
pub(crate) fn has_char(value: &Value, char: char) -> bool {
    match value {
        Value::String(text) => text.contains(char),
        Value::Array(list) => list.iter().any(|item| has_char(item, char)),
        Value::Object(object) => object
            .iter()
            .any(|(key, item)| key.contains(char) || has_char(item, char)),
        _ => false,
    }
}
