//! How a task is doing: a page, or the facts on it.

use std::sync::Arc;

use autoglm_task::report::page;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::json;

use super::Asked;
use super::query::{Parameters, fields, number};
use crate::ServerError;
use crate::app::App;
use crate::auth::Reach;
use crate::http::json_response;

/// Answers a request.
pub(super) async fn answer(
    app: Arc<App>,
    reach: Option<&Reach>,
    task: String,
    parameters: Parameters,
) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    asked.check_reach(reach)?;
    let mut parameters = fields(parameters)?;
    let format = parameters.word("format", &["html", "json"])?;
    let run = number(&mut parameters, "run")?;
    parameters.finish()?;
    let report = asked.ask(move |desk, task| desk.report(task, run)).await?;
    if format == Some("json") {
        return Ok(json_response(&json!(report)));
    }
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let mut response = Response::new(Body::from(page(&report, &task)));
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    Ok(response)
}
