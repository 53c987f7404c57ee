//! The same against real components, where they are installed: Prometheus and its promtool
//! (Debian's package `prometheus`), and the collector rotel (`pip install rotel`, and
//! `AUTOGLM_ROTEL` names its program `rotel-agent`). A test whose component is missing says so and
//! passes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autoglm_server::OtlpSettings;
use serde_json::{Value, json};

use super::scripted::{Setup, agent, completion, start, until};
use super::text::Scrape;

fn ops(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops");
    root.join(path).canonicalize().unwrap()
}

/// Whether a program is there.
#[expect(
    clippy::print_stderr,
    reason = "whoever runs the tests must see what is left out"
)]
fn is_there(program: &str) -> bool {
    let version = Command::new(program).arg("--version").output();
    if version.is_err() {
        eprintln!("skipped: there is no {program} (Debian's package prometheus has it)");
    }
    version.is_ok()
}

fn promtool(words: &[&str], folder: &Path) -> Output {
    let output = Command::new("promtool")
        .args(words)
        .current_dir(folder)
        .output();
    output.unwrap()
}

fn check(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
}

/// A program that is ended with its test.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = Arc::<Mutex<String>>::default();
        let keeps = Arc::clone(&said);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut said = keeps.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self { child, said }
    }

    fn until_said(&self, text: &str) {
        until(text, || self.said.lock().unwrap().contains(text));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody listens at just now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn until_open(address: SocketAddr) {
    until("it listens", || TcpStream::connect(address).is_ok());
}

/// The queries of the dashboard, with its variables filled in.
fn dashboard_queries() -> Vec<String> {
    let text = std::fs::read_to_string(ops("grafana/autoglm.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().clone();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap());
    queries
        .map(|query| {
            let filled = query.replace("$__rate_interval", "1m");
            filled.replace("$instance", ".*").replace("$model", ".*")
        })
        .collect()
}

#[test]
fn rules_are_valid_and_do_what_their_tests_say() {
    if !is_there("promtool") {
        return;
    }
    let folder = ops("prometheus");
    check(&promtool(&["check", "rules", "alerts.yml"], &folder));
    check(&promtool(&["check", "config", "prometheus.yml"], &folder));
    check(&promtool(&["test", "rules", "alerts_test.yml"], &folder));
}

#[test]
fn promtool_finds_nothing_wrong_with_our_own_metrics() {
    if !is_there("promtool") {
        return;
    }
    let server = start(Setup::default());
    server.post("/v1/completions", &completion("hello", false));
    let text = server.get("/metrics").text;
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    // Colons are for rules, it says; but they are what dashboards of vLLM ask for.
    let about_ours: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("vllm:"))
        .collect();
    assert_eq!(about_ours, [""; 0]);
}

#[test]
fn prometheus_reads_the_metrics_and_answers_the_dashboard() {
    if !is_there("prometheus") {
        return;
    }
    let server = start(Setup::default());
    server.post("/v1/completions", &completion("hello", true));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.json");
    let settings = json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [ops("prometheus/alerts.yml")],
        "scrape_configs": [{
            "job_name": "autoglm",
            "static_configs": [{"targets": [server.address.to_string()]}],
        }],
    });
    std::fs::write(&config, settings.to_string()).unwrap();
    let address = free_address();
    let _prometheus = Running::start(
        Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}")),
    );
    let ready = format!("http://{address}/-/ready");
    until("it is ready", || {
        agent()
            .get(&ready)
            .call()
            .is_ok_and(|answer| answer.status() == 200)
    });
    let ask = |query: &str| -> Value {
        let request = agent().get(format!("http://{address}/api/v1/query"));
        let mut response = request.query("query", query).call().unwrap();
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
    };
    let tokens = r#"vllm:generation_tokens_total{model_name="tiny",job="autoglm"}"#;
    until("it has read the tokens", || {
        ask(tokens)["data"]["result"][0]["value"][1] == "5"
    });
    assert_eq!(
        ask(r#"up{job="autoglm"}"#)["data"]["result"][0]["value"][1],
        "1"
    );
    let queries = dashboard_queries();
    assert!(queries.len() > 30);
    for query in queries {
        let answer = ask(&query);
        assert_eq!(answer["status"], "success", "{query}: {answer}");
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by it where the program is"
)]
fn rotel_takes_spans_metrics_and_log_records() {
    let Ok(program) = std::env::var("AUTOGLM_ROTEL") else {
        eprintln!("skipped: AUTOGLM_ROTEL does not name the program rotel-agent (PyPI: rotel)");
        return;
    };
    let (http, grpc) = (free_address(), free_address());
    let mut command = Command::new(program);
    command.arg("start");
    for signal in ["traces", "metrics", "logs"] {
        command.args(["--debug-log", signal]);
    }
    let rotel = Running::start(
        command
            .args([
                "--debug-log-verbosity",
                "detailed",
                "--exporter",
                "blackhole",
            ])
            .args(["--otlp-http-endpoint", &http.to_string()])
            .args(["--otlp-grpc-endpoint", &grpc.to_string()]),
    );
    until_open(http);
    let server = start(Setup {
        export: Some(OtlpSettings {
            endpoint: format!("http://{http}"),
            ..OtlpSettings::default()
        }),
        ..Setup::default()
    });
    let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("traceparent", caller)];
    server.post_with("/v1/completions", &completion("hello", true), &headers);
    assert!(server.app.close_telemetry(Duration::from_secs(30)));
    for text in [
        "service.name: Str(autoglm)",
        "vllm:time_to_first_token_seconds",
        "POST /v1/completions 200",
    ] {
        rotel.until_said(text);
    }
    // The last one may still be being written.
    until("all spans", || {
        let spans = spans_told(&rotel);
        spans.len() == 8 && spans.iter().all(|span| !span.kind.is_empty())
    });
    check_tree(&spans_told(&rotel));
    let scrape = Scrape::read(&server.app.metrics().text());
    assert_eq!(
        scrape.value(r#"autoglm_telemetry_exported_total{signal="traces"}"#),
        8.0
    );
    let lost = scrape.series("autoglm_telemetry_dropped_total");
    assert!(
        lost.iter().all(|series| scrape.value(series) == 0.0),
        "{lost:?}"
    );
}

/// A span as the collector tells it.
#[derive(Default)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: String,
    attributes: BTreeMap<String, String>,
}

/// The spans that the collector has told whole so far: each ends where another thing begins.
fn spans_told(rotel: &Running) -> Vec<Span> {
    let said = rotel.said.lock().unwrap();
    let blocks = said.split("Span #").skip(1);
    blocks.map(span_told).collect()
}

fn span_told(block: &str) -> Span {
    let mut span = Span::default();
    for line in block.lines().skip(1) {
        // Attributes of other things stand behind the last span.
        if line.starts_with("Resource") || line.starts_with("Scope") || line.starts_with("Metric") {
            break;
        }
        if let Some((name, value)) = line
            .trim()
            .strip_prefix("-> ")
            .and_then(|l| l.split_once(": "))
        {
            span.attributes.insert(name.to_owned(), value.to_owned());
        } else if let Some((name, value)) = line.split_once(':') {
            let place = match name.trim() {
                "Trace ID" => &mut span.trace,
                "ID" => &mut span.id,
                "Parent ID" => &mut span.parent,
                "Name" => &mut span.name,
                "Kind" => &mut span.kind,
                _ => continue,
            };
            value.trim().clone_into(place);
        }
    }
    span
}

/// Checks that stages stand below their request, which stands below its caller's span, and that the
/// call has what the conventions for generative models ask for.
fn check_tree(spans: &[Span]) {
    let named = |name: &str| {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("the collector has no {name}"))
    };
    let root = named("POST /v1/completions");
    assert_eq!(root.parent, "00f067aa0ba902b7");
    assert_eq!(root.kind, "SPAN_KIND_SERVER");
    let call = named("text_completion tiny");
    for (name, parent) in [
        ("read", root),
        ("tokenize", root),
        ("queue", root),
        ("text_completion tiny", root),
        ("write", root),
        ("prefill", call),
        ("decode", call),
    ] {
        assert_eq!(named(name).parent, parent.id, "{name}");
    }
    for span in spans {
        assert_eq!(
            span.trace, "4bf92f3577b34da6a3ce929d0e0e4736",
            "{}",
            span.name
        );
    }
    for (name, value) in [
        ("gen_ai.operation.name", "Str(text_completion)"),
        ("gen_ai.provider.name", "Str(autoglm)"),
        ("gen_ai.request.model", "Str(tiny)"),
        ("gen_ai.response.model", "Str(tiny-q4_0)"),
        ("gen_ai.request.temperature", "Double(1)"),
        ("gen_ai.usage.input_tokens", "Int(5)"),
        ("gen_ai.usage.output_tokens", "Int(5)"),
        ("gen_ai.response.finish_reasons", "Slice(Str(stop))"),
    ] {
        assert_eq!(
            call.attributes.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    assert!(!call.attributes.contains_key("gen_ai.input.messages"));
}
