//! Passages and the documents that they are from.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::text::TextLanguage;

/// A passage's number in its collection. A passage that changes gets another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PassageId(pub i64);

/// What the bytes of a [`Place`] are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Within {
    /// The file as it is on the disk.
    File,
    /// The text that was made of the file, where its bytes are no text, as in PDF.
    Text,
}

/// Where in a document a passage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its first byte.
    pub start: usize,
    /// The byte behind its last one.
    pub end: usize,
    /// What bytes are counted in.
    pub within: Within,
    /// The line of the file on which it starts, from 1; none where bytes are not the file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The page on which it starts, from 1, of documents that have pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<usize>,
}

/// A stretch of a document that is found as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// Its number in the collection.
    pub id: PassageId,
    /// The path of its document.
    pub document: String,
    /// Headings above it, the outermost first; the document's title is the first where it has one.
    pub titles: Vec<String>,
    /// The record that it is from, in files of records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Where it is.
    pub place: Place,
    /// The language that most of it is in.
    pub language: TextLanguage,
    /// What else is known of it: the document's own statements, or other fields of a record.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// Its tokens, as whoever cut it counts them.
    pub tokens: usize,
    /// Its text.
    pub text: String,
}

impl Passage {
    /// The passage with the headings above it: what its vector is made of.
    pub fn with_titles(&self) -> String {
        with_titles(&self.titles, &self.text)
    }

    /// Its document, headings and place on one line.
    pub fn source(&self) -> String {
        let mut source = self.document.clone();
        if let Some(record) = &self.record {
            let _ = write!(source, " [{record}]");
        }
        if !self.titles.is_empty() {
            let _ = write!(source, " › {}", self.titles.join(" › "));
        }
        let Place {
            start, end, page, ..
        } = self.place;
        if let Some(page) = page {
            let _ = write!(source, ", page {page}");
        }
        let _ = write!(source, ", bytes {start}–{end}");
        source
    }
}

/// A text with the headings above it.
pub(crate) fn with_titles(titles: &[String], text: &str) -> String {
    if titles.is_empty() {
        return text.to_owned();
    }
    format!("{}\n{text}", titles.join(" › "))
}

/// What a store knows of a file to tell whether it has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentState {
    /// A hash of its bytes and of how they were read.
    pub hash: [u8; 32],
    /// Its bytes.
    pub size_bytes: u64,
    /// When it was last written, in nanoseconds since 1970; none where that is not known or too
    /// recent to rely on.
    pub modified_ns: Option<i64>,
}

/// A document with its passages, as it goes into a store.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its path, which names it in the collection.
    pub path: String,
    /// What tells whether it has changed.
    pub state: DocumentState,
    /// The name of its format.
    pub format: String,
    /// Its passages in order. Their numbers and paths do not count.
    pub passages: Vec<Passage>,
}
