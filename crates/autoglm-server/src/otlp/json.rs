//! Spans and log records in OTLP's JSON: names in camel case, 64-bit numbers as strings, ids in
//! hexadecimal digits.

use serde_json::{Map, Value, json};

use crate::log::{LogRecord, Severity};
use crate::trace::{Attribute, Attributes, Span, nanos};

/// What is said of this server.
pub(super) struct Resource(Value);

impl Resource {
    /// What is given, and the name and version of the service.
    pub(super) fn new(given: &[(String, String)]) -> Self {
        let usual = [
            ("service.name", "autoglm"),
            ("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let usual = usual
            .iter()
            .filter(|(name, _)| given.iter().all(|(given, _)| given != name));
        let usual = usual.map(|(name, value)| text_pair(name, value));
        let given = given.iter().map(|(name, value)| text_pair(name, value));
        let attributes: Vec<Value> = usual.chain(given).collect();
        Self(json!({"attributes": attributes}))
    }

    /// A request's body: `plural` such as `spans`, of this server.
    pub(super) fn body(&self, kind: [&str; 3], things: Vec<Value>) -> Value {
        let [resources, scopes, plural] = kind;
        let scope = object([
            (
                "scope",
                json!({"name": "autoglm-server", "version": env!("CARGO_PKG_VERSION")}),
            ),
            (plural, Value::Array(things)),
        ]);
        let resource = object([("resource", self.0.clone()), (scopes, json!([scope]))]);
        object([(resources, json!([resource]))])
    }
}

/// The body of a request with spans.
pub(super) fn traces(resource: &Resource, spans: &[Span]) -> Value {
    let spans = spans.iter().map(span).collect();
    resource.body(["resourceSpans", "scopeSpans", "spans"], spans)
}

/// The body of a request with log records.
pub(super) fn logs(resource: &Resource, records: &[LogRecord]) -> Value {
    let records = records.iter().map(record).collect();
    resource.body(["resourceLogs", "scopeLogs", "logRecords"], records)
}

fn span(span: &Span) -> Value {
    // Not set, or error.
    let status = if span.is_error { 2 } else { 0 };
    let mut told = json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.begun.to_string(),
        "endTimeUnixNano": span.ended.max(span.begun).to_string(),
        "attributes": attributes(&span.attributes),
        "status": {"code": status},
    });
    if let Some(parent) = span.parent {
        told["parentSpanId"] = parent.to_string().into();
    }
    if let Some(state) = &span.state {
        told["traceState"] = state.as_str().into();
    }
    told
}

fn record(record: &LogRecord) -> Value {
    let time = nanos(record.time).to_string();
    let severity = record.severity();
    let number = match severity {
        Severity::Info => 9,
        Severity::Warn => 13,
        Severity::Error => 17,
    };
    let fields = record.fields();
    let own = ["time", "severity", "trace_id", "span_id", "sampled"];
    let rest = fields.iter().filter(|(name, _)| !own.contains(name));
    let rest: Vec<Value> = rest.map(|(name, value)| pair(name, any(value))).collect();
    let body = format!("{} {} {}", record.method, record.route, record.status);
    json!({
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": number,
        "severityText": severity.word(),
        "body": {"stringValue": body},
        "attributes": rest,
        "traceId": record.trace_id,
        "spanId": record.span_id,
        "flags": u8::from(record.is_sampled),
    })
}

fn attributes(attributes: &Attributes) -> Vec<Value> {
    let value = |attribute: &Attribute| match attribute {
        Attribute::Text(text) => json!({"stringValue": text}),
        Attribute::Whole(number) => json!({"intValue": number.to_string()}),
        Attribute::Number(number) => json!({"doubleValue": number}),
        Attribute::Texts(texts) => {
            let texts: Vec<Value> = texts
                .iter()
                .map(|text| json!({"stringValue": text}))
                .collect();
            json!({"arrayValue": {"values": texts}})
        }
    };
    let pairs = attributes.0.iter();
    pairs
        .map(|(name, attribute)| pair(name, value(attribute)))
        .collect()
}

/// A value of JSON as OTLP has it.
fn any(value: &Value) -> Value {
    match value {
        Value::Bool(flag) => json!({"boolValue": flag}),
        Value::Number(number) if number.is_u64() => json!({"intValue": number.to_string()}),
        Value::Number(number) => json!({"doubleValue": number}),
        Value::Array(list) => {
            json!({"arrayValue": {"values": list.iter().map(any).collect::<Vec<_>>()}})
        }
        Value::String(text) => json!({"stringValue": text}),
        Value::Null | Value::Object(_) => json!({"stringValue": value.to_string()}),
    }
}

/// An attribute.
pub(super) fn text_pair(name: &str, value: &str) -> Value {
    pair(name, json!({"stringValue": value}))
}

fn pair(name: &str, value: Value) -> Value {
    object([("key", name.into()), ("value", value)])
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Value::Object(Map::from_iter(fields))
}
