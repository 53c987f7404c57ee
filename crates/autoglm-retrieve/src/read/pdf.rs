//! PDF: the words of its pages in the order in which they are drawn.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lopdf::content::{Content, Operation};
use lopdf::{Document, Encoding, LoadOptions, Object};

use super::builder::Builder;
use super::{BlockKind, Extracted, Limits, Origin, ReadError, plain};

/// A gap in thousandths of the font's size that is a blank between words; blanks themselves are 200
/// to 300 wide.
const WORD_GAP: f32 = -150.0;

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ReadError> {
    // The library is careful, but a document that makes it panic must not end the indexing of
    // others.
    let read = catch_unwind(AssertUnwindSafe(|| read_pages(bytes, limits)));
    read.unwrap_or_else(|_| Err(broken("it is malformed")))
}

fn read_pages(bytes: &[u8], limits: &Limits) -> Result<Extracted, ReadError> {
    let options = LoadOptions::with_max_decompressed_size(limits.unpacked_bytes);
    let document = Document::load_mem_with_options(bytes, options).map_err(broken)?;
    if document.is_encrypted() {
        return Err(broken("it is encrypted"));
    }
    let pages = document.get_pages();
    if pages.len() > limits.pages {
        return Err(ReadError::TooLarge {
            what: "pages",
            given: pages.len() as u64,
            limit: limits.pages as u64,
        });
    }
    let mut builder = Builder::new(limits.depth);
    if let Some(title) = title(&document) {
        builder.title(&title);
    }
    let mut text = String::new();
    let mut left = limits.unpacked_bytes;
    for (number, id) in pages {
        let start = text.len();
        match page_text(&document, id, &mut left) {
            Ok(page) => text.push_str(&page),
            Err(error) => builder.remark(format!("page {number} cannot be read: {error}")),
        }
        text.push('\n');
        builder.page(number as usize);
        for range in plain::paragraphs(&text[start..]) {
            builder.block(
                &text,
                start + range.start..start + range.end,
                BlockKind::Prose,
            );
        }
    }
    if text.trim().is_empty() {
        builder.remark("there is no text in it, only pictures of it".to_owned());
    }
    Ok(builder.finish(text, Origin::Text))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn broken(reason: impl ToString) -> ReadError {
    ReadError::Broken {
        format: "PDF",
        reason: reason.to_string(),
    }
}

fn title(document: &Document) -> Option<String> {
    let information = document.trailer.get_deref(b"Info", document).ok()?;
    let title = information
        .as_dict()
        .ok()?
        .get_deref(b"Title", document)
        .ok()?;
    lopdf::decode_text_string(title).ok()
}

fn page_text(
    document: &Document,
    page: lopdf::ObjectId,
    left: &mut usize,
) -> lopdf::Result<String> {
    let fonts = document.get_page_fonts(page)?;
    let encodings: BTreeMap<Vec<u8>, Encoding<'_>> = fonts
        .into_iter()
        .filter_map(|(name, font)| {
            let encoding = font.get_font_encoding_with_limit(document, *left).ok()?;
            Some((name, encoding))
        })
        .collect();
    let data = document.get_page_content_with_limit(page, *left)?;
    *left = left.saturating_sub(data.len());
    let mut writer = Writer {
        encodings: &encodings,
        encoding: None,
        text: String::new(),
        line_height: 0.0,
    };
    for operation in Content::decode(&data)?.operations {
        writer.take(&operation);
    }
    Ok(writer.text)
}

/// Follows the operators that show text and move between lines.
///
/// # Source
/// ISO 32000-1, 9.4.2 and 9.4.3.
struct Writer<'a> {
    encodings: &'a BTreeMap<Vec<u8>, Encoding<'a>>,
    encoding: Option<&'a Encoding<'a>>,
    text: String,
    /// The vertical position that the text matrix has set.
    line_height: f32,
}

impl Writer<'_> {
    fn take(&mut self, operation: &Operation) {
        let operands = &operation.operands;
        let number = |at: usize| {
            operands
                .get(at)
                .and_then(|o| o.as_float().ok())
                .unwrap_or(0.0)
        };
        match operation.operator.as_str() {
            "Tf" => {
                let name = operands.first().and_then(|name| name.as_name().ok());
                self.encoding = name.and_then(|name| self.encodings.get(name));
            }
            "Tj" | "TJ" => self.show(operands),
            "'" | "\"" => {
                self.next_line();
                self.show(operands);
            }
            "T*" | "ET" => self.next_line(),
            "Td" | "TD" => self.move_by(number(1)),
            "Tm" => {
                self.move_by(number(5) - self.line_height);
                self.line_height = number(5);
            }
            _ => {}
        }
    }

    /// Moves up or down to another line, or on in this one.
    fn move_by(&mut self, up: f32) {
        if up.abs() > 0.1 {
            self.next_line();
        } else {
            self.blank();
        }
    }

    fn show(&mut self, operands: &[Object]) {
        for operand in operands {
            match operand {
                Object::String(bytes, _) => {
                    let text = self.encoding.map(|e| Document::decode_text(e, bytes));
                    self.text
                        .push_str(&text.and_then(Result::ok).unwrap_or_default());
                }
                Object::Array(parts) if parts.iter().all(|p| p.as_array().is_err()) => {
                    self.show(parts);
                }
                Object::Integer(gap) if (*gap as f32) < WORD_GAP => self.blank(),
                Object::Real(gap) if *gap < WORD_GAP => self.blank(),
                _ => {}
            }
        }
    }

    fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with([' ', '\n']) {
            self.text.push(' ');
        }
    }

    fn next_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}
