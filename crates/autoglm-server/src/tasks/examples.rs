//! The labelled records that teach a task.

use std::sync::Arc;

use autoglm_spec::{Example, TaskSpec};
use autoglm_task::library::Entry;
use axum::response::Response;
use serde_json::{Value, json};

use super::Asked;
use super::order::record_of;
use super::query::{Parameters, fields, limit, number, whole};
use crate::ServerError;
use crate::app::App;
use crate::fields::{Fields, one_or_more};
use crate::http::json_response;

/// Labelled records of one request at most.
const MOST_EXAMPLES: usize = 1_000;
/// How many are listed where a request does not say.
const USUAL_LIMIT: usize = 100;

/// Lists them in the order in which they came: at most `limit`, behind the one with the number
/// `after`.
pub(super) async fn list(
    app: Arc<App>,
    task: String,
    parameters: Parameters,
) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    let mut parameters = fields(parameters)?;
    let after = number(&mut parameters, "after")?.unwrap_or(0);
    let limit = limit(&mut parameters, USUAL_LIMIT, MOST_EXAMPLES)?;
    parameters.finish()?;
    let entries = asked.ask(|desk, task| desk.examples(task)).await?;
    let total = entries.len();
    let mut rest = entries.iter().filter(|entry| entry.id > after);
    let data: Vec<Value> = rest.by_ref().take(limit).map(told).collect();
    Ok(json_response(&json!({
        "object": "list",
        "data": data,
        "has_more": rest.next().is_some(),
        "total": total,
    })))
}

fn told(entry: &Entry) -> Value {
    json!({
        "id": entry.id,
        "record": entry.example.input,
        "answer": entry.example.output,
        "source": entry.source,
        "added_ms": entry.added_ms,
    })
}

/// Adds one, or a list of them.
pub(super) async fn add(app: Arc<App>, task: String, body: Value) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    let one = |value, place: &str| example(&asked.spec, value, place);
    let examples = one_or_more(body, MOST_EXAMPLES, one)?;
    let added = asked.ask(move |desk, task| desk.add_examples(task, &examples));
    Ok(json_response(&json!(added.await?)))
}

/// Removes one.
pub(super) async fn remove(
    app: Arc<App>,
    (task, id): (String, String),
) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    let id = whole("example", &id)?;
    asked
        .ask(move |desk, task| desk.remove_example(task, id))
        .await?;
    Ok(json_response(&json!({"id": id, "deleted": true})))
}

fn example(spec: &TaskSpec, value: Value, place: &str) -> Result<Example, ServerError> {
    let mut fields = Fields::of(value, place)?;
    let record = fields.need("record")?;
    let input = record_of(spec, record, &fields.path("record"))?;
    let output = fields.need_text("answer")?;
    fields.finish()?;
    Ok(Example { input, output })
}
