//! Many requests at once on one model: prefixes shared between requests, scoring of given
//! continuations, vectors of texts, continuous batching, sampling, constraints, streaming and
//! cancellation.
//!
//! The result of a request does not depend on what else is in the batch, bit for bit. [`remote`] is
//! the same on a server, as far as the server goes.

mod adapters;
pub mod constraint;
mod conversation;
mod desk;
mod divergence;
mod embed;
mod error;
mod generate;
mod likeliest;
mod local;
mod lookup;
mod memory;
mod options;
mod perplexity;
mod prefix;
pub mod remote;
mod request;
mod runner;
mod sampler;
mod scheduler;
mod score;
mod stats;
mod stop;

pub use autoglm_model::{CacheType, Pooling};
pub use conversation::Conversation;
pub use divergence::{Divergence, Estimate};
pub use error::LocalError;
pub use local::{LocalEngine, LocalSettings};
pub use memory::{MemoryError, MemoryPlan};
pub use perplexity::{Perplexity, PerplexitySettings};
pub use stats::EngineStats;
