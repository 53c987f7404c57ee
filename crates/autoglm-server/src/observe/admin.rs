//! `GET /metrics`, and `GET` and `PUT /admin/telemetry`: what is observed, changed while the server
//! runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::TelemetrySettings;
use crate::ServerError;
use crate::app::App;
use crate::fields::Fields;
use crate::http::json_response;
use crate::trace::Sampling;
use crate::work::blocking;

/// Prometheus' text format.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Routes that may have a ratio of their own.
const MOST_ROUTES: usize = 100;

/// All that is counted.
pub(crate) async fn metrics(app: Arc<App>) -> Result<Response, ServerError> {
    // Models may be long in telling how busy they are.
    let text = blocking(move || Ok(app.metrics().text())).await?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}

/// What is observed now.
pub(crate) fn telemetry(app: &App) -> Value {
    let settings = app.observer.settings();
    let sampling = &settings.sampling;
    json!({
        "sampling": {
            "ratio": sampling.ratio,
            "parent_based": sampling.parent_based,
            "routes": sampling.routes,
        },
        "content": settings.content,
        "exports": app.observer.exports(),
    })
}

/// Changes what the body names, and leaves the rest as it is.
pub(crate) fn change_telemetry(app: &App, body: Value) -> Result<Response, ServerError> {
    let mut body = Fields::of(body, "")?;
    let mut settings = app.observer.settings();
    if let Some(sampling) = body.object("sampling")? {
        take_sampling(sampling, &mut settings.sampling)?;
    }
    if let Some(content) = body.flag("content")? {
        settings = TelemetrySettings {
            content,
            ..settings
        };
    }
    body.finish()?;
    app.observer.change(settings);
    Ok(json_response(&telemetry(app)))
}

fn take_sampling(mut given: Fields, sampling: &mut Sampling) -> Result<(), ServerError> {
    if let Some(ratio) = given.number("ratio", (0.0, 1.0))? {
        sampling.ratio = ratio;
    }
    if let Some(parent_based) = given.flag("parent_based")? {
        sampling.parent_based = parent_based;
    }
    if let Some(routes) = given.take("routes") {
        sampling.routes = ratios(&given, routes)?;
    }
    given.finish()
}

/// A ratio for each route.
fn ratios(given: &Fields, value: Value) -> Result<BTreeMap<String, f64>, ServerError> {
    let wanted =
        format!("an object of at most {MOST_ROUTES} routes, each with a number from 0 to 1");
    let routes = match value {
        Value::Object(routes) if routes.len() <= MOST_ROUTES => routes,
        other => return Err(given.wrong("routes", &other, &wanted)),
    };
    let ratio = |(route, value): (String, Value)| match value.as_f64() {
        Some(ratio) if (0.0..=1.0).contains(&ratio) => Ok((route, ratio)),
        _ => Err(given.wrong("routes", &value, &wanted)),
    };
    routes.into_iter().map(ratio).collect()
}
