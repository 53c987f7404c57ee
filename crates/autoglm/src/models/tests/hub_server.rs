//! Speaks as much of a model hub's protocol as fetching a file takes, on the loopback interface.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::sha256_of;
use crate::models::HubSettings;

pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub serves and how it misbehaves.
pub(super) struct Behaviour {
    pub(super) content: Vec<u8>,
    pub(super) etag: String,
    /// After how many bytes the next transfers break off.
    pub(super) breaks: VecDeque<usize>,
    /// The next transfer ignores the range and sends everything.
    pub(super) ignores_range_once: bool,
    /// Refers to another address for the content, as hubs do for large files.
    pub(super) redirects: bool,
}

/// A hub that serves the file `tiny.gguf` of `owner/tiny`.
pub(super) struct HubServer {
    address: String,
    pub(super) behaviour: Arc<Mutex<Behaviour>>,
    /// What was asked for: path, range and token.
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Debug, Clone)]
struct Request {
    path: String,
    range: Option<String>,
    token: Option<String>,
}

impl HubServer {
    pub(super) fn start(content: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let behaviour = Arc::new(Mutex::new(Behaviour {
            etag: sha256_of(&content),
            content,
            breaks: VecDeque::new(),
            ignores_range_once: false,
            redirects: true,
        }));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let hub = Self {
            address,
            behaviour,
            requests,
        };
        let (address, behaviour, requests) = (
            hub.address.clone(),
            hub.behaviour.clone(),
            hub.requests.clone(),
        );
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                // A client that hangs up is part of the tests.
                let _ = answer(stream, &address, &behaviour, &requests);
            }
        });
        hub
    }

    pub(super) fn settings(&self) -> HubSettings {
        HubSettings {
            endpoint: Some(self.address.clone()),
            token: Some("secret".to_owned()),
        }
    }

    /// The ranges of all transfers of content, without those that only ask for the size.
    pub(super) fn transfers(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let ranges = requests.iter().filter_map(|request| request.range.clone());
        ranges.filter(|range| range != "bytes=0-0").collect()
    }

    pub(super) fn tokens(&self) -> Vec<Option<String>> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|request| request.token.clone())
            .collect()
    }
}

fn answer(
    mut stream: TcpStream,
    address: &str,
    behaviour: &Mutex<Behaviour>,
    requests: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    requests.lock().unwrap().push(request.clone());
    let mut behaviour = behaviour.lock().unwrap();
    match request.path.as_str() {
        "/api/models/owner/tiny/revision/main" | "/api/models/owner/tiny" => {
            let body = r#"{"siblings": [], "sha": "0", "cardData": {"license": "mit"}}"#;
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            )
        }
        path if path.starts_with("/owner/tiny/resolve/") && path.ends_with("/tiny.gguf") => {
            if behaviour.redirects {
                let etag = &behaviour.etag;
                write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nLocation: {address}/elsewhere/tiny.gguf\r\n\
                     X-Linked-ETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\n\
                     Content-Length: 0\r\nConnection: close\r\n\r\n"
                )
            } else {
                send(stream, &request, &mut behaviour)
            }
        }
        "/elsewhere/tiny.gguf" => send(stream, &request, &mut behaviour),
        _ => write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request {
        path,
        range: None,
        token: None,
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.token = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(request)
}

/// Sends the range that is asked for, or as much of it as the next break lets through.
fn send(
    mut stream: TcpStream,
    request: &Request,
    behaviour: &mut Behaviour,
) -> std::io::Result<()> {
    let total = behaviour.content.len();
    let asked = request
        .range
        .as_deref()
        .and_then(|range| range.strip_prefix("bytes="));
    let (start, end) = asked
        .and_then(|range| range.split_once('-'))
        .unwrap_or(("0", ""));
    let is_transfer = end.is_empty();
    let mut start: usize = start.parse().unwrap_or(0);
    let end = end.parse::<usize>().map_or(total, |end| end + 1).min(total);
    if start >= total {
        return write!(
            stream,
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    if is_transfer && start > 0 && std::mem::take(&mut behaviour.ignores_range_once) {
        start = 0;
    }
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}\r\n\
         Content-Length: {}\r\nETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\n\
         Connection: close\r\n\r\n",
        end - 1,
        end - start,
        behaviour.etag
    )?;
    let mut sent = end - start;
    if is_transfer && let Some(limit) = behaviour.breaks.pop_front() {
        sent = sent.min(limit);
    }
    stream.write_all(&behaviour.content[start..start + sent])
}
