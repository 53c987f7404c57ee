//! What is observed of requests: one place that metrics, traces and log lines are fed from.
//!
//! A layer around all routes begins an observation, which the request's task carries along; models
//! that measure their calls add to it; and with the last byte of the answer it becomes metrics, a
//! log record and, where the request is followed, spans. No route has to do anything for it.

pub(crate) mod admin;
mod backend;
mod call;
mod clock;
mod current;
mod layer;
mod request;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::app::Surroundings;
use crate::log::{LogRecord, LogSink};
use crate::metrics::Metrics;
use crate::otlp::{Exporter, OtlpSettings};
use crate::trace::{Parent, Sampling, spans_of};

use request::Head;

pub(crate) use backend::measured;
pub(crate) use call::{Call, Operation};
pub use clock::Clock;
pub use current::traceparent;
pub(crate) use current::{Waits, carried, note_failure, note_model};
pub(crate) use layer::observe;
pub(crate) use request::{Noted, Observation};

/// What is observed, and where it goes.
#[derive(Default)]
pub struct Telemetry {
    /// What may be changed while the server runs.
    pub settings: TelemetrySettings,
    /// The collector that spans, metrics and log records are sent to; none sends nothing.
    pub export: Option<OtlpSettings>,
    /// Takes one record a request. It is called by the threads that answer, and must not wait.
    pub log: Option<LogSink>,
    /// The clock that durations are measured by.
    pub clock: Clock,
}

/// What may be changed while the server runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TelemetrySettings {
    /// Which requests are followed.
    pub sampling: Sampling,
    /// Whether spans hold what is said to models and what they answer.
    pub content: bool,
}

/// Who observes.
pub(crate) struct Observer {
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    clock: Clock,
    surroundings: Surroundings,
    settings: RwLock<TelemetrySettings>,
    log: Option<LogSink>,
    exporter: Option<Exporter>,
}

impl Observer {
    /// An observer that begins to send what it sends.
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        surroundings: Surroundings,
        telemetry: Telemetry,
    ) -> Self {
        let start = |settings| Exporter::start(settings, &metrics, Arc::clone(&surroundings.now));
        Self {
            exporter: telemetry.export.map(start),
            metrics,
            clock: telemetry.clock,
            surroundings,
            settings: RwLock::new(telemetry.settings),
            log: telemetry.log,
        }
    }

    /// The settings as they are now.
    pub(crate) fn settings(&self) -> TelemetrySettings {
        let settings = self.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the settings for requests that come from now on.
    pub(crate) fn change(&self, settings: TelemetrySettings) {
        let mut current = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = settings;
    }

    /// Whether there is a collector.
    pub(crate) fn exports(&self) -> bool {
        self.exporter.is_some()
    }

    /// Sends what has not been sent yet, and then no more. Says whether that was done in time.
    pub(crate) fn close(&self, limit: Duration) -> bool {
        let exporter = self.exporter.as_ref();
        exporter.is_none_or(|exporter| exporter.close(limit))
    }

    fn records_content(&self) -> bool {
        let settings = self.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).content
    }

    /// Begins to observe a request.
    fn begin(self: &Arc<Self>, head: Head, parent: Option<Parent>) -> Arc<Observation> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let random = &*self.surroundings.random;
        let context = settings.sampling.context(&head.route, parent, random);
        drop(settings);
        self.metrics
            .server
            .active
            .with_label_values::<&str>(&[])
            .inc();
        Arc::new(Observation::new(Arc::clone(self), head, context))
    }

    /// A request is at its end: its answer has gone out as a whole, or its client has left.
    fn end(&self, observation: &Observation, is_whole: bool) {
        let ended = self.clock.now();
        let noted = observation.noted().clone();
        self.count(observation, &noted, is_whole, ended);
        let wants_log = self.exporter.as_ref().is_some_and(Exporter::takes_logs);
        if self.log.is_some() || wants_log {
            let record = LogRecord::of(observation, &noted, is_whole, ended);
            if let Some(log) = &self.log {
                log(&record);
            }
            if let Some(exporter) = &self.exporter {
                exporter.log(record);
            }
        }
        if let Some(exporter) = &self.exporter
            && observation.context.is_sampled
        {
            let random = &*self.surroundings.random;
            exporter.spans(spans_of(observation, &noted, ended, random));
        }
    }

    fn count(&self, observation: &Observation, noted: &Noted, is_whole: bool, ended: Duration) {
        let server = &self.metrics.server;
        let route = [observation.head.route.as_str()];
        let status = noted.status_or_left().to_string();
        let labels = [route[0], observation.head.method, &status];
        server.requests.with_label_values(&labels).inc();
        let took = ended.saturating_sub(observation.arrived);
        server
            .seconds
            .with_label_values(&route)
            .observe(took.as_secs_f64());
        server.active.with_label_values::<&str>(&[]).dec();
        server
            .received_bytes
            .with_label_values(&route)
            .inc_by(noted.received_bytes);
        server
            .sent_bytes
            .with_label_values(&route)
            .inc_by(noted.sent_bytes);
        if let Some(reason) = noted.reason {
            server.refused.with_label_values(&[reason]).inc();
        }
        if !is_whole {
            server.left.with_label_values(&route).inc();
        }
    }
}
