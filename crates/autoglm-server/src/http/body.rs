//! Bodies of requests: bounded in length and in time, JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use futures_util::StreamExt;
use serde_json::Value;

use super::connections::Peer;
use crate::ServerError;
use crate::app::App;
use crate::client::Client;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(60);

/// How many times the longest body is read before the connection is closed.
const FORGOTTEN: usize = 8;

/// A body in JSON.
pub(crate) struct Json(pub(crate) Value);

impl FromRequest<Arc<App>> for Json {
    type Rejection = ServerError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ServerError> {
        check_media_type(&request)?;
        let limit = app.settings.body_bytes;
        let read = tokio::time::timeout(BODY_TIME, read(request, limit)).await;
        let bytes = read.map_err(|_| ServerError::BodyBroken)??;
        let value = serde_json::from_slice(&bytes);
        value
            .map(Self)
            .map_err(|source| ServerError::NotJson { source })
    }
}

/// A body of another type is refused; one that does not say is taken for JSON.
fn check_media_type(request: &Request) -> Result<(), ServerError> {
    let Some(given) = request.headers().get(CONTENT_TYPE) else {
        return Ok(());
    };
    let given = given.to_str().unwrap_or("?");
    let media_type = given.split(';').next().unwrap_or_default().trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json")
        || media_type.to_ascii_lowercase().ends_with("+json");
    if is_json {
        return Ok(());
    }
    Err(ServerError::MediaType {
        given: media_type.to_owned(),
    })
}

/// The whole body, of at most so many bytes. Some of what is beyond is read and forgotten: most
/// clients hear an answer only when they have sent everything.
async fn read(request: Request, limit_bytes: usize) -> Result<Vec<u8>, ServerError> {
    let mut parts = request.into_body().into_data_stream();
    let mut bytes = Vec::new();
    let mut read_bytes = 0;
    while let Some(part) = parts.next().await {
        let part: Bytes = part.map_err(|_| ServerError::BodyBroken)?;
        read_bytes += part.len();
        if read_bytes <= limit_bytes {
            bytes.extend_from_slice(&part);
        } else if read_bytes > limit_bytes * FORGOTTEN {
            break;
        }
    }
    if read_bytes > limit_bytes {
        return Err(ServerError::BodyTooLarge { limit_bytes });
    }
    Ok(bytes)
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = ServerError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ServerError> {
        let peer = parts.extensions.get::<Peer>();
        let peer = peer.ok_or_else(|| ServerError::Bug {
            what: "a request without its connection".to_owned(),
        })?;
        Ok(Self::at(peer.address))
    }
}
