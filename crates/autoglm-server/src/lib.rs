//! Models and tasks over HTTP: OpenAI's endpoints, the task API, and what operating them takes.
//!
//! Knows models only as [`Backend`] and [`autoglm_spec::Embed`]; time and randomness are arguments.

mod admin;
mod admission;
mod app;
mod backend;
mod client;
mod console;
mod error;
mod events;
mod fields;
mod http;
mod metrics;
mod models;
mod openai;
mod store;
mod work;

pub use admission::{Admission, AdmissionLimits, Occupancy, Permit};
pub use app::{App, Settings, Surroundings};
pub use backend::{Backend, Load, Reading, Skill, Talk, ToolChoice};
pub use error::ServerError;
pub use http::{ConnectionLimits, router, serve};
pub use models::{HealthLimits, Loaded, Loader, Version};
pub use store::{ServerStore, StoreLimits};
pub use work::TimeLimits;
