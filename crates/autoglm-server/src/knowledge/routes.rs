//! Which path of knowledge is answered by what.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::{ask, list, search};
use crate::ServerError;
use crate::app::App;
use crate::auth::Reach;
use crate::client::Client;
use crate::http::Json;

type Shared = State<Arc<App>>;
type Answer = Result<Response, ServerError>;
/// What the client may use, where there are keys.
type Reached = Option<Extension<Reach>>;

/// All routes of knowledge.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/knowledge", get(collections))
        .route("/v1/knowledge/search", post(find))
        .route("/v1/knowledge/ask", post(answer))
}

async fn collections(State(app): Shared, reach: Reached) -> Answer {
    list::answer(app, reach.as_deref()).await
}

async fn find(State(app): Shared, client: Client, reach: Reached, Json(body): Json) -> Answer {
    search::answer(app, client, reach.as_deref(), body).await
}

async fn answer(State(app): Shared, client: Client, reach: Reached, Json(body): Json) -> Answer {
    ask::answer(app, client, reach.as_deref(), body).await
}
