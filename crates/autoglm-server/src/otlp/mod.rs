//! Spans, log records and metrics by OTLP, as JSON over HTTP.
//!
//! Requests put what they have into a bounded queue and go on; a thread of its own sends it in
//! batches. What finds no room, and what the collector does not take in time, is given up and
//! counted: no request ever waits for a collector.
//!
//! # Source
//! OTLP 1.9: <https://opentelemetry.io/docs/specs/otlp/>, "JSON Protobuf Encoding".

mod json;
mod metrics;
mod queue;
mod send;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::log::LogRecord;
use crate::metrics::Metrics;
use crate::trace::Span;

use json::Resource;
use queue::{Batch, Queue};
use send::Sender;

/// Where telemetry is sent, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpSettings {
    /// The collector, such as `http://localhost:4318`; `/v1/traces` and the like are added.
    pub endpoint: String,
    /// Headers of every request, such as a key.
    pub headers: Vec<(String, String)>,
    /// What is said of this server, beside `service.name`, which is `autoglm` unless it is here.
    pub resource: Vec<(String, String)>,
    /// Whether spans are sent.
    pub traces: bool,
    /// Whether metrics are sent.
    pub metrics: bool,
    /// Whether log records are sent.
    pub logs: bool,
    /// How often metrics are sent.
    pub metrics_interval: Duration,
    /// How long spans and log records may wait for others to be sent with.
    pub delay: Duration,
    /// How long the collector may take to answer.
    pub timeout: Duration,
    /// Spans, and log records, that may wait.
    pub queue: usize,
    /// Spans, or log records, that are sent together.
    pub batch: usize,
}

impl Default for OtlpSettings {
    /// The numbers are those that OpenTelemetry's SDKs use.
    fn default() -> Self {
        Self {
            endpoint: "http://localhost:4318".to_owned(),
            headers: Vec::new(),
            resource: Vec::new(),
            traces: true,
            metrics: true,
            logs: true,
            metrics_interval: Duration::from_mins(1),
            delay: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            queue: 2_048,
            batch: 512,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    fn word(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// Sends telemetry in a thread of its own.
pub(crate) struct Exporter {
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    takes_spans: bool,
    takes_logs: bool,
}

impl Exporter {
    /// Begins to send.
    pub(crate) fn start(
        settings: OtlpSettings,
        metrics: &Arc<Metrics>,
        now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    ) -> Self {
        show_losses(metrics);
        let queue = Arc::new(Queue::new(settings.queue, settings.batch));
        let exporter = Self {
            queue: Arc::clone(&queue),
            metrics: Arc::clone(metrics),
            takes_spans: settings.traces,
            takes_logs: settings.logs,
        };
        let worker = Worker {
            resource: Resource::new(&settings.resource),
            sender: Sender::new(&settings),
            started: now(),
            now,
            metrics: Arc::clone(metrics),
            settings,
            queue,
        };
        let thread = std::thread::Builder::new().name("telemetry".to_owned());
        // Without a thread nothing is sent, and the queue counts what it gives up.
        let _ = thread.spawn(move || worker.run());
        exporter
    }

    /// Whether it takes log records.
    pub(crate) fn takes_logs(&self) -> bool {
        self.takes_logs
    }

    /// Takes spans of one request.
    pub(crate) fn spans(&self, spans: Vec<Span>) {
        if self.takes_spans {
            let lost = self.queue.put_spans(spans);
            self.count_lost(Signal::Traces, lost);
        }
    }

    /// Takes a log record.
    pub(crate) fn log(&self, record: LogRecord) {
        if self.takes_logs {
            let lost = self.queue.put_log(record);
            self.count_lost(Signal::Logs, lost);
        }
    }

    fn count_lost(&self, signal: Signal, lost: usize) {
        if lost > 0 {
            let labels = [signal.word(), "queue_full"];
            let counter = self.metrics.server.dropped.with_label_values(&labels);
            counter.inc_by(lost as u64);
        }
    }

    /// Sends what waits, and then no more. Says whether that was done in time.
    pub(crate) fn close(&self, limit: Duration) -> bool {
        self.queue.close(limit)
    }
}

/// Shows counters of losses before there are any: a rise from nothing is no rise to Prometheus.
fn show_losses(metrics: &Metrics) {
    for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
        for reason in ["queue_full", "unreachable", "refused", "rejected"] {
            let labels = [signal.word(), reason];
            metrics.server.dropped.with_label_values(&labels);
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.queue.close(Duration::ZERO);
    }
}

struct Worker {
    settings: OtlpSettings,
    queue: Arc<Queue>,
    resource: Resource,
    sender: Sender,
    metrics: Arc<Metrics>,
    started: SystemTime,
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Worker {
    fn run(self) {
        let mut metrics_due = Instant::now() + self.settings.metrics_interval;
        loop {
            let wait = metrics_due.saturating_duration_since(Instant::now());
            let batch = self.queue.take(self.settings.delay, wait);
            let is_last = batch.is_last;
            self.send_batch(&batch);
            if self.settings.metrics && (is_last || Instant::now() >= metrics_due) {
                self.send_metrics();
                metrics_due = Instant::now() + self.settings.metrics_interval;
            }
            if is_last {
                self.queue.end();
                return;
            }
        }
    }

    fn send_batch(&self, batch: &Batch) {
        if !batch.spans.is_empty() {
            let body = json::traces(&self.resource, &batch.spans);
            self.send(Signal::Traces, &body, batch.spans.len());
        }
        if !batch.logs.is_empty() {
            let body = json::logs(&self.resource, &batch.logs);
            self.send(Signal::Logs, &body, batch.logs.len());
        }
    }

    fn send_metrics(&self) {
        let families = self.metrics.families();
        let times = (self.started, (self.now)());
        let body = metrics::body(&self.resource, &families, times);
        self.send(Signal::Metrics, &body, families.len());
    }

    fn send(&self, signal: Signal, body: &Value, count: usize) {
        let sent = self.sender.send(signal, body, &self.queue);
        let server = &self.metrics.server;
        let lost = match sent {
            Ok(rejected) => {
                let taken = count.saturating_sub(rejected);
                let labels = [signal.word()];
                server
                    .exported
                    .with_label_values(&labels)
                    .inc_by(taken as u64);
                (rejected > 0).then_some(("rejected", rejected))
            }
            Err(reason) => Some((reason, count)),
        };
        if let Some((reason, lost)) = lost {
            let labels = [signal.word(), reason];
            server
                .dropped
                .with_label_values(&labels)
                .inc_by(lost as u64);
        }
    }
}
