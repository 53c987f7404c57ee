//! HTTP: routes, bodies, errors, and the connections that carry them.

mod body;
mod connection;
mod connections;
mod held;
mod patient;
mod routes;
mod sockets;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::ServerError;
use crate::error::seconds_up;

pub use connections::{ConnectionLimits, serve, serve_tls};
pub use routes::{guarded, router};
pub use sockets::{adopt, listen};

pub(crate) use body::{Json, discard};
pub(crate) use connection::Peer;
pub(crate) use held::Held;

/// Why an answer is none, told to the layer that observes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal(pub(crate) &'static str);

/// An answer in JSON.
pub(crate) fn json_response(value: &Value) -> Response {
    let json = HeaderValue::from_static("application/json");
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The header that says where an answer comes from.
const ORIGIN: HeaderName = HeaderName::from_static("x-autoglm-cache");

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The model.
    Model,
    /// The same request before.
    Repeated,
    /// A question of the same meaning before.
    Meant,
}

/// An answer that says where it comes from.
pub(crate) fn with_origin(mut response: Response, origin: Origin) -> Response {
    let origin = match origin {
        Origin::Model => "miss",
        Origin::Repeated => "hit",
        Origin::Meant => "semantic",
    };
    let origin = HeaderValue::from_static(origin);
    response.headers_mut().insert(ORIGIN, origin);
    response
}

/// An error as OpenAI's clients read it.
pub(crate) fn error_body(error: &ServerError) -> Value {
    json!({"error": {
        "message": error.message(),
        "type": error.kind(),
        "param": error.field(),
        "code": error.code(),
    }})
}

impl IntoResponse for ServerError {
    fn into_response(self) -> Response {
        let mut response = json_response(&error_body(&self));
        response.extensions_mut().insert(Refusal(self.reason()));
        let status = StatusCode::from_u16(self.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.status_mut() = status;
        if let Some(after) = self.retry_after() {
            let seconds = HeaderValue::from(seconds_up(after));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
