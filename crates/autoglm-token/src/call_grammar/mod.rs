//! Grammars of answers that call a tool: whatever a model writes under one is read by
//! [`AnswerParser`](crate::AnswerParser) as calls of allowed tools, with arguments that satisfy the
//! tools' schemas.
//!
//! The tags of a call are written as text. Where the vocabulary has tokens for them that are part
//! of a text the engine takes those; control tokens, which no text contains, are not asked for.

mod lark;
mod python;
mod tags;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::{TokenError, ToolCallFormat, ToolDefinition};
use lark::{literal, one_of};

/// Which tools an answer must call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// Any of them.
    Required,
    /// The one of this name.
    Named(&'a str),
}

/// What an answer that calls a tool looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallRules<'a> {
    /// Which tools it may call.
    pub choice: ToolChoice<'a>,
    /// Whether it may make several calls. Formats in which the call is the whole answer make one.
    pub parallel: bool,
    /// Whether the prompt has opened the reasoning, which then comes first.
    pub thinks: bool,
}

/// A grammar in the Lark notation of `llguidance` that derives answers which call tools.
///
/// # Errors
/// No tools, none of the wanted name, a name that the format cannot write, or parameters whose
/// values it cannot write so that they are read back.
pub fn call_grammar(
    format: ToolCallFormat,
    tools: &[ToolDefinition],
    rules: CallRules<'_>,
) -> Result<String, TokenError> {
    let allowed = allowed(tools, rules.choice)?;
    let mut lines = vec!["%llguidance {}".to_owned(), String::new()];
    let many = rules.parallel && format.is_tagged();
    let calls = if many { "call (\"\\n\" call)*" } else { "call" };
    if rules.thinks {
        lines.push(format!("start: thought \"\\n\"? \"\\n\"? {calls}"));
        // Up to the first closing tag, as it is read.
        lines.push("thought[lazy]: /(?s:.*)<\\/think>/".to_owned());
    } else {
        lines.push(format!("start: {calls}"));
    }
    let names = (0..allowed.len()).map(|index| format!("call_{index}"));
    lines.push(format!("call: {}", one_of(names)));
    for (index, tool) in allowed.into_iter().enumerate() {
        check_name(tool.name())?;
        lines.extend(call(format, tool, index)?);
    }
    Ok(lines.join("\n"))
}

fn allowed<'t>(
    tools: &'t [ToolDefinition],
    choice: ToolChoice<'_>,
) -> Result<Vec<&'t ToolDefinition>, TokenError> {
    let is_allowed = |tool: &&ToolDefinition| match choice {
        ToolChoice::Required => true,
        ToolChoice::Named(name) => tool.name() == name,
    };
    let allowed: Vec<&ToolDefinition> = tools.iter().filter(is_allowed).collect();
    if allowed.is_empty() {
        return Err(TokenError::NoSuchTool {
            wanted: match choice {
                ToolChoice::Required => None,
                ToolChoice::Named(name) => Some(name.to_owned()),
            },
            known: tools.iter().map(|tool| tool.name().to_owned()).collect(),
        });
    }
    Ok(allowed)
}

/// The rules of one tool's call.
fn call(
    format: ToolCallFormat,
    tool: &ToolDefinition,
    index: usize,
) -> Result<Vec<String>, TokenError> {
    let name = tool.name();
    let (before, behind) = match format {
        ToolCallFormat::TaggedJson => (
            format!("<tool_call>\n{{\"name\": {}, \"arguments\": ", json!(name)),
            "}\n</tool_call>",
        ),
        ToolCallFormat::NameAndJson => (format!("{name}\n"), ""),
        ToolCallFormat::Tags => return tags::call(tool, index),
        ToolCallFormat::Python => return python::call(tool, index),
    };
    let schema = object_schema(tool)?;
    let behind = Some(behind).filter(|text| !text.is_empty()).map(literal);
    Ok(vec![
        format!(
            "call_{index}: {} args_{index} {}",
            literal(&before),
            behind.unwrap_or_default()
        ),
        format!("args_{index}: {}", lark::json(schema)),
    ])
}

/// The schema of a tool's arguments: an object without further properties where it does not say
/// that it has some.
fn object_schema(tool: &ToolDefinition) -> Result<Value, TokenError> {
    let nothing = json!({"type": "object", "properties": {}});
    let mut schema = match &tool.json()["function"]["parameters"] {
        Value::Null => nothing,
        Value::Object(fields) if fields.is_empty() => nothing,
        Value::Object(fields) => Value::Object(fields.clone()),
        _ => {
            return Err(unwritable(
                tool,
                "the parameters are no schema of an object",
            ));
        }
    };
    let fields = schema
        .as_object_mut()
        .expect("it is one of the objects above");
    let kind = fields.entry("type").or_insert_with(|| json!("object"));
    if kind != "object" {
        return Err(unwritable(
            tool,
            "the parameters are no schema of an object",
        ));
    }
    let is_open = ["patternProperties", "$ref", "allOf", "anyOf", "oneOf"];
    if fields.contains_key("properties") && !is_open.iter().any(|key| fields.contains_key(*key)) {
        fields
            .entry("additionalProperties")
            .or_insert_with(|| json!(false));
    }
    Ok(schema)
}

/// A tool's parameters one by one, for formats that write each on its own.
fn parameters(tool: &ToolDefinition) -> Result<Vec<Parameter<'_>>, TokenError> {
    // What is wrong with the schema as a whole is said in the same words.
    object_schema(tool)?;
    let schema = &tool.json()["function"]["parameters"];
    let whole = ["$ref", "allOf", "anyOf", "oneOf", "patternProperties"];
    if whole.iter().any(|key| !schema[*key].is_null()) {
        return Err(unwritable(
            tool,
            "the parameters are more than a list of properties",
        ));
    }
    let properties = schema["properties"].as_object();
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map_or_else(Vec::new, |names| {
            names.iter().filter_map(Value::as_str).collect()
        });
    if required
        .iter()
        .any(|name| properties.is_none_or(|known| !known.contains_key(*name)))
    {
        return Err(unwritable(tool, "a required parameter has no schema"));
    }
    let parameter = |(name, schema)| Parameter {
        name,
        schema,
        is_required: required.contains(&String::as_str(name)),
    };
    Ok(properties.into_iter().flatten().map(parameter).collect())
}

/// One parameter of a tool.
struct Parameter<'t> {
    name: &'t String,
    schema: &'t Value,
    is_required: bool,
}

/// A part of a tool's parameters as a schema of its own, with the definitions that it may refer to.
fn own_schema(tool: &ToolDefinition, schema: &Value) -> Value {
    let mut schema = match schema {
        Value::Object(fields) => fields.clone(),
        other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
    };
    for key in ["$defs", "definitions"] {
        let definitions = &tool.json()["function"]["parameters"][key];
        if !definitions.is_null() {
            schema.entry(key).or_insert_with(|| definitions.clone());
        }
    }
    Value::Object(schema)
}

/// The names that an answer can call: others are not read as calls.
fn check_name(name: &str) -> Result<(), TokenError> {
    let fits = |char: char| char.is_alphanumeric() || "_-.:/".contains(char);
    if !name.is_empty() && name.chars().all(fits) {
        return Ok(());
    }
    Err(TokenError::NoCallGrammar {
        tool: name.to_owned(),
        reason: "its name has other characters than letters, digits and _-.:/".to_owned(),
    })
}

fn unwritable(tool: &ToolDefinition, reason: impl Into<String>) -> TokenError {
    TokenError::NoCallGrammar {
        tool: tool.name().to_owned(),
        reason: reason.into(),
    }
}
