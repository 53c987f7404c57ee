//! The runs of a task.

use std::sync::Arc;

use autoglm_task::file_name;
use autoglm_task::report::RunSummary;
use axum::response::Response;
use serde_json::{Value, json};

use super::Asked;
use super::query::{Parameters, fields, limit, number, whole};
use crate::ServerError;
use crate::app::App;
use crate::auth::Reach;
use crate::http::json_response;

/// Runs or records that are listed at most.
const MOST: usize = 1_000;
/// How many runs there are where a request does not say.
const USUAL_RUNS: usize = 20;
/// How many of a run's records there are where a request does not say.
const USUAL_RECORDS: usize = 50;

/// Lists them, the latest first.
pub(super) async fn list(
    app: Arc<App>,
    task: String,
    parameters: Parameters,
) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    let mut parameters = fields(parameters)?;
    let limit = limit(&mut parameters, USUAL_RUNS, MOST)?;
    parameters.finish()?;
    let list = asked.ask(move |desk, task| desk.runs(task, limit)).await?;
    let data: Vec<Value> = list.runs.iter().map(told).collect();
    Ok(json_response(&json!({
        "object": "list",
        "data": data,
        "has_more": list.total > limit,
        "total": list.total,
    })))
}

/// One with its records from `first` on.
pub(super) async fn one(
    app: Arc<App>,
    reach: Option<&Reach>,
    (task, run): (String, String),
    parameters: Parameters,
) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    asked.check_reach(reach)?;
    let run = whole("run", &run)?;
    let mut parameters = fields(parameters)?;
    let first = number(&mut parameters, "first")?.unwrap_or(0);
    let limit = limit(&mut parameters, USUAL_RECORDS, MOST)?;
    parameters.finish()?;
    let first = first.unsigned_abs();
    let page = asked.ask(move |desk, task| desk.open_run(task, run, first, limit));
    let page = page.await?;
    let mut told = told(&page.run);
    // A record has the number behind the one before it.
    let next = page.records.last().map_or(first, |last| last.index + 1);
    told["object"] = json!("task.run");
    told["has_more"] = json!(next < page.run.info.records);
    told["data"] = json!(page.records);
    Ok(json_response(&told))
}

/// A run without its task's words; of files their names alone.
fn told(run: &RunSummary) -> Value {
    let info = &run.info;
    let mut told = json!(run);
    told["id"] = json!(info.id);
    told["status"] = json!(info.status);
    told["records"] = json!(info.records);
    told["errors"] = json!(info.errors);
    told["created_ms"] = json!(info.created_ms);
    told["updated_ms"] = json!(info.updated_ms);
    told["model"] = json!(info.key.model.name);
    told["source"] = json!(file_name(&info.key.source));
    told
}
