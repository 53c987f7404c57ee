//! Models, tasks and documents over HTTP: OpenAI's endpoints, the task API, knowledge, and what
//! operating them takes.
//!
//! Knows models only as [`Backend`] and [`autoglm_spec::Embed`], tasks as [`TaskDesk`], collections of
//! documents as [`KnowledgeDesk`]; time and randomness are arguments.

mod admin;
mod admission;
mod app;
mod auth;
mod backend;
mod client;
mod console;
mod error;
mod events;
mod fields;
mod hex;
mod http;
mod knowledge;
mod log;
mod meaning;
mod metrics;
mod models;
mod observe;
mod openai;
mod openapi;
mod otlp;
mod reload;
mod setup;
mod store;
mod tasks;
mod tls;
mod trace;
mod work;

pub use admission::{Admission, AdmissionLimits, Occupancy, Permit};
pub use app::{App, Settings, Surroundings};
pub use auth::{
    Credential, Guard, KeyEntry, KeyHash, KeyLimits, Keys, NewKey, Scope, add_key, parse_keys,
    remove_key,
};
pub use backend::{Backend, Load, Reading, Skill, Talk, ToolChoice};
pub use error::ServerError;
pub use http::{ConnectionLimits, adopt, guarded, listen, router, serve, serve_tls};
pub use knowledge::KnowledgeDesk;
pub use log::{LogFormat, LogRecord, LogSink, LogWriter, Severity};
pub use meaning::MeaningSettings;
pub use metrics::{AnswerCache, Metrics};
pub use models::{HealthLimits, Loaded, Loader, Version};
pub use observe::{Clock, Telemetry, TelemetrySettings, traceparent};
pub use otlp::OtlpSettings;
pub use reload::{Reload, WallClock, follow};
pub use setup::SetupError;
pub use store::{ServerStore, StoreLimits};
pub use tasks::{
    FeedbackTaken, Means, RunEvent, RunHead, RunOrder, Said, StageTimes, StrategyChoice,
    TaskAnswer, TaskDesk, TaskState, conduct,
};
pub use tls::{SpiffePattern, Tls, TlsSettings};
pub use trace::Sampling;
pub use work::TimeLimits;
