//! Models and tasks over HTTP: OpenAI's endpoints, the task API, and what operating them takes.
//!
//! Knows models only as [`Backend`] and [`autoglm_spec::Embed`]; time and randomness are arguments.

mod admin;
mod admission;
mod app;
mod auth;
mod backend;
mod client;
mod error;
mod events;
mod fields;
mod hex;
mod http;
mod metrics;
mod models;
mod openai;
mod openapi;
mod reload;
mod setup;
mod store;
mod tls;
mod work;

pub use admission::{Admission, AdmissionLimits, Occupancy, Permit};
pub use app::{App, Settings, Surroundings};
pub use auth::{
    Credential, Guard, KeyEntry, KeyHash, KeyLimits, Keys, NewKey, Scope, add_key, parse_keys,
    remove_key,
};
pub use backend::{Backend, Load, Reading, Skill, Talk, ToolChoice};
pub use error::ServerError;
pub use http::{ConnectionLimits, adopt, listen, router, serve, serve_tls};
pub use models::{HealthLimits, Loaded, Loader, Version};
pub use reload::{Clock, Reload, follow};
pub use setup::SetupError;
pub use store::{ServerStore, StoreLimits};
pub use tls::{SpiffePattern, Tls, TlsSettings};
pub use work::TimeLimits;
