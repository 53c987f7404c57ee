//! OpenAI's endpoints: what their bodies say, and what is answered.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
mod format;
mod logprobs;
mod messages;
pub(crate) mod models;
pub(crate) mod rerank;
pub(crate) mod responses;
mod sampling;
pub(crate) mod tokenize;
mod tools;
mod usage;
