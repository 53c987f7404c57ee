//! The runs of a task.

use std::sync::Arc;

use autoglm_task::file_name;
use autoglm_task::store::RunInfo;
use axum::response::Response;
use serde_json::{Value, json};

use super::Asked;
use super::query::{Parameters, fields, number};
use crate::ServerError;
use crate::app::App;
use crate::http::json_response;

/// Runs that are listed at most.
const MOST_RUNS: usize = 1_000;
/// How many are where a request does not say.
const USUAL_LIMIT: i64 = 20;

/// Lists them, the latest first.
pub(super) async fn list(
    app: Arc<App>,
    task: String,
    parameters: Parameters,
) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    let mut parameters = fields(parameters)?;
    let limit = number(&mut parameters, "limit")?.unwrap_or(USUAL_LIMIT);
    parameters.finish()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let limit = limit.clamp(1, MOST_RUNS);
    let runs = asked.ask(|desk, task| desk.runs(task)).await?;
    let data: Vec<Value> = runs.iter().take(limit).map(told).collect();
    Ok(json_response(&json!({
        "object": "list",
        "data": data,
        "has_more": runs.len() > limit,
        "total": runs.len(),
    })))
}

/// A run without its task's words; of files their names alone.
fn told(run: &RunInfo) -> Value {
    json!({
        "id": run.id.0,
        "status": run.status,
        "records": run.records,
        "errors": run.errors,
        "created_ms": run.created_ms,
        "updated_ms": run.updated_ms,
        "model": run.key.model.name,
        "source": file_name(&run.key.source),
    })
}
