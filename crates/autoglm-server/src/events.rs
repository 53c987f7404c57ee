//! Answers that come as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use crate::ServerError;
use crate::http::error_body;

/// How often a comment is sent while there is nothing to say, so that nobody in between takes the
/// connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    name: Option<&'static str>,
    /// None is the mark of the end.
    data: Option<Value>,
}

impl Event {
    /// The mark of the end, `[DONE]`.
    pub(crate) const DONE: Self = Self {
        name: None,
        data: None,
    };

    /// An event without a name.
    pub(crate) fn data(data: Value) -> Self {
        Self {
            name: None,
            data: Some(data),
        }
    }

    /// An event with a name.
    pub(crate) fn named(name: &'static str, data: Value) -> Self {
        Self {
            name: Some(name),
            data: Some(data),
        }
    }
}

impl From<Event> for sse::Event {
    fn from(event: Event) -> Self {
        let data = event
            .data
            .map_or_else(|| "[DONE]".to_owned(), |data| data.to_string());
        let told = Self::default().data(data);
        match event.name {
            Some(name) => told.event(name),
            None => told,
        }
    }
}

/// What comes next.
pub(crate) enum Step {
    /// These events, and more behind them.
    Go(Vec<Event>),
    /// These events, which are the last.
    Last(Vec<Event>),
}

/// Where events come from. It is dropped when its client leaves.
pub(crate) trait EventSource: Send + 'static {
    /// Waits for what comes next. An error is told as the last event.
    fn next(&mut self) -> impl Future<Output = Result<Step, ServerError>> + Send;

    /// How an error is told.
    fn failure(&self, error: &ServerError) -> Event {
        Event::data(error_body(error))
    }
}

/// An answer of the events of a source.
pub(crate) fn events(source: impl EventSource) -> Response {
    let batches = stream::unfold(Some(source), |source| async move {
        let mut source = source?;
        Some(match source.next().await {
            Ok(Step::Go(events)) => (events, Some(source)),
            Ok(Step::Last(events)) => (events, None),
            Err(error) => (vec![source.failure(&error)], None),
        })
    });
    let told = |event: Event| Ok::<_, Infallible>(sse::Event::from(event));
    let events = batches.flat_map(move |events| stream::iter(events.into_iter().map(told)));
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}
