//! What is counted of the server itself, under names of our own.

use prometheus::{CounterVec, Gauge, GaugeVec, HistogramVec, IntCounterVec};

use super::Metrics;
use super::buckets;
use super::catalogue::{Catalogue, Named};

/// The instruments of the server.
pub(crate) struct ServerMetrics {
    /// Requests by route, method and status.
    pub(crate) requests: IntCounterVec,
    /// How long they took, by route.
    pub(crate) seconds: HistogramVec,
    /// Requests that are being answered.
    pub(crate) active: GaugeVec,
    /// Bytes of bodies that came, by route.
    pub(crate) received_bytes: IntCounterVec,
    /// Bytes of bodies that went, by route.
    pub(crate) sent_bytes: IntCounterVec,
    /// Requests that were refused or failed, by reason.
    pub(crate) refused: IntCounterVec,
    /// Requests whose client left before the end of the answer, by route.
    pub(crate) left: IntCounterVec,
    /// Open connections.
    pub(crate) open_connections: GaugeVec,
    /// Connections that were taken.
    pub(crate) connections: IntCounterVec,
    /// Time in the queue.
    pub(crate) queue_seconds: HistogramVec,
    /// Calls of models, by model, operation and outcome.
    pub(crate) calls: IntCounterVec,
    /// Answers that a cache had.
    pub(crate) cache_hits: IntCounterVec,
    /// Answers that it had not.
    pub(crate) cache_misses: IntCounterVec,
    /// What answers of the cache had cost when they were made.
    pub(crate) cache_saved: CounterVec,
    /// Answers of the semantic cache that were checked, by whether they were right.
    pub(crate) explored: IntCounterVec,
    /// Searches of collections of documents, by collection.
    pub(crate) searches: IntCounterVec,
    /// Questions to collections of documents, by collection and outcome.
    pub(crate) questions: IntCounterVec,
    /// What was sent by OTLP, by signal.
    pub(crate) exported: IntCounterVec,
    /// What was not, by signal and reason.
    pub(crate) dropped: IntCounterVec,
}

impl ServerMetrics {
    /// Makes the instruments.
    pub(super) fn new(made: &mut Catalogue) -> Self {
        const ROUTE: &[&str] = &["route"];
        const CACHE: &[&str] = &["cache"];
        let bounds = buckets::HTTP_SECONDS;
        Self {
            requests: made.counter(REQUESTS, &["route", "method", "status"]),
            seconds: made.histogram(SECONDS, ROUTE, bounds),
            active: made.gauge(ACTIVE, &[]),
            received_bytes: made.counter(RECEIVED, ROUTE),
            sent_bytes: made.counter(SENT, ROUTE),
            refused: made.counter(REFUSED, &["reason"]),
            left: made.counter(LEFT, ROUTE),
            open_connections: made.gauge(OPEN_CONNECTIONS, &[]),
            connections: made.counter(CONNECTIONS, &[]),
            queue_seconds: made.histogram(QUEUE_SECONDS, &[], bounds),
            calls: made.counter(CALLS, &["model_name", "operation", "outcome"]),
            cache_hits: made.counter(CACHE_HITS, CACHE),
            cache_misses: made.counter(CACHE_MISSES, CACHE),
            cache_saved: made.seconds(CACHE_SAVED, CACHE),
            explored: made.counter(EXPLORED, &["outcome"]),
            searches: made.counter(SEARCHES, &["collection"]),
            questions: made.counter(QUESTIONS, &["collection", "outcome"]),
            exported: made.counter(EXPORTED, &["signal"]),
            dropped: made.counter(DROPPED, &["signal", "reason"]),
        }
    }
}

/// Counts a connection while it is open.
pub(crate) struct OpenConnection(Gauge);

impl OpenConnection {
    /// A connection that was taken.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let server = &metrics.server;
        server.connections.with_label_values::<&str>(&[]).inc();
        let open = server.open_connections.with_label_values::<&str>(&[]);
        open.inc();
        Self(open)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

const REQUESTS: Named = (
    "autoglm_http_requests_total",
    "Requests that were answered, by route, method and status.",
);
const SECONDS: Named = (
    "autoglm_http_request_duration_seconds",
    "From the arrival of a request's head to the last byte of its answer.",
);
const ACTIVE: Named = (
    "autoglm_http_requests_active",
    "Requests that are being answered.",
);
const RECEIVED: Named = (
    "autoglm_http_received_bytes_total",
    "Bytes of bodies that came.",
);
const SENT: Named = (
    "autoglm_http_sent_bytes_total",
    "Bytes of bodies that went.",
);
const REFUSED: Named = (
    "autoglm_requests_refused_total",
    "Requests that were refused or failed, by reason.",
);
const LEFT: Named = (
    "autoglm_requests_left_total",
    "Requests whose client left before the end of the answer.",
);
const OPEN_CONNECTIONS: Named = ("autoglm_connections_open", "Connections that are open.");
const CONNECTIONS: Named = ("autoglm_connections_total", "Connections that were taken.");
const QUEUE_SECONDS: Named = (
    "autoglm_admission_wait_seconds",
    "How long requests waited for leave to begin.",
);
const CALLS: Named = (
    "autoglm_model_calls_total",
    "Calls of models, by what was asked (generate, score, embed) and whether it was given (ok, error).",
);
const CACHE_HITS: Named = (
    "autoglm_response_cache_hits_total",
    "Answers that a cache had, by cache (exact, semantic).",
);
const CACHE_MISSES: Named = (
    "autoglm_response_cache_misses_total",
    "Answers that a cache was asked for and had not.",
);
const CACHE_SAVED: Named = (
    "autoglm_response_cache_saved_seconds_total",
    "What the answers that a cache had took when they were made, less what the hits took.",
);
const EXPLORED: Named = (
    "autoglm_semantic_cache_explored_total",
    "Remembered answers that were compared with the model's own to a question of the same meaning, by whether they were the same (right, wrong).",
);
const SEARCHES: Named = (
    "autoglm_knowledge_searches_total",
    "Searches of collections of documents, those for conversations included.",
);
const QUESTIONS: Named = (
    "autoglm_knowledge_questions_total",
    "Questions to collections of documents, by outcome (answered, nothing-found, not-covered, model-says, not-supported).",
);
const EXPORTED: Named = (
    "autoglm_telemetry_exported_total",
    "Spans, log records and metrics that a collector took.",
);
const DROPPED: Named = (
    "autoglm_telemetry_dropped_total",
    "Spans, log records and metrics that were given up: the queue was full, the collector could not be reached, or it refused them.",
);
