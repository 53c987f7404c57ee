//! Records in and out: JSON Lines, CSV and plain lines from any reader, JSON Lines and CSV to any
//! writer. Both sides stream; no input makes them hold more than one record of bounded size.

mod error;
mod format;
mod frame;
mod read;
mod write;

pub use error::RecordError;
pub use format::{InputFormat, OutputFormat};
pub use frame::RECORD_LIMIT_BYTES;
pub use read::{NumberedRecord, Records, count_records};
pub use write::{RowSink, RowWriter};

#[cfg(test)]
mod tests;
