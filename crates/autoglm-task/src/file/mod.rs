//! The task file: TOML that a person reads and edits, to [`TaskFile`] and back. What it leaves out
//! is read from the instruction's words, so that an instruction alone is a task file.

mod entry;
mod error;
mod keys;
mod knowledge;
mod read;
mod settings;
#[cfg(test)]
mod tests;
mod write;

pub use error::FileError;
pub use read::read_task_file;
pub use settings::{ServerPrompts, ServerScoring, ServerSettings, TaskFile, TaskSettings};
pub use write::write_task_file;
