//! What stands behind the question mark of an address, read as strictly as a body.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde_json::Value;

use crate::ServerError;
use crate::fields::{Fields, quoted};

/// The parameters of a request.
pub(super) type Parameters = Result<Query<BTreeMap<String, String>>, QueryRejection>;

/// The parameters as fields.
///
/// # Errors
/// What is no list of parameters.
pub(super) fn fields(parameters: Parameters) -> Result<Fields, ServerError> {
    let Query(given) = parameters.map_err(|error| {
        let said = error.body_text();
        ServerError::invalid("the query", quoted(&said), "parameters as NAME=VALUE")
    })?;
    let texts = given
        .into_iter()
        .map(|(name, text)| (name, Value::String(text)));
    Fields::of(Value::Object(texts.collect()), "")
}

/// A whole number from 0 on that a parameter gives.
///
/// # Errors
/// Anything else.
pub(super) fn number(fields: &mut Fields, name: &str) -> Result<Option<i64>, ServerError> {
    let text = fields.text(name)?;
    text.map(|text| whole(name, &text)).transpose()
}

/// The parameter `limit`: how many of a list there are at most.
///
/// # Errors
/// Anything but a number from 1 to `most`.
pub(super) fn limit(fields: &mut Fields, usual: usize, most: usize) -> Result<usize, ServerError> {
    let Some(given) = number(fields, "limit")? else {
        return Ok(usual);
    };
    let fits = usize::try_from(given)
        .ok()
        .filter(|count| (1..=most).contains(count));
    let wanted = format!("a number from 1 to {most}");
    fits.ok_or_else(|| ServerError::invalid("limit", given.to_string(), wanted))
}

/// A whole number from 0 on, as a parameter or a part of a path has it.
///
/// # Errors
/// Anything else.
pub(super) fn whole(name: &str, text: &str) -> Result<i64, ServerError> {
    let number = text.parse().ok().filter(|number: &i64| *number >= 0);
    number.ok_or_else(|| ServerError::invalid(name, quoted(text), "a whole number from 0 on"))
}
