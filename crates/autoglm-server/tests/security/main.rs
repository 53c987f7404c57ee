//! The server as those meet it who must be let in, kept out, or waited for.

mod certificates;
mod client;
mod hostile;
mod keys;
mod restart;
mod server;
mod tls;
