//! Bodies of requests: bounded in length and in time, JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use futures_util::StreamExt;
use serde_json::Value;

use super::connection::Peer;
use crate::ServerError;
use crate::app::App;
use crate::auth::Models;
use crate::client::Client;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_mins(1);
/// How long the rest of a body that is not wanted is read, so that a client that sends it whole
/// before it reads gets to the answer.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// A body in JSON.
pub(super) struct Json(pub(super) Value);

impl FromRequest<Arc<App>> for Json {
    type Rejection = ServerError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ServerError> {
        if let Err(error) = check_media_type(&request) {
            discard(request.into_body());
            return Err(error);
        }
        let limit = app.settings.body_bytes;
        let models = request.extensions().get::<Models>().cloned();
        let read = tokio::time::timeout(BODY_TIME, read(request, limit)).await;
        let bytes = read.map_err(|_| ServerError::BodyBroken)??;
        let value = serde_json::from_slice(&bytes);
        let mut value = value.map_err(|source| ServerError::NotJson { source })?;
        if let Some(models) = models {
            models.settle(&mut value)?;
        }
        Ok(Self(value))
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

/// The whole body, of at most so many bytes; what is beyond is not kept.
async fn read(request: Request, limit_bytes: usize) -> Result<Vec<u8>, ServerError> {
    let body = request.into_body();
    if body.size_hint().lower() > limit_bytes as u64 {
        discard(body);
        return Err(ServerError::BodyTooLarge { limit_bytes });
    }
    let mut parts = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        let part: Bytes = part.map_err(|_| ServerError::BodyBroken)?;
        if bytes.len() + part.len() > limit_bytes {
            discard(Body::from_stream(parts));
            return Err(ServerError::BodyTooLarge { limit_bytes });
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// Reads what is left of a body for a while and forgets it, while its request is answered already:
/// a connection that is closed on a client that still writes takes the answer with it.
pub(crate) fn discard(body: Body) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(tokio::time::timeout(DISCARD_TIME, async move {
        let mut parts = body.into_data_stream();
        while let Some(Ok(_)) = parts.next().await {}
    }));
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = ServerError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ServerError> {
        if let Some(client) = parts.extensions.get::<Self>() {
            return Ok(client.clone());
        }
        let peer = parts.extensions.get::<Peer>();
        let peer = peer.ok_or_else(|| ServerError::Bug {
            what: "a request without its connection".to_owned(),
        })?;
        Ok(Self::at(peer.address))
    }
}
