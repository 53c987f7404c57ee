//! A server for tests: real HTTP over loopback, every byte as the test says. Beside it a tiny
//! language model, so that scores can be computed by hand.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of this"
)]
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "a test may panic, that is how it fails"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What a client sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn is_chat(&self) -> bool {
        self.path.ends_with("/chat/completions")
    }

    /// The prompt, or the last message.
    pub fn prompt(&self) -> String {
        let last = self.body["messages"].as_array().and_then(|all| all.last());
        let content = last.map(|message| &message["content"]);
        let prompt = content.unwrap_or(&self.body["prompt"]);
        prompt.as_str().unwrap_or_default().to_owned()
    }

    /// Whether it is one of the short requests by which the engine finds out about a server.
    pub fn is_probe(&self) -> bool {
        ["Say yes.", "1, 2, 3,"].contains(&self.prompt().as_str())
    }
}

/// What a server answers: pieces, each sent for itself, and what it does then.
pub struct Reply {
    pub pieces: Vec<Vec<u8>>,
    pub then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Keep,
    Close,
    /// Says nothing more and keeps the connection.
    Hang,
}

/// A whole answer with JSON.
pub fn json_reply(status: u16, value: &Value) -> Reply {
    with_headers(
        status,
        "content-type: application/json\r\n",
        &value.to_string(),
    )
}

pub fn with_headers(status: u16, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
    Reply {
        pieces: vec![text.into_bytes()],
        then: Then::Keep,
    }
}

/// The head of a chunked stream of events.
pub fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_vec()
}

pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// Events with these data as one stream that ends in `[DONE]`, cut into chunks of `size` bytes.
pub fn stream(data: &[Value], size: usize) -> Reply {
    let events = data.iter().map(|value| format!("data: {value}\n\n"));
    let text = events.collect::<Vec<_>>().concat() + "data: [DONE]\n\n";
    let mut pieces = vec![stream_head()];
    pieces.extend(text.as_bytes().chunks(size).map(chunk));
    pieces.push(b"0\r\n\r\n".to_vec());
    Reply {
        pieces,
        then: Then::Keep,
    }
}

/// A piece of a streamed message or completion.
pub fn piece(is_chat: bool, text: &str, finish: Option<&str>) -> Value {
    if is_chat {
        json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]})
    } else {
        json!({"choices": [{"index": 0, "text": text, "finish_reason": finish}]})
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server that answers as its handler says, until it is dropped.
pub struct ScriptedServer {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
}

impl ScriptedServer {
    pub fn new(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            seen: Arc::default(),
            under_way: Arc::default(),
            most: Arc::default(),
            closed: Arc::default(),
        };
        let handler: Arc<Handler> = Arc::new(handler);
        let closed = Arc::clone(&server.closed);
        let desk = server.desk();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                let (desk, handler) = (desk.clone(), Arc::clone(&handler));
                thread::spawn(move || desk.serve(stream.unwrap(), &*handler));
            }
        });
        server
    }

    /// A server whose answers to the engine's first questions are usual ones: the model `m` with a
    /// context of 512 tokens, turns and plain text, no log-probabilities.
    pub fn usual(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::new(move |request| usual(request).unwrap_or_else(|| handler(request)))
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// The requests so far, without those by which the engine finds out about a server.
    pub fn seen(&self) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        let is_question = |request: &&Request| request.method == "GET" || request.is_probe();
        seen.iter()
            .filter(|request| !is_question(request))
            .cloned()
            .collect()
    }

    pub fn all_seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// The most requests that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.under_way)
    }

    fn desk(&self) -> Desk {
        Desk {
            seen: Arc::clone(&self.seen),
            under_way: Arc::clone(&self.under_way),
            most: Arc::clone(&self.most),
            closed: Arc::clone(&self.closed),
        }
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

#[derive(Clone)]
struct Desk {
    seen: Arc<Mutex<Vec<Request>>>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
}

impl Desk {
    /// Answers the requests of a connection. A client may leave at any time.
    fn serve(&self, stream: TcpStream, handler: &Handler) {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        let mut output = stream;
        while let Some(request) = read_request(&mut input) {
            self.seen.lock().unwrap().push(request.clone());
            let count = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(count, Ordering::SeqCst);
            let reply = handler(&request);
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            let sent = reply.pieces.iter().all(|piece| {
                output
                    .write_all(piece)
                    .and_then(|()| output.flush())
                    .is_ok()
            });
            match reply.then {
                Then::Keep if sent => {}
                Then::Keep | Then::Close => return,
                Then::Hang => {
                    while !self.closed.load(Ordering::SeqCst) {
                        thread::sleep(Duration::from_millis(10));
                    }
                    return;
                }
            }
        }
    }
}

fn read_request(input: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut first = String::new();
    input.read_line(&mut first).ok()?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        path,
        headers,
        body: Value::Null,
    };
    let length = request
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    input.read_exact(&mut body).ok()?;
    request.body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(request)
}

/// The answers of a usual server to the engine's first questions.
pub fn usual(request: &Request) -> Option<Reply> {
    if request.path.ends_with("/models") {
        let models = json!({"object": "list", "data": [
            {"id": "m", "object": "model", "max_model_len": 512}, {"id": "other"}]});
        return Some(json_reply(200, &models));
    }
    let answer = json!({"choices": [{"text": " 4", "message": {"content": "yes"},
        "finish_reason": "length"}]});
    request.is_probe().then(|| json_reply(200, &answer))
}

/// The words that the tiny model knows best.
pub const WORDS: [&str; 5] = [" yes", " no", " maybe", " Paris", " 8"];

/// The tiny model: the log-probability of a word behind a text. Words that it does not know share
/// what is left.
pub fn logprob(before: &str, word: &str) -> f32 {
    let weight = |word: &str| 1.0 + f64::from(hash(&format!("{before}|{word}")) % 1000) / 100.0;
    let total: f64 = WORDS.iter().map(|word| weight(word)).sum();
    let share = if WORDS.contains(&word) {
        0.9 * weight(word) / total
    } else {
        0.001 * weight(word) / 11.0
    };
    share.ln() as f32
}

fn hash(text: &str) -> u32 {
    text.bytes().fold(2_166_136_261, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    })
}

/// A text in the tiny model's tokens: words with the space before them.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut cuts: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).collect();
    cuts.retain(|&at| at > 0);
    cuts.insert(0, 0);
    cuts.push(text.len());
    cuts.windows(2)
        .map(|w| &text[w[0]..w[1]])
        .filter(|word| !word.is_empty())
        .collect()
}

/// What the tiny model's server tells of a place: its words, likeliest first, `count` at most.
fn top(before: &str, count: usize) -> Vec<(&'static str, f32)> {
    let mut all: Vec<(&str, f32)> = WORDS.iter().map(|&w| (w, logprob(before, w))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(count);
    all
}

/// A completion of the tiny model: always its likeliest word, echo and log-probabilities as asked.
pub fn complete(request: &Request) -> Reply {
    let prompt = request.prompt();
    let count = request.body["logprobs"].as_u64();
    let next = top(&prompt, 1)[0].0;
    let is_echo = request.body["echo"] == true;
    let whole = format!("{prompt}{next}");
    let text = if is_echo {
        whole.clone()
    } else {
        next.to_owned()
    };
    let words = if is_echo { tokens(&whole) } else { vec![next] };
    let mut place = if is_echo { 0 } else { prompt.len() };
    let (mut places, mut own, mut tops) = (Vec::new(), Vec::new(), Vec::new());
    for word in &words {
        let before = &whole[..place];
        places.push(place);
        own.push(if place == 0 {
            None
        } else {
            Some(logprob(before, word))
        });
        let top = top(before, count.unwrap_or(0) as usize);
        tops.push(
            top.into_iter()
                .map(|(w, p)| (w.to_owned(), json!(p)))
                .collect::<serde_json::Map<_, _>>(),
        );
        place += word.len();
    }
    let logprobs = count.map(|_| {
        json!({"tokens": words, "token_logprobs": own, "top_logprobs": tops, "text_offset": places})
    });
    let usage = json!({"prompt_tokens": tokens(&prompt).len(), "completion_tokens": 1});
    json_reply(
        200,
        &json!({"choices": [{"text": text, "logprobs": logprobs, "finish_reason": "length"}],
            "usage": usage}),
    )
}

/// The tiny model's message: the same in the form of chats, at most 3 words told. Its prompts are
/// the last messages.
pub fn chat(request: &Request) -> Reply {
    let prompt = request.prompt();
    let count = request.body["top_logprobs"].as_u64().unwrap_or(0).min(3) as usize;
    let told = |(word, p): (&str, f32)| json!({"token": word.trim(), "logprob": p});
    let likely: Vec<Value> = top(&prompt, count).into_iter().map(told).collect();
    let (next, p) = top(&prompt, 1)[0];
    let logprobs =
        json!({"content": [{"token": next.trim(), "logprob": p, "top_logprobs": likely}]});
    json_reply(
        200,
        &json!({"choices": [{"message": {"role": "assistant", "content": next.trim()},
            "logprobs": logprobs, "finish_reason": "stop"}]}),
    )
}
