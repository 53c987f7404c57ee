//! What users say of answers.

use std::sync::Arc;

use autoglm_task::store::Judgement;
use axum::response::Response;
use serde_json::{Value, json};

use super::{Asked, Said};
use crate::ServerError;
use crate::app::App;
use crate::fields::{Fields, one_or_more};
use crate::http::json_response;

/// Rows of one request at most.
const MOST_ROWS: usize = 1_000;

/// Takes feedback: an object, or a list of them.
pub(super) async fn take(
    app: Arc<App>,
    task: String,
    body: Value,
) -> Result<Response, ServerError> {
    let asked = Asked::of(&app, &task)?;
    let said = one_or_more(body, MOST_ROWS, said)?;
    let taken = asked.ask(move |desk, task| desk.give_feedback(task, &said));
    let taken = taken.await?;
    Ok(json_response(&json!({
        "object": "task.feedback",
        "batch": taken.batch,
        "taken": taken.rows,
        "feedback": taken.total,
    })))
}

fn said(value: Value, place: &str) -> Result<Said, ServerError> {
    let mut fields = Fields::of(value, place)?;
    let number = (0, i64::MAX as u64);
    let missing = |field: String| ServerError::Missing { field };
    let run = fields.whole("run", number)?;
    let run = run.ok_or_else(|| missing(fields.path("run")))?;
    let record = fields.whole("record", number)?;
    let record = record.ok_or_else(|| missing(fields.path("record")))?;
    let judgement = judgement(&mut fields)?;
    let note = fields.text("note")?;
    fields.finish()?;
    Ok(Said {
        run: run.cast_signed(),
        record,
        judgement,
        note,
    })
}

/// Exactly one of `correct`, `good` and `bad`.
fn judgement(fields: &mut Fields) -> Result<Judgement, ServerError> {
    let correct = fields.text("correct")?.map(Judgement::Correct);
    let good = is_said(fields, "good")?.then_some(Judgement::Good);
    let bad = is_said(fields, "bad")?.then_some(Judgement::Bad);
    let mut given = [correct, good, bad].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(judgement), None) => Ok(judgement),
        (None, _) => Err(ServerError::Missing {
            field: fields.path("correct"),
        }),
        (Some(_), Some(_)) => Err(ServerError::invalid(
            fields.path("correct"),
            "more than one judgement",
            "one of correct, good and bad",
        )),
    }
}

/// Whether something is said. That it is not good does not mean that it is bad, so that `false`
/// says nothing that could be taken.
fn is_said(fields: &mut Fields, name: &str) -> Result<bool, ServerError> {
    match fields.flag(name)? {
        None => Ok(false),
        Some(true) => Ok(true),
        Some(false) => Err(fields.wrong(name, &Value::Bool(false), "true, or no such field")),
    }
}
