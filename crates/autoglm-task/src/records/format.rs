//! How records are laid out in a file, found from its name or its first bytes.

use std::path::Path;

use autoglm_spec::Field;
use serde::{Deserialize, Serialize};

/// How the records of an input are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputFormat {
    /// A JSON object a line; a bare JSON string is the task's first field.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// Plain text; each line is the task's first field.
    Lines,
}

/// How answers are laid out in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// A JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
}

impl InputFormat {
    /// The format that a file's extension names, if it names one.
    pub fn from_path(path: &Path) -> Option<Self> {
        match extension(path)?.as_str() {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "txt" | "text" => Some(Self::Lines),
            _ => None,
        }
    }

    /// Tells the format from the first bytes of an input, which need not end at a line.
    ///
    /// JSON where the first line starts as an object or is a JSON string; CSV or TSV where the
    /// first line has one of the task's fields as a column; plain lines otherwise.
    pub fn sniff(head: &[u8], fields: &[Field]) -> Self {
        let text = String::from_utf8_lossy(head);
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let first = text.lines().next().unwrap_or_default().trim_end();
        if first.starts_with('{') || serde_json::from_str::<String>(first).is_ok() {
            return Self::Jsonl;
        }
        let has_field = |delimiter: char| {
            first.contains(delimiter)
                && first
                    .split(delimiter)
                    .any(|column| fields.iter().any(|f| f.name == column.trim_matches('"')))
        };
        if has_field('\t') {
            Self::Tsv
        } else if has_field(',') {
            Self::Csv
        } else {
            Self::Lines
        }
    }

    /// What separates the fields of a row, where rows have fields.
    pub(super) fn delimiter(self) -> Option<u8> {
        match self {
            Self::Csv => Some(b','),
            Self::Tsv => Some(b'\t'),
            Self::Jsonl | Self::Lines => None,
        }
    }
}

impl OutputFormat {
    /// The format that a file's extension names, if it names one.
    pub fn from_path(path: &Path) -> Option<Self> {
        match extension(path)?.as_str() {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}
