//! The tools of a request, and which of them must be called.

use autoglm_token::{ChatOptions, Message, ToolDefinition};
use serde_json::{Value, json};

use crate::ServerError;
use crate::backend::{Talk, ToolChoice};
use crate::fields::{Fields, quoted};

/// Tools of a request at most, and the longest name.
const MOST_TOOLS: usize = 128;
const LONGEST_NAME: usize = 64;

/// The tools of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tools {
    /// Those that the model is told of.
    pub(crate) known: Vec<ToolDefinition>,
    /// Whether one must be called.
    pub(crate) choice: ToolChoice,
    /// Whether several may be called at once.
    pub(crate) parallel: bool,
}

impl Tools {
    /// A conversation with these tools.
    pub(crate) fn talk(self, messages: Vec<Message>, thinking: Option<bool>) -> Talk {
        Talk {
            messages,
            options: ChatOptions {
                tools: self.known,
                thinking,
            },
            choice: self.choice,
            parallel: self.parallel,
        }
    }
}

/// Takes `tools`, `tool_choice` and `parallel_tool_calls`.
pub(crate) fn take_tools(body: &mut Fields) -> Result<Tools, ServerError> {
    let list = body.list("tools", MOST_TOOLS)?.unwrap_or_default();
    let path = body.path("tools");
    let numbered = list.into_iter().enumerate();
    let tools = numbered
        .map(|(index, value)| tool(value, &format!("{path}[{index}]")))
        .collect::<Result<Vec<_>, _>>()?;
    check_names(&tools, &path)?;
    let parallel = body.flag("parallel_tool_calls")?;
    if parallel.is_some() && tools.is_empty() {
        let field = body.path("parallel_tool_calls");
        return Err(ServerError::invalid(
            field,
            "a boolean",
            "nothing, unless there are tools",
        ));
    }
    choose(body, tools, parallel.unwrap_or(true))
}

/// One tool: `{"type": "function", "function": {…}}`, or with the function's fields beside its
/// type, as the responses endpoint has it.
fn tool(value: Value, path: &str) -> Result<ToolDefinition, ServerError> {
    let mut fields = Fields::of(value, path)?;
    let kind = fields.word("type", &["function"])?;
    kind.ok_or_else(|| ServerError::Missing {
        field: fields.path("type"),
    })?;
    let function = match fields.object("function")? {
        Some(mut function) => {
            let read = function_of(&mut function)?;
            function.finish()?;
            read
        }
        None => function_of(&mut fields)?,
    };
    fields.finish()?;
    ToolDefinition::from_json(function).ok_or_else(|| ServerError::Missing {
        field: format!("{path}.function.name"),
    })
}

fn function_of(fields: &mut Fields) -> Result<Value, ServerError> {
    let name = fields.need_text("name")?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_plain) {
        let wanted = format!("1 to {LONGEST_NAME} of the characters a-z, A-Z, 0-9, _ and -");
        return Err(ServerError::invalid(
            fields.path("name"),
            quoted(&name),
            wanted,
        ));
    }
    let mut function = json!({ "name": name });
    if let Some(description) = fields.text("description")? {
        function["description"] = Value::String(description);
    }
    let parameters = fields.take("parameters");
    let parameters = parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    if !parameters.is_object() {
        return Err(fields.wrong("parameters", &parameters, "a JSON schema, an object"));
    }
    function["parameters"] = parameters;
    // Arguments of a call that must be made keep to the schema in any case.
    fields.flag("strict")?;
    Ok(function)
}

fn check_names(tools: &[ToolDefinition], path: &str) -> Result<(), ServerError> {
    for (index, tool) in tools.iter().enumerate() {
        if tools[..index]
            .iter()
            .any(|other| other.name() == tool.name())
        {
            return Err(ServerError::invalid(
                format!("{path}[{index}].function.name"),
                format!("{} twice", quoted(tool.name())),
                "names that differ",
            ));
        }
    }
    Ok(())
}

fn choose(
    body: &mut Fields,
    tools: Vec<ToolDefinition>,
    parallel: bool,
) -> Result<Tools, ServerError> {
    let field = body.path("tool_choice");
    let Some(value) = body.take("tool_choice") else {
        return Ok(Tools {
            known: tools,
            choice: ToolChoice::Auto,
            parallel,
        });
    };
    let choice = match &value {
        Value::String(word) if word == "none" => {
            return Ok(Tools::default());
        }
        Value::String(word) if word == "auto" => ToolChoice::Auto,
        Value::String(word) if word == "required" => ToolChoice::Required,
        Value::Object(_) => ToolChoice::Named(named(value, &field)?),
        other => {
            let wanted = "none, auto, required, or a function";
            return Err(body.wrong("tool_choice", other, wanted));
        }
    };
    check_choice(&choice, &tools, &field)?;
    Ok(Tools {
        known: tools,
        choice,
        parallel,
    })
}

/// The name in `{"type": "function", "function": {"name": …}}`, or in the flat form.
fn named(value: Value, field: &str) -> Result<String, ServerError> {
    let mut fields = Fields::of(value, field)?;
    fields.word("type", &["function"])?;
    let name = match fields.object("function")? {
        Some(mut function) => {
            let name = function.need_text("name")?;
            function.finish()?;
            name
        }
        None => fields.need_text("name")?,
    };
    fields.finish()?;
    Ok(name)
}

fn check_choice(
    choice: &ToolChoice,
    tools: &[ToolDefinition],
    field: &str,
) -> Result<(), ServerError> {
    match choice {
        ToolChoice::Auto => Ok(()),
        ToolChoice::Required if !tools.is_empty() => Ok(()),
        ToolChoice::Named(name) if tools.iter().any(|tool| tool.name() == name) => Ok(()),
        ToolChoice::Required => Err(ServerError::invalid(
            field,
            "required",
            "auto or none where there are no tools",
        )),
        ToolChoice::Named(name) => {
            let names: Vec<&str> = tools.iter().map(ToolDefinition::name).collect();
            let wanted = format!("one of the tools ({})", names.join(", "));
            Err(ServerError::invalid(field, quoted(name), wanted))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<Tools, ServerError> {
        let mut fields = Fields::of(body, "").unwrap();
        let tools = take_tools(&mut fields)?;
        fields.finish()?;
        Ok(tools)
    }

    fn weather() -> Value {
        json!({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}})
    }

    #[test]
    fn tools_are_read_in_both_spellings() {
        let flat = json!({"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": true});
        let nested = read(json!({"tools": [weather()]})).unwrap();
        assert_eq!(nested, read(json!({"tools": [flat]})).unwrap());
        assert_eq!(nested.known[0].name(), "weather");
    }

    #[test]
    fn the_choice_must_be_among_the_tools() {
        let named = |name: &str| {
            let choice = json!({"type": "function", "function": {"name": name}});
            read(json!({"tools": [weather()], "tool_choice": choice}))
        };
        assert_eq!(
            named("weather").unwrap().choice,
            ToolChoice::Named("weather".to_owned())
        );
        let error = named("whether").unwrap_err();
        assert_eq!(
            error.to_string(),
            "tool_choice: got \"whether\", want one of the tools (weather)"
        );
        assert!(read(json!({"tool_choice": "required"})).is_err());
    }

    #[test]
    fn with_no_choice_the_model_is_told_of_no_tool() {
        let tools = read(json!({"tools": [weather()], "tool_choice": "none"})).unwrap();
        assert_eq!(tools, Tools::default());
    }

    #[test]
    fn a_tool_that_is_none_is_named_by_its_place() {
        let check = |tool: Value, field: &str| {
            let error = read(json!({"tools": [weather(), tool]})).unwrap_err();
            assert_eq!(error.field(), Some(field), "{error}");
        };
        check(weather(), "tools[1].function.name");
        check(json!({"type": "web_search"}), "tools[1].type");
        check(
            json!({"type": "function", "function": {"name": "two words"}}),
            "tools[1].function.name",
        );
        check(
            json!({"type": "function", "function": {"name": "f", "parameters": []}}),
            "tools[1].function.parameters",
        );
    }
}
