//! The commands, one file each: an argument struct and a `run`.

mod agreement;
mod attention;
mod bench;
pub mod chat;
mod choice;
mod compare;
pub mod embed;
pub mod eval;
pub mod examples;
pub mod feedback;
pub mod generate;
pub mod init;
pub mod learn;
mod learning;
pub mod model;
pub mod optimize;
pub mod perplexity;
pub mod quantize;
mod records;
pub mod run;
pub mod runs;
mod sampling;
pub mod score;
pub mod strategy;
mod task;
mod teach;
pub mod tokenize;
