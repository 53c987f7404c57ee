//! The task loop: a task in words becomes a [`TaskSpec`](autoglm_spec::TaskSpec), a record becomes
//! a prompt, an answer becomes a verdict.

pub mod compose;
pub mod ensemble;
pub mod eval;
pub mod file;
pub mod judge;
pub mod learn;
pub mod library;
pub mod optimize;
pub mod parse;
pub mod records;
pub mod report;
pub mod run;
pub mod select;
pub mod store;
pub mod strategy;

mod chance;
mod error;
mod moment;
mod numeric;
mod remark;
mod row;
mod words;

#[cfg(test)]
mod scripted;

pub use error::TaskError;
pub use moment::utc;
pub use remark::{Remark, Severity};
pub use row::{Raw, Row, Sample};
pub use words::file_name;
