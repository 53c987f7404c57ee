//! The form that an answer must have.

use autoglm_spec::Constraint;
use serde_json::{Value, json};

use crate::ServerError;
use crate::fields::Fields;

/// Takes `response_format`.
pub(crate) fn take_response_format(body: &mut Fields) -> Result<Option<Constraint>, ServerError> {
    let Some(mut format) = body.object("response_format")? else {
        return Ok(None);
    };
    let constraint = match kind_of(&mut format)? {
        "json_schema" => {
            let schema = format.object("json_schema")?;
            let mut schema = schema.ok_or_else(|| ServerError::Missing {
                field: format.path("json_schema"),
            })?;
            let constraint = take_schema(&mut schema)?;
            schema.finish()?;
            Some(constraint)
        }
        "json_object" => Some(any_object()),
        _ => None,
    };
    format.finish()?;
    Ok(constraint)
}

/// Takes `text.format`, where the schema's fields stand beside its type.
pub(crate) fn take_text_format(text: &mut Fields) -> Result<Option<Constraint>, ServerError> {
    let Some(mut format) = text.object("format")? else {
        return Ok(None);
    };
    let constraint = match kind_of(&mut format)? {
        "json_schema" => Some(take_schema(&mut format)?),
        "json_object" => Some(any_object()),
        _ => None,
    };
    format.finish()?;
    Ok(constraint)
}

fn kind_of(format: &mut Fields) -> Result<&'static str, ServerError> {
    let kind = format.word("type", &["text", "json_object", "json_schema"])?;
    kind.ok_or_else(|| ServerError::Missing {
        field: format.path("type"),
    })
}

fn any_object() -> Constraint {
    Constraint::JsonSchema(json!({"type": "object"}))
}

/// Answers keep to a schema whether or not `strict` is set.
fn take_schema(fields: &mut Fields) -> Result<Constraint, ServerError> {
    fields.need_text("name")?;
    fields.text("description")?;
    fields.flag("strict")?;
    match fields.need("schema")? {
        schema @ (Value::Object(_) | Value::Bool(_)) => Ok(Constraint::JsonSchema(schema)),
        other => Err(fields.wrong("schema", &other, "a JSON schema")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &Value) -> Result<Option<Constraint>, ServerError> {
        let mut body = Fields::of(json!({ "response_format": format }), "").unwrap();
        take_response_format(&mut body)
    }

    #[test]
    fn each_form_has_its_constraint() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
        let named = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": true}});
        assert_eq!(read(&json!({"type": "text"})).unwrap(), None);
        assert_eq!(read(&named).unwrap(), Some(Constraint::JsonSchema(schema)));
        assert_eq!(
            read(&json!({"type": "json_object"})).unwrap(),
            Some(any_object())
        );
    }

    #[test]
    fn a_form_without_its_schema_is_refused() {
        let check = |format: Value, field: &str| {
            assert_eq!(read(&format).unwrap_err().field(), Some(field));
        };
        check(json!({}), "response_format.type");
        check(
            json!({"type": "json_schema"}),
            "response_format.json_schema",
        );
        check(
            json!({"type": "json_schema", "json_schema": {"name": "a", "schema": "object"}}),
            "response_format.json_schema.schema",
        );
        check(
            json!({"type": "grammar", "grammar": ""}),
            "response_format.type",
        );
    }
}
