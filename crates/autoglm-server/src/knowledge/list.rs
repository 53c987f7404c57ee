//! `GET /v1/knowledge`: the collections that a client may use, and what they hold.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::Collection;
use crate::ServerError;
use crate::app::App;
use crate::auth::Reach;
use crate::http::json_response;
use crate::work::blocking;

/// Lists the collections.
pub(super) async fn answer(app: Arc<App>, reach: Option<&Reach>) -> Result<Response, ServerError> {
    let names = app.knowledge.as_ref().map(|desk| desk.collections());
    let names = names.unwrap_or_default().into_iter();
    let allowed = names.filter(|name| reach.is_none_or(|reach| reach.has_collection(name)));
    let mut data = Vec::new();
    for name in allowed {
        let collection = Collection::of(&app, reach, &name)?;
        data.push(blocking(move || told(&collection)).await?);
    }
    Ok(json_response(&json!({"object": "list", "data": data})))
}

fn told(collection: &Collection) -> Result<Value, ServerError> {
    let about = collection.read(|store| store.about().map_err(collection.failed()))?;
    let searched_by_meaning = collection.embedder(about.space.as_ref()).is_some();
    Ok(json!({
        "object": "knowledge.collection",
        "name": collection.name,
        "documents": about.documents,
        "passages": about.passages,
        "vectors": about.vectors,
        "embedder": about.space.map(|space| space.name),
        "searched_by_meaning": searched_by_meaning,
    }))
}
