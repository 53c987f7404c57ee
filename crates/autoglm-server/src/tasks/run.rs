//! Running a task on records: the answers at once, or one event a record.

use std::sync::Arc;
use std::time::Duration;

use autoglm_spec::{Cancel, TaskSpec};
use autoglm_task::run::RunReport;
use axum::response::Response;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::order::RunRequest;
use super::told::{Told, listed, single, summary};
use super::{Asked, RunEvent, RunHead, RunOrder};
use crate::ServerError;
use crate::admission::Permit;
use crate::app::App;
use crate::auth::Reach;
use crate::client::Client;
use crate::events::{Event, EventSource, Step, events};
use crate::http::{error_body, json_response};
use crate::work::{CancelOnDrop, TimeLimits, WAITING_PIECES, admitted, send};

/// Answers a request.
pub(super) async fn answer(
    app: Arc<App>,
    (client, reach): (Client, Option<&Reach>),
    task: String,
    body: Value,
) -> Result<Response, ServerError> {
    let deadline = app.ticket().deadline;
    let limits = app.settings.times;
    let asked = Asked::of(&app, &task)?;
    asked.check_reach(reach)?;
    let RunRequest {
        order,
        is_single,
        stream,
    } = RunRequest::read(&asked.spec, body)?;
    let permit = admitted(&app, &client, deadline).await?;
    let mut run = start(&asked, order, permit, (deadline, limits));
    if stream {
        // Whatever keeps the run from beginning is told with a status of its own.
        let head = run.begin().await?;
        let spec = asked.spec;
        return Ok(events(Stream { run, spec, head }));
    }
    let (head, rows, report) = run.whole(&asked.spec).await?;
    let told = if is_single {
        single(&asked.spec, &head, rows)?
    } else {
        listed(&asked.spec, &head, rows, &report)
    };
    Ok(json_response(&told))
}

/// What becomes known of a run.
enum Update {
    Event(RunEvent),
    Done(Result<RunReport, ServerError>),
}

/// A run at work. Dropping it stops the work.
struct Run {
    updates: mpsc::Receiver<Update>,
    deadline: Instant,
    limit: Duration,
    _cancel: CancelOnDrop,
}

/// Begins a run on a thread of its own. The permit is given back when the work is done, not when
/// its client has left.
fn start(
    asked: &Asked,
    order: RunOrder,
    permit: Permit,
    (deadline, limits): (Instant, TimeLimits),
) -> Run {
    let (sender, updates) = mpsc::channel(WAITING_PIECES);
    let cancel = Cancel::default();
    let run = Run {
        updates,
        deadline,
        limit: limits.request,
        _cancel: CancelOnDrop(cancel.clone()),
    };
    let desk = Arc::clone(&asked.desk);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut on_event = |event| {
            let is_read = send(&runtime, &sender, Update::Event(event), limits.unread);
            if !is_read {
                cancel.cancel();
            }
        };
        let ended = desk.run(&order, &cancel, &mut on_event);
        let usage = ended.as_ref().map(|report| report.usage);
        let usage = usage.unwrap_or_default();
        permit.used(usage.prompt_tokens + usage.completion_tokens);
        // Nobody listens any more where the client has left.
        send(&runtime, &sender, Update::Done(ended), limits.unread);
    });
    run
}

impl Run {
    async fn next(&mut self) -> Result<Update, ServerError> {
        match timeout_at(self.deadline, self.updates.recv()).await {
            Ok(Some(update)) => Ok(update),
            Ok(None) => Err(bug("the task's thread ended without an answer")),
            Err(_) => Err(ServerError::Deadline { limit: self.limit }),
        }
    }

    /// Waits until the run has begun.
    async fn begin(&mut self) -> Result<RunHead, ServerError> {
        match self.next().await? {
            Update::Event(RunEvent::Begun(head)) => Ok(head),
            Update::Event(RunEvent::Answer(_)) => Err(bug("an answer came before its run")),
            Update::Done(Err(error)) => Err(error),
            Update::Done(Ok(_)) => Err(bug("the run ended before it began")),
        }
    }

    /// All answers.
    async fn whole(
        mut self,
        spec: &TaskSpec,
    ) -> Result<(RunHead, Vec<Value>, RunReport), ServerError> {
        let head = self.begin().await?;
        let told = Told { spec, head: &head };
        let mut rows = Vec::new();
        loop {
            match self.next().await? {
                Update::Event(RunEvent::Answer(answer)) => rows.push(told.answer(&answer)),
                Update::Event(RunEvent::Begun(_)) => return Err(bug("a run began twice")),
                Update::Done(ended) => {
                    let report = ended?;
                    return Ok((head, rows, report));
                }
            }
        }
    }
}

fn bug(what: &str) -> ServerError {
    ServerError::Bug {
        what: what.to_owned(),
    }
}

/// A run as events: `answer` for each record, then `done`, or `error`.
struct Stream {
    run: Run,
    spec: Arc<TaskSpec>,
    head: RunHead,
}

impl EventSource for Stream {
    async fn next(&mut self) -> Result<Step, ServerError> {
        let update = self.run.next().await?;
        let told = Told {
            spec: &self.spec,
            head: &self.head,
        };
        Ok(match update {
            Update::Event(RunEvent::Answer(answer)) => {
                Step::Go(vec![Event::named("answer", told.answer(&answer))])
            }
            Update::Event(RunEvent::Begun(_)) => return Err(bug("a run began twice")),
            Update::Done(ended) => {
                let summary = summary(&self.spec, &self.head, &ended?);
                Step::Last(vec![Event::named("done", summary)])
            }
        })
    }

    fn failure(&self, error: &ServerError) -> Event {
        Event::named("error", error_body(error))
    }
}
