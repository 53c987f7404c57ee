//! Text of files, cut where the documents themselves are cut: headings, paragraphs, records,
//! definitions of code.
//!
//! Files come from anywhere. Every reader has limits, none recurses as deep as a file pleases, and
//! one that fails says why and leaves the other files alone.
//!
//! Collections hold what was read: whoever changes what a reader makes of a file raises `READING` in
//! [`crate::index`], so that documents that are there are read again.

mod builder;
mod code;
mod decode;
mod docx;
mod files;
mod format;
mod gzip;
mod html;
mod lines;
mod markdown;
mod pdf;
mod plain;
mod records;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde_json::{Map, Value};

pub use files::{Found, find_files};
pub use format::Format;
pub(crate) use format::is_code;

use crate::passage::{Place, Within};
use builder::Builder;
use lines::Lines;

/// What a file from outside may ask for at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file.
    pub file_bytes: u64,
    /// Bytes that come out of what is packed inside a file, all parts together.
    pub unpacked_bytes: usize,
    /// Pages of a document.
    pub pages: usize,
    /// Headings above each other that are kept.
    pub depth: usize,
}

impl Default for Limits {
    /// Far above what people write, far below what harms a machine with some GiB.
    fn default() -> Self {
        Self {
            file_bytes: 512 << 20,
            unpacked_bytes: 256 << 20,
            pages: 20_000,
            depth: 32,
        }
    }
}

/// Why there is no text of a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be read.
    #[error("cannot be read")]
    Io {
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// It asks for more than the limits allow.
    #[error("{what}: {given}, the limit is {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        given: u64,
        /// How much there may be.
        limit: u64,
    },
    /// It is no text, and of no format that is known.
    #[error("is no text and of no format that is known")]
    Unknown,
    /// It is not what its name says.
    #[error("is no {format}: {reason}")]
    Broken {
        /// The format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// The text of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// The text, whose bytes the blocks count.
    pub text: String,
    /// Its blocks in order; what stands between them is no text of the document's.
    pub blocks: Vec<Block>,
    /// What the document says of itself.
    pub meta: Map<String, Value>,
    /// What could not be read in it.
    pub remarks: Vec<String>,
    origin: Origin,
}

/// What a block is, which says where it may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Prose.
    Prose,
    /// Lines that mean something each: code, tables.
    Lines,
}

/// A stretch of text that belongs together.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Where it is in the text.
    pub range: Range<usize>,
    /// What it is.
    pub kind: BlockKind,
    /// Headings above it, the outermost first.
    pub titles: Vec<String>,
    /// The page that it is on, from 1.
    pub page: Option<usize>,
    /// The record that it is, in files of records.
    pub record: Option<Record>,
    /// Whether it says little without the block behind it: a term before its definition, a line that
    /// ends in a colon.
    pub leads: bool,
}

/// What a block of a file of records is besides its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What it is called: its own `id`, or its number.
    pub name: String,
    /// Where it is in the file.
    pub range: Range<usize>,
    /// Its other fields.
    pub meta: Map<String, Value>,
}

/// How bytes of the text are found in the file.
#[derive(Debug, Clone, PartialEq)]
enum Origin {
    /// They stand so many bytes further on.
    File { offset: usize, lines: Lines },
    /// Pieces of the text with where each starts in the file, in order.
    Pieces { pieces: Vec<Piece>, lines: Lines },
    /// They cannot be found.
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    in_text: usize,
    in_file: usize,
    file_end: usize,
    /// Whether its bytes in the file are those of the text; not where characters are written by
    /// name.
    exact: bool,
}

/// Reads a document. What gzip has packed is unpacked first; bytes are then those of the text.
///
/// # Errors
/// A document that is too large or not what its format says.
pub fn read(bytes: &[u8], format: Format, limits: &Limits) -> Result<Extracted, ReadError> {
    if !gzip::is_packed(bytes) {
        return read_unpacked(bytes, format, limits);
    }
    let unpacked = gzip::unpack(bytes, limits)?;
    let mut extracted = read_unpacked(&unpacked, format, limits)?;
    extracted.origin = Origin::Text;
    Ok(extracted)
}

fn read_unpacked(bytes: &[u8], format: Format, limits: &Limits) -> Result<Extracted, ReadError> {
    match format {
        Format::Pdf => pdf::read(bytes, limits),
        Format::Docx => docx::read(bytes, limits),
        _ => {
            let decoded = decode::decode(bytes)?;
            Ok(read_text(decoded, bytes, format, limits))
        }
    }
}

fn read_text(decoded: decode::Decoded, bytes: &[u8], format: Format, limits: &Limits) -> Extracted {
    let decode::Decoded { text, offset } = decoded;
    let origin = match offset {
        Some(offset) => Origin::File {
            offset,
            lines: Lines::of(bytes),
        },
        None => Origin::Text,
    };
    let builder = Builder::new(limits.depth);
    match format {
        Format::Markdown => markdown::read(text, builder, origin),
        Format::Html => html::read(&text, builder, origin),
        Format::Csv { separator } => records::read_csv(&text, separator, origin),
        Format::Jsonl => records::read_jsonl(&text, origin),
        Format::Code { .. } => code::read(text, origin),
        Format::Plain | Format::Pdf | Format::Docx => plain::read(text, builder, origin),
    }
}

impl Extracted {
    /// Where a stretch of a block's text is.
    pub fn place(&self, block: &Block, range: &Range<usize>) -> Place {
        let (found, lines) = match (&block.record, &self.origin) {
            (Some(record), Origin::File { offset, lines }) => {
                let Range { start, end } = record.range;
                (start + offset..end + offset, Some(lines))
            }
            (_, Origin::File { offset, lines }) => {
                (range.start + offset..range.end + offset, Some(lines))
            }
            (_, Origin::Pieces { pieces, lines }) => (in_file(pieces, range), Some(lines)),
            (_, Origin::Text) => (range.clone(), None),
        };
        Place {
            start: found.start,
            end: found.end,
            within: lines.map_or(Within::Text, |_| Within::File),
            line: lines.map(|lines| lines.line_of(found.start)),
            page: block.page,
        }
    }
}

/// Where a stretch of text is in the file, by the pieces that its first and its last byte are in.
fn in_file(pieces: &[Piece], range: &Range<usize>) -> Range<usize> {
    let find = |at: usize| {
        let behind = pieces.partition_point(|piece| piece.in_text <= at);
        pieces[..behind].last()
    };
    let last = range.end.saturating_sub(1).max(range.start);
    let (Some(first), Some(last)) = (find(range.start), find(last)) else {
        return 0..0;
    };
    // A piece with characters that are written by name is taken as a whole.
    let inside =
        |piece: &Piece, at: usize| (piece.in_file + (at - piece.in_text)).min(piece.file_end);
    let start = if first.exact {
        inside(first, range.start)
    } else {
        first.in_file
    };
    let end = if last.exact {
        inside(last, range.end)
    } else {
        last.file_end
    };
    start..end.max(start)
}
