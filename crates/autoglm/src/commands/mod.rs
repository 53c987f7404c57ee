//! The commands, one file each: an argument struct and a `run`.

mod attention;
mod bench;
pub mod chat;
pub mod embed;
pub mod eval;
pub mod feedback;
pub mod generate;
pub mod init;
pub mod learn;
mod learning;
pub mod model;
pub mod perplexity;
pub mod quantize;
pub mod run;
pub mod runs;
mod sampling;
pub mod score;
mod task;
pub mod tokenize;
