//! Calls in Python: `tool_call(key=value)` in a fence, values as literals that Python and JSON
//! write alike, but for `True`, `False` and `None`.

use serde_json::Value;

use super::lark::{self, literal};
use super::{Parameter, own_schema, parameters, unwritable};
use crate::{TokenError, ToolDefinition};

/// The rules of a tool's call. Arguments come in the order of the schema; `first_N` goes on from
/// the Nth where none was written, `next_N` where some was.
pub(super) fn call(tool: &ToolDefinition, index: usize) -> Result<Vec<String>, TokenError> {
    let parameters = parameters(tool)?;
    let open = literal(&format!("{}\n ```python\ntool_call(", tool.name()));
    let mut lines = vec![format!("call_{index}: {open} first_{index}_0 \")\\n```\"")];
    for (at, parameter) in parameters.iter().enumerate() {
        lines.push(format!("arg_{index}_{at}: {}", argument(tool, parameter)?));
        let behind = format!("next_{index}_{}", at + 1);
        for (name, comma) in [("first", ""), ("next", "\", \" ")] {
            let skipped = if parameter.is_required {
                String::new()
            } else {
                format!(" | {name}_{index}_{}", at + 1)
            };
            lines.push(format!(
                "{name}_{index}_{at}: {comma}arg_{index}_{at} {behind}{skipped}"
            ));
        }
    }
    let end = parameters.len();
    lines.push(format!("first_{index}_{end}: \"\""));
    lines.push(format!("next_{index}_{end}: \"\""));
    Ok(lines)
}

fn argument(tool: &ToolDefinition, parameter: &Parameter<'_>) -> Result<String, TokenError> {
    let name = parameter.name;
    let fits = |char: char| char.is_alphanumeric() || char == '_';
    if name.is_empty() || !name.chars().all(fits) {
        return Err(unwritable(
            tool,
            format!("Python has no parameter {name:?}"),
        ));
    }
    let schema = parameter.schema;
    let is_plain = |kind: &str| schema["type"] == kind && !has_values(schema);
    let value = if is_plain("boolean") {
        "(\"True\" | \"False\")".to_owned()
    } else if is_plain("null") {
        "\"None\"".to_owned()
    } else {
        lark::json(own_schema(tool, schema))
    };
    Ok(format!("{} {value}", literal(&format!("{name}="))))
}

fn has_values(schema: &Value) -> bool {
    !schema["enum"].is_null() || !schema["const"].is_null()
}
