//! The spans of a request: one of the request itself, and in it one of each of its stages.
//!
//! # Source
//! Names and attributes: OpenTelemetry's semantic conventions for HTTP servers (stable) and for
//! generative AI (in development), version 1.37.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::attributes::Attributes;
use super::context::{SpanId, TraceId};
use crate::observe::{Call, Noted, Observation, Operation};

/// What a span is to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Work inside the server.
    Internal = 1,
    /// An answer to a caller.
    Server = 2,
}

/// Something that took time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: TraceId,
    pub(crate) id: SpanId,
    pub(crate) parent: Option<SpanId>,
    /// What systems on the way have added to the trace.
    pub(crate) state: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Nanoseconds since 1970.
    pub(crate) begun: u64,
    /// Nanoseconds since 1970.
    pub(crate) ended: u64,
    pub(crate) attributes: Attributes,
    /// Whether it ended in an error.
    pub(crate) is_error: bool,
}

/// The spans of a request at its end.
pub(crate) fn spans_of(
    observation: &Observation,
    noted: &Noted,
    ended: Duration,
    random: &dyn Fn() -> u64,
) -> Vec<Span> {
    let mut maker = Maker {
        observation,
        random,
        spans: Vec::new(),
    };
    maker.request(noted, ended);
    let root = observation.context.span;
    let arrived = observation.arrived;
    if let Some(read) = noted.body_read {
        maker.stage("read", root, (arrived, read));
        if let Some(until) = prepared(noted) {
            maker.stage("tokenize", root, (read, until.max(read)));
        }
    }
    if let Some(queue) = noted.queue {
        maker.stage("queue", root, queue);
    }
    for (index, call) in noted.calls.iter().enumerate() {
        let input = noted.input.as_ref().filter(|_| index == 0);
        maker.call(call, input);
    }
    if let Some(last) = noted.calls.iter().map(|call| call.ended).max() {
        maker.stage("write", root, (last, ended));
    }
    maker.spans
}

/// When the request was ready for its model.
fn prepared(noted: &Noted) -> Option<Duration> {
    let queue = noted.queue.map(|(from, _)| from);
    let first = noted.calls.first().map(|call| call.begun);
    queue.or(first)
}

struct Maker<'a> {
    observation: &'a Observation,
    random: &'a dyn Fn() -> u64,
    spans: Vec<Span>,
}

impl Maker<'_> {
    fn span(
        &self,
        name: impl Into<String>,
        parent: Option<SpanId>,
        times: (Duration, Duration),
    ) -> Span {
        let context = &self.observation.context;
        Span {
            trace: context.trace,
            id: SpanId::new(self.random),
            parent,
            state: context.state.clone(),
            name: name.into(),
            kind: Kind::Internal,
            begun: nanos(self.observation.at(times.0)),
            ended: nanos(self.observation.at(times.1)),
            attributes: Attributes::default(),
            is_error: false,
        }
    }

    fn request(&mut self, noted: &Noted, ended: Duration) {
        let (context, head) = (&self.observation.context, &self.observation.head);
        let times = (self.observation.arrived, ended);
        let name = match head.route() {
            Some(route) => format!("{} {route}", head.method),
            None => head.method.to_owned(),
        };
        let status = noted.status_or_left();
        // An error that came when the answer had begun has no status of its own.
        let broke_off = status < 400 && noted.reason.is_some();
        let span = Span {
            id: context.span,
            kind: Kind::Server,
            is_error: status >= 500 || broke_off,
            attributes: self.request_attributes(noted),
            ..self.span(name, context.parent, times)
        };
        self.spans.push(span);
    }

    fn request_attributes(&self, noted: &Noted) -> Attributes {
        let head = &self.observation.head;
        let status = noted.status_or_left();
        let mut attributes = Attributes::default();
        attributes.text("http.request.method", Some(head.method));
        attributes.text("http.route", head.route());
        attributes.text("url.path", Some(head.path.as_str()));
        attributes.text("url.scheme", Some(head.scheme));
        attributes.text("network.protocol.version", Some(head.protocol));
        attributes.text("client.address", head.peer.map(|peer| peer.to_string()));
        attributes.text("user_agent.original", head.agent.as_deref());
        attributes.whole("http.response.status_code", usize::from(status));
        attributes.whole("http.request.body.size", noted.received_bytes as usize);
        attributes.whole("http.response.body.size", noted.sent_bytes as usize);
        let reason = noted.reason.map(str::to_owned);
        let status = (status >= 400).then(|| status.to_string());
        attributes.text("error.type", reason.or(status));
        attributes
    }

    fn stage(&mut self, name: &'static str, parent: SpanId, times: (Duration, Duration)) {
        let span = self.span(name, Some(parent), times);
        self.spans.push(span);
    }

    /// A call of a model, and in it the time until the first token and the time from then on.
    fn call(&mut self, call: &Call, input: Option<&serde_json::Value>) {
        let operation = operation_name(call.operation, &self.observation.head.route);
        let name = format!("{operation} {}", call.model);
        let root = self.observation.context.span;
        let span = Span {
            attributes: call_attributes(call, operation, input),
            is_error: call.is_failed(),
            ..self.span(name, Some(root), (call.begun, call.ended))
        };
        let parent = span.id;
        self.spans.push(span);
        if let Some(first) = call.first {
            self.stage("prefill", parent, (call.begun, first));
            self.stage("decode", parent, (first, call.ended));
        }
    }
}

/// What the conventions for generative AI call it.
fn operation_name(operation: Operation, route: &str) -> &'static str {
    match operation {
        Operation::Embed => "embeddings",
        Operation::Score => "score",
        Operation::Generate if route == "/v1/completions" => "text_completion",
        Operation::Generate => "chat",
    }
}

fn call_attributes(
    call: &Call,
    operation: &'static str,
    input: Option<&serde_json::Value>,
) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.text("gen_ai.operation.name", Some(operation));
    attributes.text("gen_ai.provider.name", Some("autoglm"));
    attributes.text("gen_ai.request.model", Some(call.model.as_str()));
    attributes.text("gen_ai.response.model", Some(call.weights.as_str()));
    if let Some(settings) = &call.settings {
        let sampling = settings.sampling;
        attributes.whole("gen_ai.request.max_tokens", settings.max_tokens);
        attributes.number("gen_ai.request.temperature", sampling.temperature);
        attributes.number("gen_ai.request.top_p", sampling.top_p);
        attributes.number("gen_ai.request.top_k", sampling.top_k as f64);
        attributes.number("gen_ai.request.presence_penalty", sampling.presence_penalty);
        attributes.number(
            "gen_ai.request.frequency_penalty",
            sampling.frequency_penalty,
        );
        attributes.text("autoglm.request.seed", Some(sampling.seed.to_string()));
    }
    if call.choices != 1 {
        attributes.whole("gen_ai.request.choice.count", call.choices);
    }
    attributes.whole("gen_ai.usage.input_tokens", call.tokens.prompt);
    attributes.whole("gen_ai.usage.cache_read.input_tokens", call.tokens.cached);
    attributes.whole("gen_ai.usage.output_tokens", call.tokens.generated);
    let finishes: Vec<&str> = call.finishes.iter().map(|finish| finish.word()).collect();
    attributes.texts("gen_ai.response.finish_reasons", &finishes);
    attributes.text("error.type", call.is_failed().then_some("model_error"));
    attributes.text("gen_ai.input.messages", input.map(ToString::to_string));
    let output = call.output.as_ref();
    attributes.text("gen_ai.output.messages", output.map(ToString::to_string));
    attributes
}

/// Nanoseconds since 1970, which fit until the year 2554.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
