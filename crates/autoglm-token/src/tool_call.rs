//! How each generation of models writes calls of tools, and what a text says of one.

use serde_json::{Map, Value};

use crate::{ToolCall, ToolDefinition};

const CALL_END: &str = "</tool_call>";
const VALUE: &str = "<arg_value>";
const VALUE_END: &str = "</arg_value>";

/// How a model writes calls of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToolCallFormat {
    /// `ChatGLM3`: the tool's name, then Python, `tool_call(key=value)` in a fence.
    Python,
    /// GLM-4: the tool's name, then its arguments as JSON on the next line.
    NameAndJson,
    /// GLM-4.5 to 4.7: `<tool_call>`, the name, and keys and values in tags of their own.
    Tags,
    /// Qwen and Hermes: JSON with `name` and `arguments` in `<tool_call>`.
    TaggedJson,
}

impl ToolCallFormat {
    /// The format that a chat template writes, where it writes calls.
    pub fn of(template: &str) -> Option<Self> {
        let has = |text: &str| template.contains(text);
        if has("<arg_key>") {
            Some(Self::Tags)
        } else if has("<tool_call>") {
            Some(Self::TaggedJson)
        } else if has("tool_call(") || has("[gMASK]sop<|system|>") {
            Some(Self::Python)
        } else if has("<|observation|>") {
            Some(Self::NameAndJson)
        } else {
            None
        }
    }

    /// Whether calls stand in `<tool_call>`; the others are the whole answer.
    pub(crate) fn is_tagged(self) -> bool {
        matches!(self, Self::Tags | Self::TaggedJson)
    }

    /// Where the call ends whose text begins here: at the closing tag, but for one inside a string
    /// of JSON. `None` where that is not there yet.
    pub(crate) fn end(self, text: &str, tools: &[ToolDefinition]) -> Option<usize> {
        match self {
            Self::Python | Self::NameAndJson => None,
            Self::TaggedJson if is_json(text) => outside_strings(text, CALL_END),
            Self::TaggedJson => text.find(CALL_END),
            Self::Tags => end_of_tags(text, tools),
        }
    }

    /// The call that a text is: what stands in the tags, or the whole answer.
    pub(crate) fn parse(self, text: &str, tools: &[ToolDefinition]) -> Option<ToolCall> {
        match self {
            Self::Python => parse_python(text),
            Self::NameAndJson => {
                let (name, arguments) = text.split_once('\n')?;
                call(name, serde_json::from_str(arguments).ok()?)
            }
            Self::Tags => parse_tags(text, tools),
            Self::TaggedJson => {
                let mut value: Value = serde_json::from_str(text).ok()?;
                let arguments = value.get_mut("arguments")?.take();
                call(value["name"].as_str()?, arguments)
            }
        }
    }
}

fn call(name: &str, arguments: Value) -> Option<ToolCall> {
    let name = name.trim();
    let fits = |char: char| char.is_alphanumeric() || "_-.:/".contains(char);
    match arguments {
        Value::Object(arguments) if !name.is_empty() && name.chars().all(fits) => Some(ToolCall {
            name: name.to_owned(),
            arguments,
        }),
        _ => None,
    }
}

fn parse_tags(text: &str, tools: &[ToolDefinition]) -> Option<ToolCall> {
    let (name, mut rest) = match text.find("<arg_key>") {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let name = name.trim();
    let tool = tools.iter().find(|tool| tool.name() == name);
    let mut arguments = Map::new();
    while !rest.trim().is_empty() {
        let (key, behind) = element(rest, "<arg_key>", "</arg_key>")?;
        let schema = tool.map_or(&Value::Null, |tool| tool.argument(key));
        let (value, behind) = value(behind, schema)?;
        arguments.insert(key.to_owned(), typed(value, schema));
        rest = behind;
    }
    call(name, Value::Object(arguments))
}

/// What stands between two tags at the start of a text, and what stands behind them.
fn element<'a>(text: &'a str, open: &str, close: &str) -> Option<(&'a str, &'a str)> {
    text.trim_start().strip_prefix(open)?.split_once(close)
}

/// A value in its tags at the start of a text, and what stands behind it.
fn value<'a>(text: &'a str, schema: &Value) -> Option<(&'a str, &'a str)> {
    let inner = text.trim_start().strip_prefix(VALUE)?;
    let end = if is_json(inner) && !is_only_string(schema) {
        outside_strings(inner, VALUE_END).or_else(|| inner.find(VALUE_END))?
    } else {
        inner.find(VALUE_END)?
    };
    Some((&inner[..end], &inner[end + VALUE_END.len()..]))
}

/// The closing tag of a call with values in tags; one inside JSON's strings is none.
fn end_of_tags(text: &str, tools: &[ToolDefinition]) -> Option<usize> {
    let name = text.split("<arg_key>").next().unwrap_or_default().trim();
    let tool = tools.iter().find(|tool| tool.name() == name);
    let mut at = 0;
    loop {
        let end = at + text[at..].find(CALL_END)?;
        let Some(open) = text[at..end].find(VALUE) else {
            return Some(end);
        };
        let before = &text[..at + open];
        at += open + VALUE.len();
        let key = before.rsplit("<arg_key>").next().unwrap_or_default();
        let key = key.split("</arg_key>").next().unwrap_or_default();
        let schema = tool.map_or(&Value::Null, |tool| tool.argument(key));
        if is_json(&text[at..]) && !is_only_string(schema) {
            at += outside_strings(&text[at..], VALUE_END)?;
        }
    }
}

/// Whether a text is an object or a list, if it is JSON.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Where a tag stands first outside the strings of JSON.
fn outside_strings(json: &str, tag: &str) -> Option<usize> {
    let (mut in_string, mut is_escaped) = (false, false);
    for (at, byte) in json.bytes().enumerate() {
        if is_escaped {
            is_escaped = false;
            continue;
        }
        match byte {
            b'"' => in_string = !in_string,
            b'\\' => is_escaped = in_string,
            b'<' if !in_string && json[at..].starts_with(tag) => return Some(at),
            _ => {}
        }
    }
    None
}

/// A value as its schema says: strings are written as they are, everything else as JSON. Without
/// a schema, what is JSON of another type than a string is that.
pub(crate) fn typed(text: &str, schema: &Value) -> Value {
    let string = || Value::String(text.to_owned());
    if is_only_string(schema) {
        return string();
    }
    match serde_json::from_str(text) {
        Ok(Value::String(_)) | Err(_) => string(),
        Ok(value) => value,
    }
}

/// Whether a schema allows strings and nothing else.
pub(crate) fn is_only_string(schema: &Value) -> bool {
    let kind = &schema["type"];
    let kinds = kind
        .as_array()
        .map_or(std::slice::from_ref(kind), Vec::as_slice);
    kinds.iter().all(|kind| kind == "string") && !kinds.is_empty()
}

/// The name, and Python in a fence: a call with named arguments, whose values are literals.
fn parse_python(text: &str) -> Option<ToolCall> {
    let (name, code) = text.split_once('\n')?;
    let code = code.trim().strip_prefix("```python")?.strip_suffix("```")?;
    let mut rest = code.trim().strip_prefix("tool_call(")?.strip_suffix(')')?;
    let mut arguments = Map::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return call(name, Value::Object(arguments));
        }
        let (key, behind) = rest.split_once('=')?;
        let (value, behind) = python_literal(behind.trim_start())?;
        arguments.insert(key.trim().to_owned(), value);
        rest = behind.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(behind) => behind,
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
}

/// A literal at the start of a text, and what stands behind it: a string of either quotes,
/// `True`, `False`, `None`, or what Python and JSON write alike.
fn python_literal(text: &str) -> Option<(Value, &str)> {
    let words = [
        ("True", Value::Bool(true)),
        ("False", Value::Bool(false)),
        ("None", Value::Null),
    ];
    for (word, value) in words {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((value, rest));
        }
    }
    if let Some(rest) = text.strip_prefix('\'') {
        return single_quoted(rest);
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = values.next()?.ok()?;
    Some((value, &text[values.byte_offset()..]))
}

fn single_quoted(text: &str) -> Option<(Value, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' => return Some((Value::String(out), &text[at + 1..])),
            '\\' => out.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other @ ('\'' | '"' | '\\') => other,
                _ => return None,
            }),
            _ => out.push(char),
        }
    }
    None
}
