//! A client of HTTP/1.1 over any stream.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

/// Long enough for anything that is to happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
pub(crate) struct Client(SendRequest<Body>);

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

impl Client {
    /// A connection over a stream.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, hyper::Error> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// A connection without TLS.
    pub(crate) async fn plain(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
            .await
            .unwrap()
    }

    /// Asks, and waits for the whole answer.
    pub(crate) async fn ask(&mut self, request: Request<Body>) -> Result<Answer, String> {
        let answer = tokio::time::timeout(PATIENCE, self.ask_for_ever(request));
        // Being cut is an error that tests wait for; being forgotten never is.
        answer.await.expect("an answer or an end")
    }

    async fn ask_for_ever(&mut self, request: Request<Body>) -> Result<Answer, String> {
        let told = |error: &dyn std::fmt::Debug| format!("{error:?}");
        self.0.ready().await.map_err(|error| told(&error))?;
        let response = self.0.send_request(request).await;
        let (parts, body) = response.map_err(|error| told(&error))?.into_parts();
        let bytes = to_bytes(Body::new(body), usize::MAX).await;
        let bytes = bytes.map_err(|error| told(&error))?;
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }
}

/// `GET` of a path.
pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "localhost")
        .body(Body::empty())
        .unwrap()
}

/// A request for some words.
pub(crate) fn words(prompt: &str, tokens: usize) -> Request<Body> {
    post(
        "/v1/completions",
        &json!({"prompt": prompt, "max_tokens": tokens}),
    )
}

/// A request for some words as a stream.
pub(crate) fn word_stream(prompt: &str, tokens: usize) -> Request<Body> {
    post(
        "/v1/completions",
        &json!({"prompt": prompt, "max_tokens": tokens, "stream": true}),
    )
}

/// `POST` of JSON.
pub(crate) fn post(path: &str, body: &Value) -> Request<Body> {
    Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// The same with a key.
pub(crate) fn with_key(mut request: Request<Body>, key: &str) -> Request<Body> {
    let value = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

/// Reads until the other end closes, and gives what came.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset ends it as well.
    let _ = read.expect("the other end closes");
    bytes
}
