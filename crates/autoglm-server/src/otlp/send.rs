//! Requests to the collector.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use super::queue::Queue;
use super::{OtlpSettings, Signal};

/// How often a batch is tried.
const TRIES: u32 = 3;
/// How long to wait before it is tried again; twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read at most.
const ANSWER_BYTES: u64 = 64 << 10;

/// Sends batches to a collector.
pub(super) struct Sender {
    agent: Agent,
    endpoint: String,
    headers: Vec<(String, String)>,
}

/// How one try ended, if not well.
enum Failure {
    /// It may be tried again, after so long where the collector says so.
    Later(Option<Duration>),
    /// It would end so every time.
    Never,
}

impl Sender {
    /// A sender to this collector.
    pub(super) fn new(settings: &OtlpSettings) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            // Proxies are named in the environment, which only the binary reads.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("autoglm/", env!("CARGO_PKG_VERSION")));
        Self {
            agent: config.build().into(),
            endpoint: settings.endpoint.trim_end_matches('/').to_owned(),
            headers: settings.headers.clone(),
        }
    }

    /// Sends a batch. Says how many of it the collector did not take.
    ///
    /// # Errors
    /// Why the batch is lost: `unreachable` or `refused`.
    pub(super) fn send(
        &self,
        signal: Signal,
        body: &Value,
        queue: &Queue,
    ) -> Result<usize, &'static str> {
        let body = body.to_string();
        for attempt in 0..TRIES {
            let after = match self.try_once(signal, &body) {
                Ok(rejected) => return Ok(rejected),
                Err(Failure::Never) => return Err("refused"),
                Err(Failure::Later(after)) => after,
            };
            let pause = after.unwrap_or(PAUSE * 2_u32.pow(attempt));
            // A server that stops does not wait for a collector that is down.
            if attempt + 1 < TRIES && queue.pause(pause.min(LONGEST_PAUSE)) {
                break;
            }
        }
        Err("unreachable")
    }

    fn try_once(&self, signal: Signal, body: &str) -> Result<usize, Failure> {
        let url = format!("{}/v1/{}", self.endpoint, signal.word());
        let mut request = self
            .agent
            .post(url)
            .header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = request.send(body);
        let mut response = answer.map_err(|_| Failure::Later(None))?;
        match response.status().as_u16() {
            200..=299 => {
                let answer = response.body_mut().with_config().limit(ANSWER_BYTES);
                Ok(answer.read_to_string().map_or(0, |text| rejected(&text)))
            }
            429 | 502 | 503 | 504 => {
                let after = response.headers().get("retry-after");
                let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
                Err(Failure::Later(after.map(Duration::from_secs)))
            }
            _ => Err(Failure::Never),
        }
    }
}

/// How many a collector says it did not take.
fn rejected(answer: &str) -> usize {
    let Ok(answer) = serde_json::from_str::<Value>(answer) else {
        return 0;
    };
    let partial = &answer["partialSuccess"];
    let names = ["rejectedSpans", "rejectedDataPoints", "rejectedLogRecords"];
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().map(|number| number as usize),
    };
    names
        .iter()
        .find_map(|name| number(&partial[name]))
        .unwrap_or(0)
}
