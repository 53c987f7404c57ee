//! The console in a real browser, before a scripted model.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as it must be"
)]

mod access;
mod browser;
mod chat;
mod pictures;
mod runs;
mod sections;
#[path = "../support/mod.rs"]
mod support;
mod tasks;

use std::sync::Arc;

use autoglm_server::Settings;
use browser::{Browser, Look};
use support::{Running, Scripted, start};

/// What is true once an answer has come to its end.
pub(crate) const IS_ANSWERED: &str =
    "document.querySelector('.message.assistant:last-of-type[aria-busy=false]')";

pub(crate) fn open(server: &Running, look: Look) -> Option<Browser> {
    Browser::open(&format!("http://{}", server.address), look)
}

pub(crate) fn answering(answer: &str) -> (Arc<Scripted>, Running) {
    let model = Arc::new(Scripted::answering(answer));
    let server = start(Arc::clone(&model), Settings::default());
    (model, server)
}
