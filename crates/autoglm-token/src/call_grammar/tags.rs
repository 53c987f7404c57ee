//! Calls with keys and values in tags of their own. Strings stand in them as they are, everything
//! else as JSON; which of the two a text is, its schema decides, or else whether it is JSON.

use serde_json::{Value, json};

use super::lark::{self, literal, one_of, regex, without};
use super::{Parameter, own_schema, parameters, unwritable};
use crate::python_json::{JsonStyle, dumps};
use crate::tool_call::{is_only_string, typed};
use crate::{TokenError, ToolDefinition};

/// How often a schema may refer to another one before it stands for a value.
const REFERENCE_LIMIT: usize = 8;

const END: &str = "</arg_value>";

/// What no text of a value may have: it would end sooner.
const ENDS: [&str; 2] = [END, "</tool_call>"];

/// The rules of a tool's call: arguments in the order of the schema.
pub(super) fn call(tool: &ToolDefinition, index: usize) -> Result<Vec<String>, TokenError> {
    let mut body = vec![
        literal(&format!("<tool_call>{}", tool.name())),
        "\"\\n\"?".to_owned(),
    ];
    let mut rules = Vec::new();
    for (at, parameter) in parameters(tool)?.iter().enumerate() {
        let name = format!("arg_{index}_{at}");
        let optional = if parameter.is_required { "" } else { "?" };
        body.push(format!("{name}{optional}"));
        rules.extend(argument(tool, parameter, &name)?);
    }
    body.push(literal("</tool_call>"));
    let call = format!("call_{index}: {}", body.join(" "));
    Ok([vec![call], rules].concat())
}

fn argument(
    tool: &ToolDefinition,
    parameter: &Parameter<'_>,
    rule: &str,
) -> Result<Vec<String>, TokenError> {
    let key = parameter.name;
    if key.is_empty() || key.contains('<') {
        return Err(unwritable(
            tool,
            format!("tags cannot hold the parameter {key:?}"),
        ));
    }
    let mut values = Values {
        tool,
        parameter,
        rule,
        options: Vec::new(),
        terminals: Vec::new(),
    };
    values.add(parameter.schema, 0)?;
    if values.options.is_empty() {
        let reason = format!("no value of the parameter {key:?} would be read back");
        return Err(unwritable(tool, reason));
    }
    let open = literal(&format!("<arg_key>{key}</arg_key>"));
    let options = one_of(values.options);
    let argument = format!("{rule}: {open} \"\\n\"? \"<arg_value>\" ({options}) \"\\n\"?");
    Ok([vec![argument], values.terminals].concat())
}

/// The ways to write a parameter's value, closing tag included.
struct Values<'a> {
    tool: &'a ToolDefinition,
    parameter: &'a Parameter<'a>,
    rule: &'a str,
    options: Vec<String>,
    /// Terminals that the options use.
    terminals: Vec<String>,
}

impl Values<'_> {
    /// Adds the values of a schema that is the parameter's, or a part of it.
    fn add(&mut self, schema: &Value, depth: usize) -> Result<(), TokenError> {
        if depth > REFERENCE_LIMIT {
            let key = self.parameter.name;
            let reason = format!("the schema of {key:?} refers to itself too deeply");
            return Err(unwritable(self.tool, reason));
        }
        if let Some(values) = values(schema) {
            for value in values {
                self.add_value(value);
            }
            return Ok(());
        }
        if let Some(target) = schema["$ref"].as_str() {
            let target = self.referred(target)?;
            return self.add(&target, depth + 1);
        }
        if let Some(parts) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            return parts.iter().try_for_each(|part| self.add(part, depth + 1));
        }
        self.add_kinds(schema);
        Ok(())
    }

    /// What a schema's types allow.
    fn add_kinds(&mut self, schema: &Value) {
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => vec!["string", "null", "boolean", "number", "object", "array"],
        };
        if kinds.contains(&"string") {
            self.add_text(schema);
        }
        let others: Vec<&str> = kinds.into_iter().filter(|kind| *kind != "string").collect();
        if !others.is_empty() {
            let mut schema = own_schema(self.tool, schema);
            schema["type"] = json!(others);
            self.options
                .push(format!("{} {}", lark::json(schema), literal(END)));
        }
    }

    /// One value, if it is read back as what it is.
    fn add_value(&mut self, value: &Value) {
        let text = match value {
            Value::String(text) => text.clone(),
            other => dumps(other, JsonStyle::default()).expect("keys of JSON values are strings"),
        };
        let is_whole = !ENDS.iter().any(|end| text.contains(end));
        if is_whole && typed(&text, self.parameter.schema) == *value {
            self.options.push(literal(&format!("{text}{END}")));
        }
    }

    /// Text as it stands, within the limits of a schema of strings.
    fn add_text(&mut self, schema: &Value) {
        let mut parts = vec![without(&ENDS)];
        let bound = |name: &str| schema[name].as_u64();
        if bound("minLength").is_some() || bound("maxLength").is_some() {
            let least = bound("minLength").unwrap_or(0);
            let most = bound("maxLength").map_or_else(String::new, |most| most.to_string());
            parts.push(regex(&format!("(?s:.{{{least},{most}}})")));
        }
        if let Some(pattern) = schema["pattern"].as_str() {
            parts.push(regex(&anchored(pattern)));
        }
        if !is_only_string(self.parameter.schema) {
            // What is JSON would be read as JSON.
            parts.push("~/(true|false|null)\\s*/".to_owned());
            parts.push("~/[\\s\\-0-9{\\[\"](?s:.*)/".to_owned());
        }
        let name = format!("{}_{}", self.rule.to_uppercase(), self.terminals.len());
        self.terminals
            .push(format!("{name}: ({}) {}", parts.join(" & "), literal(END)));
        self.options.push(name);
    }

    /// The schema that a reference inside the parameters means.
    fn referred(&self, target: &str) -> Result<Value, TokenError> {
        let parameters = &self.tool.json()["function"]["parameters"];
        let found = target
            .strip_prefix('#')
            .and_then(|at| parameters.pointer(at));
        found.cloned().ok_or_else(|| {
            let reason = format!("there is no schema {target:?} in its parameters");
            unwritable(self.tool, reason)
        })
    }
}

/// The values that a schema lists.
fn values(schema: &Value) -> Option<&[Value]> {
    match &schema["const"] {
        Value::Null => schema["enum"].as_array().map(Vec::as_slice),
        value => Some(std::slice::from_ref(value)),
    }
}

/// A schema's pattern, which may match anywhere, as one that matches the whole text.
fn anchored(pattern: &str) -> String {
    let anywhere = "(?s:.*)";
    let (before, rest) = match pattern.strip_prefix('^') {
        Some(rest) => ("", rest),
        None => (anywhere, pattern),
    };
    let is_anchor = rest.ends_with('$') && !rest.ends_with("\\$");
    let (rest, behind) = match rest.strip_suffix('$').filter(|_| is_anchor) {
        Some(rest) => (rest, ""),
        None => (rest, anywhere),
    };
    format!("{before}(?:{rest}){behind}")
}
