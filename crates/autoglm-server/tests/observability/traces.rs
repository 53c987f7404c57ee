//! The spans of requests: how they nest, what they are called and what they hold.

use std::collections::BTreeMap;
use std::time::Duration;

use autoglm_server::{Sampling, TelemetrySettings};
use serde_json::{Value, json};

use super::scripted::{EPOCH_SECONDS, Server, Setup, chat, completion, start};
use super::sink::{Manner, Sink};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn traced(sink: &Sink, telemetry: TelemetrySettings) -> Server {
    start(Setup {
        telemetry,
        export: Some(sink.settings()),
        ..Setup::default()
    })
}

/// The spans that a server has made, when it is done with sending them.
fn spans(server: &Server, sink: &Sink) -> Vec<Value> {
    assert!(server.app.close_telemetry(Duration::from_secs(30)));
    sink.things("/v1/traces")
}

fn text<'a>(span: &'a Value, field: &str) -> &'a str {
    span[field].as_str().unwrap()
}

/// Milliseconds since the request came.
fn times(span: &Value) -> (u64, u64) {
    let millis = |field| {
        let nanos: u64 = text(span, field).parse().unwrap();
        (nanos - EPOCH_SECONDS * 1_000_000_000) / 1_000_000
    };
    (millis("startTimeUnixNano"), millis("endTimeUnixNano"))
}

fn attributes(span: &Value) -> BTreeMap<&str, &Value> {
    let attributes = span["attributes"].as_array().unwrap().iter();
    let pair = |attribute: &'_ Value| {
        let value = attribute["value"].as_object().unwrap();
        assert_eq!(value.len(), 1, "{attribute}");
    };
    attributes
        .inspect(|attribute| pair(attribute))
        .map(|attribute| {
            let value = attribute["value"].as_object().unwrap();
            (text(attribute, "key"), value.values().next().unwrap())
        })
        .collect()
}

fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    let mut found = spans.iter().filter(|span| span["name"] == name);
    let span = found.next();
    assert!(found.next().is_none(), "{name} is there twice");
    span.unwrap_or_else(|| panic!("there is no {name} in {spans:#?}"))
}

#[test]
fn stages_are_spans_in_the_caller_s_trace() {
    let sink = Sink::start(&[Manner::Takes]);
    let server = traced(&sink, TelemetrySettings::default());
    let headers = [("traceparent", CALLER), ("tracestate", "rojo=1")];
    let answer = server.post_with("/v1/chat/completions", &chat("hello", true), &headers);
    let spans = spans(&server, &sink);
    let root = named(&spans, "POST /v1/chat/completions");
    assert_eq!(
        (&root["kind"], &root["parentSpanId"]),
        (&json!(2), &json!("00f067aa0ba902b7"))
    );
    let call = named(&spans, "chat tiny");
    let tree = [
        ("read", root, (0, 0)),
        ("tokenize", root, (0, 0)),
        ("queue", root, (0, 0)),
        ("chat tiny", root, (0, 400)),
        ("prefill", call, (0, 200)),
        ("decode", call, (200, 400)),
        ("write", root, (400, 400)),
    ];
    assert_eq!(spans.len(), tree.len() + 1);
    assert_eq!(times(root), (0, 400));
    for (name, parent, when) in tree {
        let span = named(&spans, name);
        assert_eq!(span["parentSpanId"], parent["spanId"], "{name}");
        assert_eq!(times(span), when, "{name}");
        assert_eq!(span["kind"], 1, "{name}");
    }
    let mut ids: Vec<&str> = spans.iter().map(|span| text(span, "spanId")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len(), "every span has an id of its own");
    for span in &spans {
        assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span["traceState"], "rojo=1");
    }
    let id = text(root, "spanId");
    let told = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id}-01");
    assert_eq!(answer.trace, Some(told));
}

#[test]
fn spans_hold_what_the_conventions_ask_for() {
    let sink = Sink::start(&[Manner::Takes]);
    let server = traced(&sink, TelemetrySettings::default());
    let mut body = chat("hello", false);
    body["temperature"] = json!(0.5);
    body["max_tokens"] = json!(3);
    server.post("/v1/chat/completions", &body);
    let spans = spans(&server, &sink);
    let root = attributes(named(&spans, "POST /v1/chat/completions"));
    for (name, value) in [
        ("http.request.method", json!("POST")),
        ("http.route", json!("/v1/chat/completions")),
        ("url.path", json!("/v1/chat/completions")),
        ("url.scheme", json!("http")),
        ("network.protocol.version", json!("1.1")),
        ("client.address", json!("127.0.0.1")),
        ("http.response.status_code", json!("200")),
    ] {
        assert_eq!(root.get(name), Some(&&value), "{name}");
    }
    let call = attributes(named(&spans, "chat tiny"));
    for (name, value) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("autoglm")),
        ("gen_ai.request.model", json!("tiny")),
        ("gen_ai.response.model", json!("tiny-q4_0")),
        ("gen_ai.request.temperature", json!(0.5)),
        ("gen_ai.request.top_p", json!(1.0)),
        ("gen_ai.request.max_tokens", json!("3")),
        ("autoglm.request.seed", json!("7")),
        ("gen_ai.usage.input_tokens", json!("5")),
        ("gen_ai.usage.cache_read.input_tokens", json!("4")),
        ("gen_ai.usage.output_tokens", json!("3")),
        (
            "gen_ai.response.finish_reasons",
            json!({"values": [{"stringValue": "length"}]}),
        ),
    ] {
        assert_eq!(call.get(name), Some(&&value), "{name}");
    }
}

#[test]
fn a_failed_request_says_why() {
    let sink = Sink::start(&[Manner::Takes]);
    let server = traced(&sink, TelemetrySettings::default());
    server.post("/v1/completions", &completion("fail", false));
    server.post(
        "/v1/completions",
        &json!({"prompt": "x", "model": "nobody"}),
    );
    let spans = spans(&server, &sink);
    let call = named(&spans, "text_completion tiny");
    assert_eq!(call["status"]["code"], 2);
    let roots = spans.iter().filter(|span| span["kind"] == 2);
    let errors: Vec<Value> = roots
        .map(|root| {
            // The client has made the mistake, so the server's span is no error.
            assert_eq!(root["status"]["code"], 0);
            attributes(root)["error.type"].clone()
        })
        .collect();
    assert_eq!(errors, ["bad_request", "model_not_found"]);
}

#[test]
fn prompts_and_answers_are_recorded_only_when_asked_for() {
    for content in [false, true] {
        let sink = Sink::start(&[Manner::Takes]);
        let telemetry = TelemetrySettings {
            content,
            ..TelemetrySettings::default()
        };
        let server = traced(&sink, telemetry);
        server.post("/v1/chat/completions", &chat("geheimnis", false));
        server.post("/v1/completions", &completion("geheimnis", false));
        let spans = spans(&server, &sink);
        let everything = format!("{:?}", sink.taken());
        assert_eq!(everything.contains("geheimnis"), content);
        if content {
            let call = attributes(named(&spans, "chat tiny"));
            let read = |name: &str| -> Value {
                serde_json::from_str(call[name].as_str().unwrap()).unwrap()
            };
            let part = json!([{"type": "text", "content": "geheimnis"}]);
            assert_eq!(
                read("gen_ai.input.messages"),
                json!([{"role": "user", "parts": part}])
            );
            assert_eq!(
                read("gen_ai.output.messages"),
                json!([{"role": "assistant", "parts": part, "finish_reason": "stop"}])
            );
        }
    }
}

#[test]
fn which_requests_are_followed_can_be_set() {
    let none = TelemetrySettings {
        sampling: Sampling {
            ratio: 0.0,
            ..Sampling::default()
        },
        ..TelemetrySettings::default()
    };
    let sink = Sink::start(&[Manner::Takes]);
    let server = traced(&sink, none);
    let ask = |headers: &[(&str, &str)]| {
        let answer = server.post_with("/v1/completions", &completion("a", false), headers);
        answer.trace.unwrap()
    };
    // No caller: the ratio decides, and the ids are told all the same.
    assert!(ask(&[]).ends_with("-00"));
    assert!(ask(&[("traceparent", NOT_RECORDED)]).ends_with("-00"));
    assert!(ask(&[("traceparent", CALLER)]).ends_with("-01"));
    let spans = spans(&server, &sink);
    let roots = spans.iter().filter(|span| span["kind"] == 2);
    assert_eq!(roots.count(), 1);
}
