//! What is observed of scripted requests to a real server: metrics, spans, log records, and what
//! a collector gets.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod components;
mod export;
mod logs;
mod metrics;
mod scripted;
mod settings;
mod sink;
mod text;
mod traces;
