//! Which tasks there are, and what each is.

use std::sync::Arc;

use autoglm_spec::{Output, TaskSpec};
use axum::response::Response;
use serde_json::{Value, json};

use super::{Asked, TaskState};
use crate::ServerError;
use crate::app::App;
use crate::http::json_response;

/// Lists the tasks.
pub(super) async fn list(app: Arc<App>) -> Result<Response, ServerError> {
    let specs = app.tasks.as_ref().map(|desk| desk.tasks());
    let mut data = Vec::new();
    for spec in specs.unwrap_or_default() {
        data.push(told(&Asked::of(&app, &spec.name)?).await?);
    }
    Ok(json_response(&json!({"object": "list", "data": data})))
}

/// Tells of one task.
pub(super) async fn one(app: Arc<App>, task: String) -> Result<Response, ServerError> {
    Ok(json_response(&told(&Asked::of(&app, &task)?).await?))
}

async fn told(asked: &Asked) -> Result<Value, ServerError> {
    let state = asked.ask(|desk, task| desk.state(task)).await?;
    Ok(outline(&asked.spec, state))
}

fn outline(spec: &TaskSpec, state: TaskState) -> Value {
    let fields = spec.fields.iter();
    let fields: Vec<Value> = fields
        .map(|field| json!({"name": field.name, "title": field.title}))
        .collect();
    let labels = spec.output.labels().iter();
    let labels: Vec<&str> = labels.map(|label| label.name.as_str()).collect();
    json!({
        "object": "task",
        "name": spec.name,
        "kind": spec.kind,
        "instruction": spec.instruction,
        "language": spec.language,
        "fields": fields,
        "output": output(&spec.output),
        "labels": labels,
        "constraints": spec.constraints,
        "examples_written": spec.examples.len(),
        "live_strategy": state.live_strategy,
        "examples": state.examples,
        "feedback": state.feedback,
    })
}

/// What comes out, but for the labels, which stand beside it.
fn output(output: &Output) -> Value {
    match output {
        Output::Labels { .. } => json!({"kind": "labels"}),
        other => json!(other),
    }
}
