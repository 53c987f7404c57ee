//! The server as those meet it who must be let in, kept out, or waited for.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod certificates;
mod client;
mod hostile;
mod keys;
mod restart;
mod server;
mod tls;
