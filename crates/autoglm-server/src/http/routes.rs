//! Which path is answered by what.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde_json::json;

use super::body::Json;
use super::json_response;
use crate::ServerError;
use crate::app::App;
use crate::auth::{Guard, Models, Reach};
use crate::client::Client;
use crate::observe::{admin as telemetry_admin, observe};
use crate::work::blocking;
use crate::{admin, console, knowledge, openai, openapi, tasks};

type Shared = State<Arc<App>>;
/// The models that the client may use, where these are not all.
type Allowed = Option<Extension<Models>>;
type Answer = Result<Response, ServerError>;

/// All routes of an application.
pub fn router(app: Arc<App>) -> Router {
    routes(&app).layer(from_fn_with_state(app, observe))
}

/// All routes behind a guard. What it refuses is observed like every other answer.
pub fn guarded(app: Arc<App>, guard: Guard) -> Router {
    let routes = guard.before(routes(&app));
    routes.layer(from_fn_with_state(app, observe))
}

fn routes(app: &Arc<App>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/responses", post(responses))
        .route("/v1/responses/{id}", get(response).delete(forget_response))
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/rerank", post(rerank))
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .route("/openapi.json", get(async || openapi::answer()))
        .route("/metrics", get(metrics))
        .route("/admin/telemetry", get(telemetry).put(change_telemetry))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/admin/models", get(versions))
        .route("/admin/models/{name}/update", post(update))
        .route("/admin/models/{name}/promote", post(promote))
        .route("/admin/models/{name}/rollback", post(roll_back))
        .merge(tasks::routes())
        .merge(knowledge::routes())
        .merge(console::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(Arc::clone(app))
}

async fn chat(
    State(app): Shared,
    client: Client,
    reach: Option<Extension<Reach>>,
    Json(body): Json,
) -> Answer {
    openai::chat::answer(app, (client, reach.as_deref()), body).await
}

async fn completions(State(app): Shared, client: Client, Json(body): Json) -> Answer {
    openai::completions::answer(app, client, body).await
}

async fn responses(State(app): Shared, client: Client, Json(body): Json) -> Answer {
    openai::responses::answer(app, client, body).await
}

async fn response(State(app): Shared, client: Client, Path(id): Path<String>) -> Answer {
    openai::responses::get(app, client, id).await
}

async fn forget_response(State(app): Shared, client: Client, Path(id): Path<String>) -> Answer {
    openai::responses::delete(app, client, id).await
}

async fn embeddings(State(app): Shared, client: Client, Json(body): Json) -> Answer {
    openai::embeddings::answer(app, client, body).await
}

async fn rerank(State(app): Shared, client: Client, Json(body): Json) -> Answer {
    openai::rerank::answer(app, client, body).await
}

async fn tokenize(State(app): Shared, Json(body): Json) -> Answer {
    openai::tokenize::tokenize(app, body).await
}

async fn detokenize(State(app): Shared, Json(body): Json) -> Answer {
    openai::tokenize::detokenize(app, body).await
}

async fn models(State(app): Shared, allowed: Allowed) -> Answer {
    let allowed = allowed.as_deref();
    Ok(json_response(&openai::models::list(&app, allowed)))
}

async fn model(State(app): Shared, allowed: Allowed, Path(name): Path<String>) -> Answer {
    if let Some(allowed) = allowed {
        allowed.check(&name)?;
    }
    Ok(json_response(&openai::models::one(&app, &name)?))
}

async fn versions(State(app): Shared) -> Answer {
    Ok(json_response(&admin::list(&app)))
}

async fn update(State(app): Shared, Path(name): Path<String>, Json(body): Json) -> Answer {
    admin::update(app, name, body).await
}

async fn promote(State(app): Shared, Path(name): Path<String>) -> Answer {
    blocking(move || Ok(json_response(&app.models.promote(&name)?))).await
}

async fn roll_back(State(app): Shared, Path(name): Path<String>) -> Answer {
    blocking(move || Ok(json_response(&app.models.roll_back(&name)?))).await
}

async fn metrics(State(app): Shared) -> Answer {
    telemetry_admin::metrics(app).await
}

async fn telemetry(State(app): Shared) -> Answer {
    Ok(json_response(&telemetry_admin::telemetry(&app)))
}

async fn change_telemetry(State(app): Shared, Json(body): Json) -> Answer {
    telemetry_admin::change_telemetry(&app, body)
}

async fn live() -> Answer {
    Ok(json_response(&json!({"status": "live"})))
}

/// Ready until the server is told to stop: models are loaded before it listens.
async fn ready(State(app): Shared) -> Answer {
    if app.is_stopping() {
        return Err(ServerError::Stopping);
    }
    Ok(json_response(&json!({"status": "ready"})))
}

async fn no_such_path(request: Request) -> ServerError {
    ServerError::NoSuchPath {
        path: request.uri().path().to_owned(),
    }
}

async fn no_such_method(request: Request) -> ServerError {
    ServerError::Method {
        path: request.uri().path().to_owned(),
        method: request.method().to_string(),
    }
}
