//! A collector of the tests: it keeps what it is sent, and may be slow or refuse.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autoglm_server::OtlpSettings;
use serde_json::Value;

/// What one request to the collector held.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) path: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Value,
}

/// How the collector answers, request after request; after the last as the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It takes what it gets.
    Takes,
    /// It takes all but one.
    TakesAllButOne,
    /// It answers with this status.
    Says(u16),
    /// It never answers.
    Silent,
}

/// A collector.
pub(crate) struct Sink {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Sink {
    pub(crate) fn start(manners: &[Manner]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::<Mutex<Vec<Taken>>>::default();
        let manners = manners.to_vec();
        let keeps = Arc::clone(&taken);
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                held.extend(answer(stream.unwrap(), &manners, &keeps));
            }
        });
        Self { address, taken }
    }

    /// Settings that send everything here, at once.
    pub(crate) fn settings(&self) -> OtlpSettings {
        OtlpSettings {
            endpoint: format!("http://{}", self.address),
            delay: Duration::from_millis(1),
            ..OtlpSettings::default()
        }
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// What was sent to a path, all of it together: spans, metrics or log records.
    pub(crate) fn things(&self, path: &str) -> Vec<Value> {
        let [resources, scopes, things] = match path {
            "/v1/traces" => ["resourceSpans", "scopeSpans", "spans"],
            "/v1/logs" => ["resourceLogs", "scopeLogs", "logRecords"],
            _ => ["resourceMetrics", "scopeMetrics", "metrics"],
        };
        let taken = self.taken().into_iter().filter(|taken| taken.path == path);
        taken
            .flat_map(|taken| list(&taken.body[resources]))
            .flat_map(|resource| list(&resource[scopes]))
            .flat_map(|scope| list(&scope[things]))
            .collect()
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().unwrap().clone()
}

/// Answers the one request of a connection. Gives back a connection that must stay open.
fn answer(
    mut stream: TcpStream,
    manners: &[Manner],
    taken: &Mutex<Vec<Taken>>,
) -> Option<TcpStream> {
    let request = read(&stream);
    let mut taken = taken.lock().unwrap();
    let manner = manners[taken.len().min(manners.len() - 1)];
    taken.push(request);
    drop(taken);
    let (status, body) = match manner {
        Manner::Silent => return Some(stream),
        Manner::Takes => (200, r#"{"partialSuccess":null}"#),
        Manner::TakesAllButOne => (200, r#"{"partialSuccess":{"rejectedSpans":"1"}}"#),
        Manner::Says(status) => (status, ""),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} x\r\nconnection: close\r\nretry-after: 0\r\ncontent-length: {length}\r\n\r\n"
    );
    // Whoever asked may have gone.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
    None
}

fn read(stream: &TcpStream) -> Taken {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let length = headers.iter().find_map(|header| {
        let header = header.to_ascii_lowercase();
        header.strip_prefix("content-length: ")?.parse().ok()
    });
    let mut body = vec![0; length.unwrap()];
    reader.read_exact(&mut body).unwrap();
    Taken {
        path: first.split(' ').nth(1).unwrap().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap(),
    }
}
