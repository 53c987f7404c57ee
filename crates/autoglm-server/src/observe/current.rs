//! The request that the running task works on, so that whatever measures finds it without being
//! handed it.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Gauge;
use serde_json::Value;

use super::request::Observation;
use crate::ServerError;

tokio::task_local! {
    static CURRENT: Arc<Observation>;
}

/// The request that the running task works on.
pub(crate) fn current() -> Option<Arc<Observation>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// The trace of the request that the running task works on, as a request to another server tells it
/// in `traceparent`.
pub fn traceparent() -> Option<String> {
    let observation = current()?;
    let header = observation.context.response_header();
    header.to_str().ok().map(str::to_owned)
}

/// Does work on a request.
pub(super) async fn within<F: Future>(observation: Arc<Observation>, work: F) -> F::Output {
    CURRENT.scope(observation, work).await
}

/// Does work on a request that does not wait.
pub(super) fn within_now<T>(observation: Arc<Observation>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(observation, work)
}

/// Work for another thread that goes on with the request of this task.
pub(crate) fn carried<T>(work: impl FnOnce() -> T + Send) -> impl FnOnce() -> T + Send {
    let observation = current();
    move || match observation {
        Some(observation) => within_now(observation, work),
        None => work(),
    }
}

/// Notes which model is to answer.
pub(crate) fn note_model(model: &str) {
    if let Some(observation) = current() {
        observation.noted().model = Some(model.to_owned());
    }
}

/// Notes an error that comes too late for the answer's status.
pub(crate) fn note_failure(error: &ServerError) {
    if let Some(observation) = current() {
        observation.noted().reason = Some(error.reason());
    }
}

/// Notes what is said to a model, where that is recorded.
pub(super) fn note_input(input: impl FnOnce() -> Value) {
    let Some(observation) = current() else { return };
    if observation.context.is_sampled && observation.observer.records_content() {
        observation.noted().input = Some(input());
    }
}

/// A request that waits for leave to begin.
pub(crate) struct Waits(Option<Waiting>);

struct Waiting {
    observation: Arc<Observation>,
    since: Duration,
    /// The requests that wait for the same model; none where it is not known.
    queue: Option<Gauge>,
}

impl Waits {
    /// A client's request begins to wait.
    pub(crate) fn begin(client: &str) -> Self {
        Self(current().map(|observation| Waiting::new(observation, client)))
    }

    /// It has leave.
    pub(crate) fn granted(self) {
        let Some(waiting) = &self.0 else { return };
        let observation = &waiting.observation;
        let now = observation.observer.clock.now();
        observation.noted().queue = Some((waiting.since, now));
        let waited = now.saturating_sub(waiting.since);
        let server = &observation.observer.metrics.server;
        let histogram = server.queue_seconds.with_label_values::<&str>(&[]);
        histogram.observe(waited.as_secs_f64());
    }
}

impl Waiting {
    fn new(observation: Arc<Observation>, client: &str) -> Self {
        observation.noted().client(client);
        let model = observation.noted().model.clone();
        let queue = model.map(|model| observation.observer.metrics.queued(&model));
        if let Some(queue) = &queue {
            queue.inc();
        }
        Self {
            since: observation.observer.clock.now(),
            observation,
            queue,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.dec();
        }
    }
}
