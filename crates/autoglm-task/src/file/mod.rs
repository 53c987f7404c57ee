//! The task file: TOML that a person reads and edits, to [`TaskFile`] and back.

mod settings;

pub use settings::{TaskFile, TaskSettings};
