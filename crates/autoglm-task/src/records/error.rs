//! What can be wrong with one record of an input.

use std::io;

use autoglm_spec::{Blame, Blamed};

/// Why a record could not be read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record is longer than is taken from an untrusted input.
    #[error("line {line}: the record is longer than {limit_bytes} bytes")]
    TooLong {
        /// Line on which the record starts.
        line: u64,
        /// The most bytes that a record may have.
        limit_bytes: usize,
    },
    /// A quoted CSV field has no end.
    #[error("line {line}: a quoted field that starts in this record is never closed")]
    UnclosedQuote {
        /// Line on which the record starts.
        line: u64,
    },
    /// The bytes are not UTF-8.
    #[error("line {line}: not UTF-8 after {valid_bytes} bytes\nhint: convert the file to UTF-8")]
    NotUtf8 {
        /// Line on which the record starts.
        line: u64,
        /// Bytes of the record before the first wrong one.
        valid_bytes: usize,
    },
    /// The line is not JSON.
    #[error("line {line}: not JSON: {source}")]
    NotJson {
        /// The line.
        line: u64,
        /// What the JSON parser found.
        source: serde_json::Error,
    },
    /// The line is JSON, but neither an object nor a string.
    #[error("line {line}: a record is a JSON object or a string, this is {found}")]
    NotARecord {
        /// The line.
        line: u64,
        /// The kind of value found.
        found: &'static str,
    },
    /// A CSV row does not fit its header.
    #[error("line {line}: the row has {found} fields, the header has {wanted}")]
    FieldCount {
        /// Line on which the row starts.
        line: u64,
        /// Fields of the row.
        found: usize,
        /// Fields of the header.
        wanted: usize,
    },
    /// A CSV header names a column twice.
    #[error("line {line}: the header names the column {name:?} twice")]
    RepeatedColumn {
        /// Line of the header.
        line: u64,
        /// The column.
        name: String,
    },
    /// A CSV header cannot be read.
    #[error("the CSV header cannot be read: {problem}")]
    Header {
        /// What is wrong with it.
        problem: Box<RecordError>,
    },
    /// The reader failed.
    #[error("line {line}: {source}")]
    Io {
        /// Line that was being read.
        line: u64,
        /// What happened.
        source: io::Error,
    },
}

impl RecordError {
    /// Line on which the record starts.
    pub fn line(&self) -> u64 {
        match self {
            Self::TooLong { line, .. }
            | Self::UnclosedQuote { line }
            | Self::NotUtf8 { line, .. }
            | Self::NotJson { line, .. }
            | Self::NotARecord { line, .. }
            | Self::FieldCount { line, .. }
            | Self::RepeatedColumn { line, .. }
            | Self::Io { line, .. } => *line,
            Self::Header { problem } => problem.line(),
        }
    }

    /// Whether nothing behind this record can be read either.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Header { .. } | Self::RepeatedColumn { .. } | Self::Io { .. }
        )
    }
}

impl Blamed for RecordError {
    fn blame(&self) -> Blame {
        Blame::Data
    }
}
