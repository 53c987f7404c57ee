//! One record a request, for whoever keeps a log. It holds no prompt, no answer and no key.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autoglm_task::utc;
use serde_json::{Value, json};

use crate::observe::{Noted, Observation};

/// Lines that wait for a writer that is slow.
const WAITING_LINES: usize = 4_096;

/// Takes records. It is called by the threads that answer requests, and must not wait.
pub type LogSink = Arc<dyn Fn(&LogRecord) + Send + Sync>;

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// An object of JSON.
    Json,
    /// `name=value`, for people.
    Text,
}

/// How much a record matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// All is well, or the client has made a mistake.
    Info,
    /// There was no room or no time for the request.
    Warn,
    /// The server has made a mistake.
    Error,
}

/// What is told of a request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LogRecord {
    /// When it ended.
    pub time: SystemTime,
    /// Its method, or `_OTHER`.
    pub method: &'static str,
    /// The route as it is declared, or `other`.
    pub route: String,
    /// The status of the answer, 499 where the client left before there was one.
    pub status: u16,
    /// Whether the answer has gone out as a whole.
    pub is_whole: bool,
    /// Why it was refused or failed.
    pub reason: Option<&'static str>,
    /// Who asked.
    pub client: Option<String>,
    /// The model that answered or was to.
    pub model: Option<String>,
    /// From its head to the last byte of its answer.
    pub took: Duration,
    /// In the queue.
    pub queued: Option<Duration>,
    /// From its head to the first token.
    pub first_token: Option<Duration>,
    /// Tokens of its prompts.
    pub prompt_tokens: usize,
    /// Of these, in the cache.
    pub cached_tokens: usize,
    /// Tokens of the answers.
    pub generated_tokens: usize,
    /// How the answers ended.
    pub finishes: Vec<&'static str>,
    /// Bytes of the body that came.
    pub received_bytes: u64,
    /// Bytes of the body that went.
    pub sent_bytes: u64,
    /// The trace, by its id of 32 hexadecimal digits.
    pub trace_id: String,
    /// The request's span in it, by its id of 16.
    pub span_id: String,
    /// Whether the trace is recorded.
    pub is_sampled: bool,
}

impl LogRecord {
    /// The record of a request at its end.
    pub(crate) fn of(
        observation: &Observation,
        noted: &Noted,
        is_whole: bool,
        ended: Duration,
    ) -> Self {
        let calls = &noted.calls;
        let first = calls.iter().filter_map(|call| call.first).min();
        let since = |moment: Duration| moment.saturating_sub(observation.arrived);
        let model = calls.first().map(|call| call.model.clone());
        Self {
            time: observation.at(ended),
            method: observation.head.method,
            route: observation.head.route.clone(),
            status: noted.status_or_left(),
            is_whole,
            reason: noted.reason,
            client: noted.client.clone(),
            model: model.or_else(|| noted.model.clone()),
            took: since(ended),
            queued: noted.queue.map(|(from, until)| until.saturating_sub(from)),
            first_token: first.map(since),
            prompt_tokens: noted.tokens.prompt,
            cached_tokens: noted.tokens.cached,
            generated_tokens: noted.tokens.generated,
            finishes: calls
                .iter()
                .flat_map(|call| call.finishes.iter().map(|finish| finish.word()))
                .collect(),
            received_bytes: noted.received_bytes,
            sent_bytes: noted.sent_bytes,
            trace_id: observation.context.trace.to_string(),
            span_id: observation.context.span.to_string(),
            is_sampled: observation.context.is_sampled,
        }
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self.status {
            429 | 503 | 504 => Severity::Warn,
            500.. => Severity::Error,
            // The answer broke off.
            ..400 if self.reason.is_some() => Severity::Warn,
            _ => Severity::Info,
        }
    }

    /// The record as one line, without the end of the line.
    pub fn line(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Json => {
                let fields = self.fields().into_iter();
                let fields = fields.map(|(name, value)| (name.to_owned(), value));
                Value::Object(fields.collect()).to_string()
            }
            LogFormat::Text => self.text(),
        }
    }

    /// The values by name, without those that are not known.
    pub(crate) fn fields(&self) -> Vec<(&'static str, Value)> {
        let seconds = |duration: Duration| json!(rounded(duration));
        let known = [
            ("time", json!(timestamp(self.time))),
            ("severity", json!(self.severity().word())),
            ("method", json!(self.method)),
            ("route", json!(self.route)),
            ("status", json!(self.status)),
            ("whole", json!(self.is_whole)),
            ("reason", json!(self.reason)),
            ("client", json!(self.client)),
            ("model", json!(self.model)),
            ("seconds", seconds(self.took)),
            ("queue_seconds", json!(self.queued.map(rounded))),
            ("first_token_seconds", json!(self.first_token.map(rounded))),
            ("prompt_tokens", json!(self.prompt_tokens)),
            ("cached_tokens", json!(self.cached_tokens)),
            ("generated_tokens", json!(self.generated_tokens)),
            ("finish", json!(self.finishes)),
            ("received_bytes", json!(self.received_bytes)),
            ("sent_bytes", json!(self.sent_bytes)),
            ("trace_id", json!(self.trace_id)),
            ("span_id", json!(self.span_id)),
            ("sampled", json!(self.is_sampled)),
        ];
        known
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect()
    }

    fn text(&self) -> String {
        let mut line = String::new();
        for (name, value) in self.fields() {
            let space = if line.is_empty() { "" } else { " " };
            // A text from outside is quoted, so that it cannot pass for another field or line.
            let value = match value {
                Value::String(text) if is_plain(&text) => text,
                other => other.to_string(),
            };
            // Writing to a string does not fail.
            let _ = write!(line, "{space}{name}={value}");
        }
        line
    }
}

impl Severity {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && c != '"' && c != '=')
}

/// Seconds to the microsecond.
fn rounded(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

/// `2026-11-27T13:05:00.250Z`.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = utc(since.as_millis() as i64).replace(' ', "T");
    format!("{second}.{:03}Z", since.subsec_millis())
}

/// Writes records as lines in a thread of its own. Where the writer is slower than requests come,
/// lines are left out, and a line says how many.
pub struct LogWriter {
    sender: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

enum Line {
    Record(Box<LogRecord>),
    End,
}

impl LogWriter {
    /// Begins to write.
    ///
    /// # Panics
    /// If the system gives no thread.
    pub fn start(writer: impl Write + Send + 'static, format: LogFormat) -> Self {
        let (sender, lines) = sync_channel(WAITING_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        let thread = std::thread::Builder::new().name("log".to_owned());
        let thread = thread.spawn(move || write_lines(writer, format, &lines, &counted));
        Self {
            sender,
            dropped,
            thread: thread.expect("the system has a thread for the log"),
        }
    }

    /// What takes records.
    pub fn sink(&self) -> LogSink {
        let (sender, dropped) = (self.sender.clone(), Arc::clone(&self.dropped));
        Arc::new(move |record| {
            let line = Line::Record(Box::new(record.clone()));
            if sender.try_send(line).is_err() {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Waits until what has come is written.
    pub fn close(self) {
        // A thread that has ended already has written what it could.
        let _ = self.sender.send(Line::End);
        let _ = self.thread.join();
    }
}

/// Writes lines until the end. A line that cannot be written is lost: there is nowhere to tell it.
fn write_lines(
    mut writer: impl Write,
    format: LogFormat,
    lines: &Receiver<Line>,
    dropped: &AtomicU64,
) {
    while let Ok(Line::Record(record)) = lines.recv() {
        let _ = writeln!(writer, "{}", record.line(format));
        let missing = dropped.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let told = match format {
                LogFormat::Json => {
                    json!({"severity": "WARN", "dropped_lines": missing}).to_string()
                }
                LogFormat::Text => format!("severity=WARN dropped_lines={missing}"),
            };
            let _ = writeln!(writer, "{told}");
        }
        let _ = writer.flush();
    }
}
