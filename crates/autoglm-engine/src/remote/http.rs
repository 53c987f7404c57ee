//! One exchange with a server: what goes out, and what a failure means.

use std::error::Error;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::Value;
use ureq::config::AutoHeaderValue;
use ureq::http::{HeaderMap, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, BodyReader};

use super::address::Address;
use super::error::RemoteError;
use super::key::ApiKey;
use super::retry::{Hope, retry_after};
use super::trace;
use super::wire::Complaint;

/// Bytes of an answer at most: the log-probabilities of a long prompt with 20 rivals each take some.
pub(crate) const ANSWER_LIMIT_BYTES: u64 = 64 << 20;

/// Bytes of a refusal at most.
const REFUSAL_LIMIT_BYTES: u64 = 64 << 10;

/// Characters of a server's complaint that are shown at most.
const SHOWN_CHARS: usize = 300;

/// Characters that a complaint may share with the prompt at most, to be shown.
const SHARED_CHARS: usize = 12;

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// What to reach a server with.
pub(crate) struct HttpSettings {
    pub(crate) address: Address,
    pub(crate) key: Option<ApiKey>,
    /// How long silence is borne.
    pub(crate) silence: Duration,
    /// Connections that are kept for further requests.
    pub(crate) connections: NonZeroUsize,
    /// Certificates of authorities in PEM, in place of those that are compiled in.
    pub(crate) authorities: Option<Vec<u8>>,
}

/// A server that can be asked.
pub(crate) struct Http {
    agent: Agent,
    address: Address,
    key: Option<ApiKey>,
    silence: Duration,
}

/// Why an exchange failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Box<RemoteError>,
    pub(crate) hope: Hope,
    /// What the server complained about, where it did.
    pub(crate) complaint: Box<Complaint>,
}

impl Failure {
    pub(crate) fn new(error: RemoteError, hope: Hope) -> Self {
        Self {
            error: Box::new(error),
            hope,
            complaint: Box::default(),
        }
    }

    /// The HTTP status, where there is one.
    pub(crate) fn status(&self) -> Option<u16> {
        match *self.error {
            RemoteError::Status { status, .. } => Some(status),
            _ => None,
        }
    }
}

impl Http {
    /// # Errors
    /// Certificates that cannot be read.
    pub(crate) fn new(settings: HttpSettings) -> Result<Self, RemoteError> {
        let authorities = settings.authorities.as_deref();
        let roots = authorities.map_or(Ok(RootCerts::WebPki), root_certificates)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would take the key along.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(settings.connections.get())
            // The library would read proxies from the environment.
            .proxy(None)
            .user_agent(concat!("autoglm/", env!("CARGO_PKG_VERSION")))
            // Packed streams come late.
            .accept_encoding(AutoHeaderValue::None)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_resolve(Some(CONNECT_LIMIT))
            .timeout_connect(Some(CONNECT_LIMIT.min(settings.silence)))
            .timeout_recv_response(Some(settings.silence))
            .timeout_per_read(Some(settings.silence))
            .timeout_per_write(Some(settings.silence))
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            address: settings.address,
            key: settings.key,
            silence: settings.silence,
        })
    }

    pub(crate) fn host(&self) -> String {
        self.address.host().to_owned()
    }

    /// Gets a JSON value.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        let mut request = self.agent.get(self.address.endpoint(path));
        if let Some(key) = &self.key {
            request = request.header("authorization", key.bearer());
        }
        let response = request.call().map_err(|error| self.failed(error))?;
        self.json(self.checked(response, "")?)
    }

    /// Posts a JSON value and gives the answer, whose body is still to be read.
    ///
    /// # Errors
    /// Whatever goes wrong, refusals included.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Response<Body>, Failure> {
        let mut request = self
            .agent
            .post(self.address.endpoint(path))
            .header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", key.bearer());
        }
        if let Some(trace) = trace::current() {
            request = request.header("traceparent", trace);
        }
        let text = body.to_string();
        let response = request
            .send(text.as_bytes())
            .map_err(|error| self.failed(error))?;
        self.checked(response, &prompt_text(body))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// A body that is too large, breaks off, or is no JSON.
    pub(crate) fn json(&self, response: Response<Body>) -> Result<Value, Failure> {
        let mut bytes = Vec::new();
        let read = reader(response).read_to_end(&mut bytes);
        read.map_err(|error| self.broken(error))?;
        serde_json::from_slice(&bytes).map_err(|_| self.odd("a text that is no JSON", "JSON"))
    }

    /// The failure that an answer is not what the protocol has.
    pub(crate) fn odd(&self, found: impl Into<String>, wanted: &'static str) -> Failure {
        let error = RemoteError::Shape {
            host: self.host(),
            found: found.into(),
            wanted,
            attempts: 1,
        };
        Failure::new(error, Hope::Soon)
    }

    /// What an error on the way of a body means.
    pub(crate) fn broken(&self, error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::InvalidData => self.odd(error.to_string(), "events of JSON"),
            _ => self.failed(error.into()),
        }
    }

    /// The response where it is a success.
    fn checked(&self, response: Response<Body>, prompt: &str) -> Result<Response<Body>, Failure> {
        let status = response.status().as_u16();
        match status {
            200..=299 => Ok(response),
            300..=399 => Err(self.redirected(response.headers())),
            _ => Err(self.refused(status, response, prompt)),
        }
    }

    fn redirected(&self, headers: &HeaderMap) -> Failure {
        let location = headers
            .get("location")
            .and_then(|value| value.to_str().ok());
        let uri = location.and_then(|text| text.parse::<ureq::http::Uri>().ok());
        let host = uri.as_ref().and_then(|uri| uri.host());
        let error = RemoteError::Redirect {
            host: self.host(),
            target: host.unwrap_or("another path").to_owned(),
        };
        Failure::new(error, Hope::None)
    }

    fn refused(&self, status: u16, response: Response<Body>, prompt: &str) -> Failure {
        let wait = response.headers().get("retry-after");
        let wait = wait.and_then(|value| retry_after(value.to_str().ok()?));
        let mut bytes = Vec::new();
        // A refusal that cannot be read says no more than its status.
        let limited = response.into_body().into_with_config().reader();
        let _ = limited.take(REFUSAL_LIMIT_BYTES).read_to_end(&mut bytes);
        let complaint = Complaint::of(&serde_json::from_slice(&bytes).unwrap_or_default());
        let hope = match (status, wait) {
            (429 | 500..=599, Some(wait)) => Hope::After(wait),
            (408 | 429 | 500..=599, _) => Hope::Soon,
            _ => Hope::None,
        };
        let error = RemoteError::Status {
            host: self.host(),
            status,
            said: shown(&complaint.message, self.key.as_ref(), prompt),
            attempts: 1,
        };
        Failure {
            complaint: Box::new(complaint),
            ..Failure::new(error, hope)
        }
    }

    /// What an error of the library means.
    fn failed(&self, error: ureq::Error) -> Failure {
        let host = self.host();
        match error {
            ureq::Error::Timeout(_) => {
                let (limit, attempts) = (self.silence, 1);
                Failure::new(
                    RemoteError::Silent {
                        host,
                        limit,
                        attempts,
                    },
                    Hope::Soon,
                )
            }
            ureq::Error::BodyExceedsLimit(limit_bytes) => {
                Failure::new(RemoteError::TooLarge { host, limit_bytes }, Hope::None)
            }
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::BadUri(_) => {
                Failure::new(unreachable(host, error), Hope::None)
            }
            error => Failure::new(unreachable(host, error), Hope::Soon),
        }
    }
}

fn unreachable(host: String, source: impl Error + Send + Sync + 'static) -> RemoteError {
    RemoteError::Unreachable {
        host,
        attempts: 1,
        source: Box::new(source),
    }
}

/// The body, bounded.
pub(crate) fn reader(response: Response<Body>) -> BodyReader<'static> {
    let body = response.into_body().into_with_config();
    body.limit(ANSWER_LIMIT_BYTES).reader()
}

/// Whether the answer is a stream of events.
pub(crate) fn is_stream(response: &Response<Body>) -> bool {
    response.body().mime_type() == Some("text/event-stream")
}

fn root_certificates(pem: &[u8]) -> Result<RootCerts, RemoteError> {
    let bad = |reason| RemoteError::Certificates { reason };
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(pem) {
        match item.map_err(|_| bad("the file is no PEM"))? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            PemItem::PrivateKey(_) => return Err(bad("the file holds a private key")),
            _ => {}
        }
    }
    if certificates.is_empty() {
        return Err(bad("the file holds none"));
    }
    Ok(RootCerts::from(certificates))
}

/// All texts that a request gives the model.
fn prompt_text(body: &Value) -> String {
    let messages = body.get("messages").and_then(Value::as_array);
    let contents = messages
        .into_iter()
        .flatten()
        .filter_map(|m| m.get("content"));
    let all = body.get("prompt").into_iter().chain(contents);
    all.filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

/// A complaint as it may be shown, with a colon in front; nothing where it repeats the key or the
/// prompt.
fn shown(message: &str, key: Option<&ApiKey>, prompt: &str) -> String {
    if key.is_some_and(|key| key.is_in(message)) {
        return String::new();
    }
    let message = message.replace(char::is_control, " ");
    let short: String = message.trim().chars().take(SHOWN_CHARS).collect();
    if short.is_empty() || shares(&short, prompt) {
        return String::new();
    }
    format!(": {short}")
}

/// Whether a message has a stretch of a prompt in it, or all of a short one.
fn shares(message: &str, prompt: &str) -> bool {
    let prompt = prompt.replace(char::is_control, " ");
    let window = prompt.chars().count().min(SHARED_CHARS);
    let chars: Vec<char> = message.chars().collect();
    window > 0
        && chars.windows(window).any(|stretch| {
            let stretch: String = stretch.iter().collect();
            prompt.contains(&stretch)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_shown_without_key_and_prompt() {
        let key = ApiKey::new("sk-123").unwrap();
        let shown = |message| shown(message, Some(&key), "Review: the worst film of all\nLabel:");
        assert_eq!(shown("bad `seed`\n"), ": bad `seed`");
        assert_eq!(shown("wrong key sk-123 given"), "");
        assert_eq!(shown("cannot take 'the worst film of' as input"), "");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn a_short_prompt_is_not_repeated_either() {
        assert_eq!(shown("bad input 'abc'", None, "abc"), "");
        assert_eq!(shown("bad input", None, "abc"), ": bad input");
    }

    #[test]
    fn certificates_must_be_there_and_no_key_beside_them() {
        let reason = |pem: &[u8]| root_certificates(pem).unwrap_err().to_string();
        assert!(reason(b"").contains("holds none"));
        assert!(reason(b"-----BEGIN CERTIFICATE-----\n!!").len() > 10);
        let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(reason(key).contains("private key"));
    }
}
