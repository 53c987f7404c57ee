//! The task loop: a task in words becomes a [`TaskSpec`](autoglm_spec::TaskSpec), a record becomes
//! a prompt, an answer becomes a verdict.

pub mod compose;
pub mod eval;
pub mod file;
pub mod judge;
pub mod learn;
pub mod parse;
pub mod records;
pub mod run;
pub mod store;

mod error;
mod remark;
mod row;

#[cfg(test)]
mod scripted;

pub use error::TaskError;
pub use remark::{Remark, Severity};
pub use row::{Raw, Row};
