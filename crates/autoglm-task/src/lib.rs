//! The task loop: a task in words becomes a [`TaskSpec`](autoglm_spec::TaskSpec), a record becomes
//! a prompt, an answer becomes a verdict.

pub mod compose;
pub mod file;
pub mod parse;
mod remark;

pub use remark::{Remark, Severity};
