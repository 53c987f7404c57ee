//! The line of each request.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use autoglm_server::{LogFormat, LogWriter, Severity};
use serde_json::{Value, json};

use super::scripted::{Setup, chat, completion, start};

/// Keeps what is written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_request_has_one_line_with_its_times_tokens_and_trace() {
    let server = start(Setup::default());
    let mut body = chat("hello", true);
    body["user"] = json!("ann");
    let answer = server.post("/v1/chat/completions", &body);
    let line = server.last_record().line(LogFormat::Json);
    let line: Value = serde_json::from_str(&line).unwrap();
    let trace = answer.trace.unwrap();
    let ids: Vec<&str> = trace.split('-').collect();
    assert_eq!(
        line,
        json!({
            "time": "2027-01-15T08:00:00.400Z",
            "severity": "INFO",
            "method": "POST",
            "route": "/v1/chat/completions",
            "status": 200,
            "whole": true,
            "client": "127.0.0.1/ann",
            "model": "tiny",
            "seconds": 0.4,
            "queue_seconds": 0.0,
            "first_token_seconds": 0.2,
            "prompt_tokens": 5,
            "cached_tokens": 4,
            "generated_tokens": 5,
            "finish": ["stop"],
            "received_bytes": body.to_string().len(),
            "sent_bytes": answer.text.len(),
            "trace_id": ids[1],
            "span_id": ids[2],
            "sampled": true,
        })
    );
}

#[test]
fn a_refused_request_says_why_and_how_grave_that_is() {
    let server = start(Setup::default());
    server.post("/v1/completions", &json!({"prompt": "x", "best_of": 3}));
    let record = server.last_record();
    assert_eq!(
        (record.status, record.reason),
        (400, Some("unsupported_parameter"))
    );
    assert_eq!(record.severity(), Severity::Info);
    server.app.stop();
    server.get("/health/ready");
    let record = server.last_record();
    assert_eq!((record.status, record.reason), (503, Some("stopping")));
    assert_eq!(record.severity(), Severity::Warn);
}

#[test]
fn no_line_holds_a_prompt_an_answer_or_a_key() {
    let server = start(Setup::default());
    let secret = [("authorization", "Bearer sk-geheim")];
    for stream in [false, true] {
        server.post_with("/v1/completions", &completion("geheimnis", stream), &secret);
        server.post_with("/v1/chat/completions", &chat("geheimnis", stream), &secret);
    }
    server.get("/v1/models?key=geheim");
    let records = server.records.lock().unwrap();
    assert_eq!(records.len(), 5);
    for record in records.iter() {
        assert!(!format!("{record:?}").contains("geheim"), "{record:?}");
    }
}

/// A client must not be able to write lines of its own.
#[test]
fn names_from_outside_stay_in_their_field() {
    let server = start(Setup::default());
    let mut body = completion("x", false);
    body["user"] = json!("ann\ntime=2000 status=200");
    server.post("/v1/completions", &body);
    let line = server.last_record().line(LogFormat::Text);
    assert_eq!(line.lines().count(), 1);
    let client = r#" client="127.0.0.1/ann\ntime=2000 status=200" "#;
    assert!(line.contains(client), "{line}");
    body["user"] = json!("a".repeat(10_000));
    server.post("/v1/completions", &body);
    assert!(server.last_record().line(LogFormat::Text).len() < 1_000);
}

#[test]
fn a_writer_writes_what_has_come_before_it_closes() {
    let written = Written::default();
    let writer = LogWriter::start(written.clone(), LogFormat::Text);
    let server = start(Setup {
        log: Some(writer.sink()),
        ..Setup::default()
    });
    for _ in 0..10 {
        server.get("/health/live");
    }
    writer.close();
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 10);
    let first = text.lines().next().unwrap();
    let begin =
        "time=2027-01-15T08:00:00.000Z severity=INFO method=GET route=/health/live status=200";
    assert!(first.starts_with(begin), "{first}");
}

/// A writer that takes one line and then no more until it is let.
struct Stuck {
    written: Written,
    hold: Arc<Mutex<()>>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _held = self.hold.lock().unwrap();
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_is_stuck_loses_lines_and_says_how_many() {
    let (written, hold) = (Written::default(), Arc::new(Mutex::new(())));
    let stuck = Stuck {
        written: written.clone(),
        hold: Arc::clone(&hold),
    };
    let writer = LogWriter::start(stuck, LogFormat::Json);
    let server = start(Setup::default());
    server.get("/health/live");
    let record = server.last_record();
    let held = hold.lock().unwrap();
    let sink = writer.sink();
    for _ in 0..10_000 {
        sink(&record);
    }
    drop(held);
    writer.close();
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (told, lost): (Vec<Value>, Vec<Value>) =
        lines.partition(|line| line["dropped_lines"].is_null());
    let lost: u64 = lost
        .iter()
        .map(|line| line["dropped_lines"].as_u64().unwrap())
        .sum();
    assert!(lost > 0);
    assert_eq!(told.len() as u64 + lost, 10_000);
}
