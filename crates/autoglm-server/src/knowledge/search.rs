//! `POST /v1/knowledge/search`: passages of a collection, with where each is from.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::Collection;
use super::order::SearchOrder;
use crate::ServerError;
use crate::app::App;
use crate::auth::Reach;
use crate::client::Client;
use crate::http::json_response;
use crate::work::{admitted, until};

/// Answers a request.
pub(super) async fn answer(
    app: Arc<App>,
    client: Client,
    reach: Option<&Reach>,
    body: Value,
) -> Result<Response, ServerError> {
    let ticket = app.ticket();
    let order = SearchOrder::read(body)?;
    let collection = Collection::of(&app, reach, &order.collection)?;
    let permit = admitted(&app, &client, ticket.deadline).await?;
    let work = move |cancel: &autoglm_spec::Cancel| {
        let found = collection
            .read(|store| collection.find(store, &order.query, (&order.settings, cancel)))?;
        permit.used(found.tokens);
        collection.app.metrics().searched(&collection.name);
        Ok(json!({
            "object": "knowledge.results",
            "collection": collection.name,
            "query": order.query,
            "data": found.passages,
            "usage": {"prompt_tokens": found.tokens, "total_tokens": found.tokens},
        }))
    };
    let told = until(ticket.deadline, app.settings.times, work).await?;
    Ok(json_response(&told))
}
