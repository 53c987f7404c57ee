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
pub use routes::router;
pub use sockets::{adopt, listen};

pub(crate) use body::discard;
pub(crate) use connection::Peer;
pub(crate) use held::Held;

/// An answer in JSON.
pub(crate) fn json_response(value: &Value) -> Response {
    let json = HeaderValue::from_static("application/json");
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The header that says where an answer comes from.
const ORIGIN: HeaderName = HeaderName::from_static("x-autoglm-cache");

/// An answer that says whether it is one that was given before.
pub(crate) fn with_origin(mut response: Response, is_remembered: bool) -> Response {
    let origin = if is_remembered { "hit" } else { "miss" };
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
