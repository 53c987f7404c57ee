//! `GET /openapi.json`: what there is, in a form that programs read. Tests hold it to what the
//! routes do.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;

/// The document.
const DOCUMENT: &str = include_str!("openapi.json");

/// The document as an answer.
pub(crate) fn answer() -> Response {
    let mut response = Response::new(Body::from(DOCUMENT));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
