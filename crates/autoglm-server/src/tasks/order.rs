//! What a request to run a task says.

use autoglm_spec::{Record, TaskSpec};
use serde_json::Value;

use super::{RunOrder, StrategyChoice};
use crate::ServerError;
use crate::fields::{Fields, kind};

/// Records of one request at most: some seconds' work with a small model, and a bound on what a
/// client can have answered without taking turns with others.
const MOST_RECORDS: usize = 1_000;

/// A request to run a task.
#[derive(Debug)]
pub(super) struct RunRequest {
    pub(super) order: RunOrder,
    /// Whether it is about one record, and gets its answer alone.
    pub(super) is_single: bool,
    /// Whether answers are told one by one.
    pub(super) stream: bool,
}

impl RunRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// A field with a wrong value or of an unknown name, a record that lacks a field of the task.
    pub(super) fn read(spec: &TaskSpec, body: Value) -> Result<Self, ServerError> {
        let mut body = Fields::of(body, "")?;
        let (records, is_single) = take_records(spec, &mut body)?;
        let min_confidence = body.number("min_confidence", (0.0, 1.0))?;
        let strategy = take_strategy(&mut body)?;
        let explain = body.flag("explain")?.unwrap_or(false);
        let stream = body.flag("stream")?.unwrap_or(false);
        body.finish()?;
        Ok(Self {
            order: RunOrder {
                task: spec.name.clone(),
                records,
                min_confidence: min_confidence.map(|least| least as f32),
                strategy,
                explain,
            },
            is_single,
            stream,
        })
    }
}

/// The records, and whether it is one that stands alone.
fn take_records(spec: &TaskSpec, body: &mut Fields) -> Result<(Vec<Record>, bool), ServerError> {
    if let Some(value) = body.take("record") {
        if body.take("records").is_some() {
            return Err(ServerError::invalid(
                "records",
                "a list beside record",
                "one of the two",
            ));
        }
        return Ok((vec![record_of(spec, value, "record")?], true));
    }
    let list = body.list("records", MOST_RECORDS)?;
    let list = list.ok_or_else(|| ServerError::Missing {
        field: "record".to_owned(),
    })?;
    if list.is_empty() {
        return Err(ServerError::invalid(
            "records",
            "an empty list",
            format!("1 to {MOST_RECORDS} records"),
        ));
    }
    let numbered = list.into_iter().enumerate();
    let records: Result<_, _> = numbered
        .map(|(index, value)| record_of(spec, value, &format!("records[{index}]")))
        .collect();
    Ok((records?, false))
}

/// A record with all fields that the task reads; it may have more.
pub(super) fn record_of(spec: &TaskSpec, value: Value, place: &str) -> Result<Record, ServerError> {
    let Value::Object(record) = value else {
        return Err(ServerError::invalid(place, kind(&value), "an object"));
    };
    let lacks = |name: &str| record.get(name).is_none_or(Value::is_null);
    match spec.fields.iter().find(|field| lacks(&field.name)) {
        None => Ok(record),
        Some(field) => Err(ServerError::Missing {
            field: format!("{place}.{}", field.name),
        }),
    }
}

/// A strategy's number, or `none` for the task as it is written.
fn take_strategy(body: &mut Fields) -> Result<Option<StrategyChoice>, ServerError> {
    let Some(value) = body.take("strategy") else {
        return Ok(None);
    };
    match (value.as_i64(), value.as_str()) {
        (Some(number), _) if number >= 1 => Ok(Some(StrategyChoice::Number(number))),
        (_, Some("none")) => Ok(Some(StrategyChoice::None)),
        _ => Err(body.wrong("strategy", &value, "a strategy's number, or none")),
    }
}
