//! What the collector gets, and what happens when it does not answer as it should.

use std::time::Duration;

use autoglm_server::OtlpSettings;
use serde_json::{Value, json};

use super::scripted::{Server, Setup, completion, start, until};
use super::sink::{Manner, Sink};
use super::text::Scrape;

/// Spans of a request to continue a text: its own, four stages, the call and its two parts.
const SPANS: f64 = 8.0;

fn exporting(export: OtlpSettings) -> Server {
    start(Setup {
        export: Some(export),
        ..Setup::default()
    })
}

fn ask(server: &Server) {
    assert_eq!(
        server
            .post("/v1/completions", &completion("hello", false))
            .status,
        200
    );
}

/// Spans that were lost, in all and by reason.
fn lost(server: &Server) -> impl Fn(&str) -> f64 {
    let scrape = Scrape::read(&server.app.metrics().text());
    move |reason: &str| {
        let series =
            format!(r#"autoglm_telemetry_dropped_total{{reason="{reason}",signal="traces"}}"#);
        scrape.values.get(&series).copied().unwrap_or(0.0)
    }
}

fn sent(server: &Server) -> f64 {
    let scrape = Scrape::read(&server.app.metrics().text());
    let series = r#"autoglm_telemetry_exported_total{signal="traces"}"#;
    scrape.values.get(series).copied().unwrap_or(0.0)
}

#[test]
fn the_collector_is_told_who_sends_and_gets_the_headers_that_it_wants() {
    let sink = Sink::start(&[Manner::Takes]);
    let server = exporting(OtlpSettings {
        headers: vec![("x-team".to_owned(), "blue".to_owned())],
        resource: vec![("deployment.environment.name".to_owned(), "test".to_owned())],
        ..sink.settings()
    });
    ask(&server);
    assert!(server.app.close_telemetry(Duration::from_secs(30)));
    let taken = sink.taken();
    let mut paths: Vec<&str> = taken.iter().map(|taken| taken.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths, ["/v1/logs", "/v1/metrics", "/v1/traces"]);
    for taken in &taken {
        assert!(taken.headers.iter().any(|header| header == "x-team: blue"));
        assert!(
            taken
                .headers
                .iter()
                .any(|header| header == "content-type: application/json")
        );
        let resource = taken.body.as_object().unwrap().values().next().unwrap();
        let attributes = resource[0]["resource"]["attributes"].as_array().unwrap();
        let pair = |name: &str, value: &str| json!({"key": name, "value": {"stringValue": value}});
        assert!(attributes.contains(&pair("service.name", "autoglm")));
        assert!(attributes.contains(&pair("deployment.environment.name", "test")));
    }
}

#[test]
fn metrics_are_those_that_prometheus_reads() {
    let sink = Sink::start(&[Manner::Takes]);
    let server = exporting(sink.settings());
    ask(&server);
    assert!(server.app.close_telemetry(Duration::from_secs(30)));
    let metrics = sink.things("/v1/metrics");
    let point = |name: &str, kind: &str| -> Value {
        let metric = metrics.iter().find(|metric| metric["name"] == name);
        let metric = metric.unwrap_or_else(|| panic!("{name}"));
        metric[kind]["dataPoints"][0].clone()
    };
    let tokens = point("vllm:generation_tokens_total", "sum");
    assert_eq!(tokens["asDouble"], 5.0);
    let first = point("vllm:time_to_first_token_seconds", "histogram");
    assert_eq!((&first["count"], &first["sum"]), (&json!("1"), &json!(0.2)));
    let bounds = first["explicitBounds"].as_array().unwrap();
    let counts = first["bucketCounts"].as_array().unwrap();
    assert_eq!(counts.len(), bounds.len() + 1);
    let at = bounds.iter().position(|bound| *bound == 0.25).unwrap();
    let nought = |count: &&Value| **count == "0";
    assert_eq!(counts[at], "1");
    assert_eq!(counts.iter().filter(nought).count(), bounds.len());
    let waiting = point("vllm:num_requests_waiting", "gauge");
    assert_eq!(waiting["asDouble"], 0.0);
}

#[test]
fn log_records_name_the_trace_that_they_belong_to() {
    let sink = Sink::start(&[Manner::Takes]);
    let server = exporting(sink.settings());
    ask(&server);
    assert!(server.app.close_telemetry(Duration::from_secs(30)));
    let [record] = sink.things("/v1/logs").try_into().unwrap();
    let spans = sink.things("/v1/traces");
    let root = spans.iter().find(|span| span["kind"] == 2).unwrap();
    assert_eq!(record["traceId"], root["traceId"]);
    assert_eq!(record["spanId"], root["spanId"]);
    assert_eq!(record["severityText"], "INFO");
    assert_eq!(record["body"]["stringValue"], "POST /v1/completions 200");
}

#[test]
fn a_collector_that_is_down_costs_spans_and_nothing_else() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let server = exporting(OtlpSettings {
        endpoint,
        queue: 20,
        batch: 10,
        delay: Duration::from_millis(1),
        ..OtlpSettings::default()
    });
    for _ in 0..20 {
        ask(&server);
    }
    assert!(server.app.close_telemetry(Duration::from_secs(30)));
    let lost = lost(&server);
    assert!(lost("queue_full") > 0.0 && lost("unreachable") > 0.0);
    assert_eq!(lost("queue_full") + lost("unreachable"), 20.0 * SPANS);
    assert_eq!(sent(&server), 0.0);
}

#[test]
fn requests_are_answered_while_a_collector_holds_its_answer_back() {
    let sink = Sink::start(&[Manner::Silent]);
    let server = exporting(OtlpSettings {
        queue: 20,
        batch: 10,
        ..sink.settings()
    });
    ask(&server);
    until("the collector is asked", || !sink.taken().is_empty());
    for _ in 0..20 {
        ask(&server);
    }
    // All were answered, and the collector still holds its first answer back.
    assert_eq!(sink.taken().len(), 1);
    assert!(lost(&server)("queue_full") > 0.0);
    assert!(!server.app.close_telemetry(Duration::ZERO));
}

#[test]
fn a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let sink = Sink::start(&[Manner::Says(503), Manner::Takes]);
    let server = exporting(OtlpSettings {
        logs: false,
        metrics: false,
        ..sink.settings()
    });
    ask(&server);
    until("all is sent", || sent(&server) == SPANS);
    let taken = sink.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].body, taken[1].body);

    let sink = Sink::start(&[Manner::Says(400)]);
    let server = exporting(OtlpSettings {
        logs: false,
        metrics: false,
        ..sink.settings()
    });
    ask(&server);
    until("all is lost", || lost(&server)("refused") == SPANS);
    assert_eq!(sink.taken().len(), 1);
}

#[test]
fn what_a_collector_does_not_take_of_a_batch_is_counted() {
    let sink = Sink::start(&[Manner::TakesAllButOne]);
    let server = exporting(OtlpSettings {
        logs: false,
        metrics: false,
        ..sink.settings()
    });
    ask(&server);
    until("all is sent", || sent(&server) == SPANS - 1.0);
    assert_eq!(lost(&server)("rejected"), 1.0);
}
