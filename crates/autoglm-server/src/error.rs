//! Why a request is refused, and the one table from blame to HTTP status.

use std::time::Duration;

use autoglm_retrieve::RetrieveError;
use autoglm_spec::{Blame, Blamed, EngineError};
use autoglm_task::TaskError;

use crate::auth::Scope;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A field holds what it must not.
    #[error("{field}: got {given}, want {wanted}")]
    Invalid {
        /// The field, as a path such as `messages[2].role`.
        field: String,
        /// What it holds.
        given: String,
        /// What it must hold.
        wanted: String,
    },
    /// A field that must be given is not.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: String,
    },
    /// A field that this server does not know, or a value of one that it cannot do.
    #[error("{field} is not supported here{note}")]
    Unsupported {
        /// The field.
        field: String,
        /// What to do instead; empty, or ` (…)`.
        note: &'static str,
    },
    /// A body that is no JSON.
    #[error("the body is not JSON: {source}")]
    NotJson {
        /// Where and why.
        source: serde_json::Error,
    },
    /// A body of another media type.
    #[error("the content type is {given:?}, want application/json")]
    MediaType {
        /// What the request says.
        given: String,
    },
    /// A body that is too long.
    #[error("the body is longer than {limit_bytes} bytes")]
    BodyTooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// A body that did not come, or broke off.
    #[error("the body did not come as a whole")]
    BodyBroken,
    /// A model that is not served.
    #[error("there is no model {name:?} here; GET /v1/models lists them")]
    NoSuchModel {
        /// What was asked for.
        name: String,
    },
    /// A model that cannot do what is asked.
    #[error("the model {model} cannot {what}")]
    CannotDo {
        /// The model.
        model: String,
        /// What it cannot do.
        what: &'static str,
    },
    /// No such path.
    #[error("there is no {path} here; GET /openapi.json describes what there is")]
    NoSuchPath {
        /// The path.
        path: String,
    },
    /// A path that is asked in another way.
    #[error("{path} does not take {method}")]
    Method {
        /// The path.
        path: String,
        /// The method.
        method: String,
    },
    /// Too many requests wait already.
    #[error("{waiting} requests are waiting, the limit is {limit}; try again in {} s", retry_after.as_secs())]
    Busy {
        /// Requests that wait.
        waiting: usize,
        /// How many may.
        limit: usize,
        /// When there may be room.
        retry_after: Duration,
    },
    /// A request without a key where one is needed.
    #[error("there is no API key in the request; send it as `Authorization: Bearer KEY`")]
    KeyMissing,
    /// A key that is none here, or no longer.
    #[error("the API key in the request is not one of this server's")]
    KeyUnknown,
    /// A key whose time is over.
    #[error("the API key of {client} has expired")]
    KeyExpired {
        /// The key's id.
        client: String,
    },
    /// A key that is not for this.
    #[error("the key of {client} is not for this: it lacks the scope {scope}")]
    NoScope {
        /// The key's id.
        client: String,
        /// What it would have to be for.
        scope: Scope,
    },
    /// A key that is for other models or collections.
    #[error("the key of {client} is not for the {what} {name:?}")]
    NotForClient {
        /// The key's id.
        client: String,
        /// `model` or `collection`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A request under another name than this machine's where only this machine may ask.
    #[error(
        "this server is open to this machine alone; ask it as localhost, or start it with --api-keys"
    )]
    OtherSite,
    /// A client that has asked for as much as it may.
    #[error("{client} may have {limit} {what}; try again in {} s", seconds_up(*retry_after))]
    Limited {
        /// The key's id.
        client: String,
        /// How much it may.
        limit: u32,
        /// Of what, such as `requests a minute`.
        what: &'static str,
        /// When there will be room.
        retry_after: Duration,
    },
    /// The request took longer than it may.
    #[error("the request took longer than {} s", limit.as_secs_f64())]
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// A response that is not remembered.
    #[error(
        "there is no response {id:?}; responses are kept where store is not false, as long as there is room"
    )]
    NoSuchResponse {
        /// What was asked for.
        id: String,
    },
    /// A candidate that may not take a version's place.
    #[error("the new version is not healthy: {what}")]
    Unhealthy {
        /// Why.
        what: String,
    },
    /// A model that cannot be loaded.
    #[error("the new version cannot be loaded: {why}")]
    CannotLoad {
        /// Why.
        why: String,
    },
    /// Something that cannot be done as things stand.
    #[error("{what}")]
    Conflict {
        /// Why not.
        what: String,
    },
    /// A task that is not served.
    #[error("there is no task {name:?} here; GET /v1/tasks lists them")]
    NoSuchTask {
        /// What was asked for.
        name: String,
    },
    /// What is asked of a task cannot be done.
    #[error("{place}{}{source}", if place.is_empty() { "" } else { ": " })]
    Task {
        /// Which part of the request it is about, such as `[2]`; empty where it is the whole.
        place: String,
        /// Why not.
        source: Box<TaskError>,
    },
    /// A task whose model or store cannot be used now.
    #[error("the task {task:?} cannot be worked on: {why}")]
    TaskUnready {
        /// The task.
        task: String,
        /// Why not.
        why: String,
    },
    /// A collection of documents that is not served.
    #[error("there is no collection {name:?} here; GET /v1/knowledge lists them")]
    NoSuchCollection {
        /// What was asked for.
        name: String,
    },
    /// A collection of documents cannot be searched or asked.
    #[error("the collection {collection:?} cannot be used")]
    Knowledge {
        /// The collection.
        collection: String,
        /// Why not.
        source: RetrieveError,
    },
    /// The server's memory fails.
    #[error("the server's store failed")]
    Store {
        /// Why.
        source: rusqlite::Error,
    },
    /// The folder of the server's memory cannot be made.
    #[error("cannot make the folder {folder}")]
    StoreFolder {
        /// The folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server's memory was written by a later version.
    #[error("the server's store has version {found}, this program knows up to {known}")]
    StoreVersion {
        /// The file's version.
        found: i64,
        /// The latest that is known.
        known: i64,
    },
    /// The model's own error.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Something that must not happen.
    #[error("{what}")]
    Bug {
        /// What happened.
        what: String,
    },
}

impl Blamed for ServerError {
    fn blame(&self) -> Blame {
        match self {
            Self::Invalid { .. }
            | Self::Missing { .. }
            | Self::Unsupported { .. }
            | Self::NotJson { .. }
            | Self::MediaType { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyBroken
            | Self::NoSuchModel { .. }
            | Self::CannotDo { .. }
            | Self::NoSuchPath { .. }
            | Self::NoSuchResponse { .. }
            | Self::Conflict { .. }
            | Self::Method { .. }
            | Self::KeyMissing
            | Self::KeyUnknown
            | Self::KeyExpired { .. }
            | Self::NoScope { .. }
            | Self::NotForClient { .. }
            | Self::OtherSite
            | Self::NoSuchTask { .. }
            | Self::NoSuchCollection { .. } => Blame::Caller,
            Self::Busy { .. }
            | Self::Limited { .. }
            | Self::Deadline { .. }
            | Self::Stopping
            | Self::Store { .. }
            | Self::StoreFolder { .. }
            | Self::TaskUnready { .. } => Blame::Capacity,
            Self::Unhealthy { .. } | Self::CannotLoad { .. } | Self::StoreVersion { .. } => {
                Blame::Data
            }
            Self::Task { source, .. } => source.blame(),
            Self::Knowledge { source, .. } => source.blame(),
            Self::Engine(error) => error.blame(),
            Self::Bug { .. } => Blame::Bug,
        }
    }
}

impl ServerError {
    /// A field with a wrong value.
    pub(crate) fn invalid(
        field: impl Into<String>,
        given: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            field: field.into(),
            given: given.into(),
            wanted: wanted.into(),
        }
    }

    /// A field that is not supported.
    pub(crate) fn unsupported(field: impl Into<String>, note: &'static str) -> Self {
        Self::Unsupported {
            field: field.into(),
            note,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::NoSuchModel { .. }
            | Self::NoSuchPath { .. }
            | Self::NoSuchResponse { .. }
            | Self::NoSuchTask { .. }
            | Self::NoSuchCollection { .. } => 404,
            Self::Task { source, .. } if is_absent(source) => 404,
            Self::Task { source, .. } if matches!(**source, TaskError::NothingPromoted { .. }) => {
                409
            }
            Self::KeyMissing | Self::KeyUnknown | Self::KeyExpired { .. } => 401,
            Self::NoScope { .. } | Self::NotForClient { .. } | Self::OtherSite => 403,
            Self::Method { .. } => 405,
            Self::Conflict { .. } | Self::Unhealthy { .. } => 409,
            Self::BodyTooLarge { .. } => 413,
            Self::MediaType { .. } => 415,
            Self::Busy { .. } | Self::Limited { .. } => 429,
            Self::Deadline { .. } => 504,
            other => match other.blame() {
                Blame::Caller | Blame::Data => 400,
                Blame::Capacity => 503,
                Blame::Bug => 500,
            },
        }
    }

    /// The kind of error by OpenAI's names.
    pub(crate) fn kind(&self) -> &'static str {
        match self.status() {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The error's code by OpenAI's names, where there is one.
    pub(crate) fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Invalid { .. } => "invalid_value",
            Self::Missing { .. } => "missing_required_parameter",
            Self::Unsupported { .. } => "unsupported_parameter",
            Self::NoSuchModel { .. } => "model_not_found",
            Self::Busy { .. } => "server_busy",
            Self::Unhealthy { .. } => "unhealthy_version",
            Self::CannotLoad { .. } => "unloadable_version",
            Self::Conflict { .. } => "conflict",
            Self::NoSuchTask { .. } => "task_not_found",
            Self::NoSuchCollection { .. } => "collection_not_found",
            Self::TaskUnready { .. } => "task_unready",
            Self::Limited { .. } => "rate_limit_exceeded",
            Self::KeyMissing | Self::KeyUnknown | Self::KeyExpired { .. } => "invalid_api_key",
            Self::NoScope { .. } | Self::NotForClient { .. } => "insufficient_permissions",
            Self::OtherSite => "forbidden",
            Self::Deadline { .. } => "deadline_exceeded",
            Self::Engine(EngineError::ContextExceeded { .. })
            | Self::Knowledge {
                source:
                    RetrieveError::Engine {
                        source: EngineError::ContextExceeded { .. },
                    },
                ..
            } => "context_length_exceeded",
            _ => return None,
        })
    }

    /// The error in a word, for counters, log lines and spans: the code, or what the status says.
    pub(crate) fn reason(&self) -> &'static str {
        self.code().unwrap_or(match self {
            Self::Stopping => "stopping",
            Self::BodyBroken => "body_broken",
            Self::NotJson { .. } => "not_json",
            Self::CannotDo { .. } => "model_cannot",
            other => match other.status() {
                401 => "unauthorized",
                403 => "forbidden",
                404 => "not_found",
                405 => "method_not_allowed",
                413 => "body_too_large",
                415 => "media_type",
                429 => "rate_limited",
                503 => "no_capacity",
                500.. => "internal",
                _ => "bad_request",
            },
        })
    }

    /// The field that is to blame, where one is.
    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. }
            | Self::Missing { field }
            | Self::Unsupported { field, .. } => Some(field),
            Self::NoSuchModel { .. } => Some("model"),
            _ => None,
        }
    }

    /// When to try again, where that may help.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } | Self::Limited { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::Stopping => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// What is told to the client: the error, and its causes where they are about what it sent.
    pub(crate) fn message(&self) -> String {
        let mut text = self.to_string();
        if self.blame() == Blame::Bug {
            return "something went wrong inside the server; its log tells more".to_owned();
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = error.source();
        }
        without_hints(&text)
    }
}

impl From<TaskError> for ServerError {
    fn from(source: TaskError) -> Self {
        Self::Task {
            place: String::new(),
            source: Box::new(source),
        }
    }
}

/// Whether something was asked for by a number that nothing of the task has.
fn is_absent(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::NoSuchRun { .. }
            | TaskError::RunOfOtherTask { .. }
            | TaskError::NoSuchRecord { .. }
            | TaskError::NoSuchExample { .. }
            | TaskError::NoSuchStrategy { .. }
    )
}

/// A message without its hints, which are about command lines.
fn without_hints(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("hint: "));
    lines.collect::<Vec<&str>>().join("\n")
}

/// Whole seconds that are enough, at least one.
pub(crate) fn seconds_up(time: Duration) -> u64 {
    (time.as_millis().div_ceil(1_000) as u64).max(1)
}
