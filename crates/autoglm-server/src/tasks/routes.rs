//! Which path of the task API is answered by what.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Extension, Router};

use super::query::Parameters;
use super::{examples, feedback, outline, report, run, runs, strategies};
use crate::ServerError;
use crate::app::App;
use crate::auth::Reach;
use crate::client::Client;
use crate::http::Json;

type Shared = State<Arc<App>>;
type Answer = Result<Response, ServerError>;
type Task = Path<String>;
type Part = Path<(String, String)>;

/// All routes of the task API.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/tasks", get(list))
        .route("/v1/tasks/{task}", get(one))
        .route("/v1/tasks/{task}/run", post(answer))
        .route("/v1/tasks/{task}/feedback", post(say))
        .route("/v1/tasks/{task}/examples", get(examples).post(add_example))
        .route("/v1/tasks/{task}/examples/{id}", delete(remove_example))
        .route("/v1/tasks/{task}/strategies", get(strategies))
        .route("/v1/tasks/{task}/strategies/rollback", post(roll_back))
        .route("/v1/tasks/{task}/strategies/{id}", get(strategy))
        .route("/v1/tasks/{task}/strategies/{id}/promote", post(promote))
        .route("/v1/tasks/{task}/runs", get(runs))
        .route("/v1/tasks/{task}/runs/{run}", get(one_run))
        .route("/v1/tasks/{task}/report", get(report))
}

async fn list(State(app): Shared) -> Answer {
    outline::list(app).await
}

async fn one(State(app): Shared, Path(task): Task) -> Answer {
    outline::one(app, task).await
}

async fn answer(
    State(app): Shared,
    client: Client,
    reach: Option<Extension<Reach>>,
    Path(task): Task,
    Json(body): Json,
) -> Answer {
    run::answer(app, (client, reach.as_deref()), task, body).await
}

async fn say(State(app): Shared, Path(task): Task, Json(body): Json) -> Answer {
    feedback::take(app, task, body).await
}

async fn examples(State(app): Shared, Path(task): Task, parameters: Parameters) -> Answer {
    examples::list(app, task, parameters).await
}

async fn add_example(State(app): Shared, Path(task): Task, Json(body): Json) -> Answer {
    examples::add(app, task, body).await
}

async fn remove_example(State(app): Shared, Path(part): Part) -> Answer {
    examples::remove(app, part).await
}

async fn runs(State(app): Shared, Path(task): Task, parameters: Parameters) -> Answer {
    runs::list(app, task, parameters).await
}

async fn one_run(
    State(app): Shared,
    reach: Option<Extension<Reach>>,
    Path(part): Part,
    parameters: Parameters,
) -> Answer {
    runs::one(app, reach.as_deref(), part, parameters).await
}

async fn strategies(State(app): Shared, Path(task): Task) -> Answer {
    strategies::list(app, task).await
}

async fn strategy(State(app): Shared, Path(part): Part) -> Answer {
    strategies::one(app, part).await
}

async fn promote(State(app): Shared, Path(part): Part) -> Answer {
    strategies::promote(app, part).await
}

async fn roll_back(State(app): Shared, Path(task): Task) -> Answer {
    strategies::roll_back(app, task).await
}

async fn report(
    State(app): Shared,
    reach: Option<Extension<Reach>>,
    Path(task): Task,
    parameters: Parameters,
) -> Answer {
    report::answer(app, reach.as_deref(), task, parameters).await
}
