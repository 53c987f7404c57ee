//! The strategies of a task: looked at, made live, and taken back.

use std::sync::Arc;

use axum::response::Response;
use serde_json::json;

use super::Asked;
use super::query::whole;
use crate::ServerError;
use crate::app::App;
use crate::http::json_response;

/// Lists them, the latest first.
pub(super) async fn list(app: Arc<App>, task: String) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    let versions = asked.ask(|desk, task| desk.strategies(task)).await?;
    Ok(json_response(&json!({"object": "list", "data": versions})))
}

/// Shows one.
pub(super) async fn one(
    app: Arc<App>,
    (task, id): (String, String),
) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    let id = whole("strategy", &id)?;
    let version = asked.ask(move |desk, task| desk.strategy(task, id)).await?;
    Ok(json_response(&json!(version)))
}

/// Makes one live.
pub(super) async fn promote(
    app: Arc<App>,
    (task, id): (String, String),
) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    let id = whole("strategy", &id)?;
    let version = asked.ask(move |desk, task| desk.promote(task, id)).await?;
    Ok(json_response(&json!(version)))
}

/// Takes the last promotion back.
pub(super) async fn roll_back(app: Arc<App>, task: String) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    let live = asked.ask(|desk, task| desk.roll_back(task)).await?;
    Ok(json_response(&json!({"live": live})))
}
