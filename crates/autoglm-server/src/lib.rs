//! Models and tasks over HTTP: OpenAI's endpoints, the task API, and what operating them takes.
//!
//! Knows models only as [`Backend`] and [`autoglm_spec::Embed`]; time and randomness are arguments.

mod admission;
mod app;
mod backend;
mod client;
mod error;
mod events;
mod fields;
mod http;
mod log;
mod metrics;
mod observe;
mod openai;
mod otlp;
mod trace;
mod work;

pub use admission::{Admission, AdmissionLimits, Occupancy, Permit};
pub use app::{App, Served, Settings, Surroundings};
pub use backend::{Backend, Load, Reading, Skill, Talk, ToolChoice};
pub use error::ServerError;
pub use http::{ConnectionLimits, router, serve};
pub use log::{LogFormat, LogRecord, LogSink, LogWriter, Severity};
pub use metrics::{AnswerCache, Metrics};
pub use observe::{Clock, Telemetry, TelemetrySettings};
pub use otlp::OtlpSettings;
pub use trace::Sampling;
pub use work::TimeLimits;
