//! PDF: the lines of its pages in the order in which they are drawn, under its bookmarks.

mod flow;
mod font;
mod furniture;
mod lines;
mod names;
mod outline;
mod page;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lopdf::{Document, LoadOptions};

use super::builder::Builder;
use super::{BlockKind, Extracted, Limits, Origin, ReadError};
pub(super) use furniture::has_leader;
use lines::Line;
use outline::Bookmark;
use page::Pages;

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ReadError> {
    // The library is careful, but a document that makes it panic must not end the indexing of
    // others.
    let read = catch_unwind(AssertUnwindSafe(|| read_document(bytes, limits)));
    read.unwrap_or_else(|_| Err(broken("it is malformed")))
}

fn read_document(bytes: &[u8], limits: &Limits) -> Result<Extracted, ReadError> {
    let options = LoadOptions::with_max_decompressed_size(limits.unpacked_bytes);
    // The library has already tried the empty password, with which most encrypted documents open.
    let document = Document::load_mem_with_options(bytes, options).map_err(broken)?;
    if document.is_encrypted() {
        return Err(broken("it is encrypted, and opens with a password only"));
    }
    let mut builder = Builder::new(limits.depth);
    if let Some(title) = title(&document) {
        builder.title(&title);
    }
    let mut pages = read_pages(&document, limits, &mut builder)?;
    let has_text = |pages: &[Vec<Line>]| pages.iter().any(|lines| !lines.is_empty());
    let had_text = has_text(&pages);
    furniture::remove(&mut pages);
    if had_text && !has_text(&pages) {
        builder.remark("all of its lines are those of tables of contents".to_owned());
    }
    let hyphenated = flow::hyphenated(&pages);
    let bookmarks = outline::bookmarks(&document);
    let mut writer = Writer {
        builder,
        text: String::new(),
        hyphenated,
    };
    let mut rest = &bookmarks[..];
    for (number, lines) in (1..).zip(&pages) {
        let here = rest.iter().take_while(|bookmark| bookmark.page <= number);
        let (here, after) = rest.split_at(here.count());
        writer.page(number, lines, here);
        rest = after;
    }
    Ok(writer.builder.finish(writer.text, Origin::Text))
}

/// The lines of all pages. What cannot be read is remarked.
fn read_pages(
    document: &Document,
    limits: &Limits,
    builder: &mut Builder,
) -> Result<Vec<Vec<Line>>, ReadError> {
    let numbered = document.get_pages();
    if numbered.len() > limits.pages {
        return Err(ReadError::TooLarge {
            what: "pages",
            given: numbered.len() as u64,
            limit: limits.pages as u64,
        });
    }
    let mut reader = Pages::new(document, limits.unpacked_bytes);
    let mut pages = Vec::with_capacity(numbered.len());
    // Pages that show something, but no text.
    let mut drawn = 0;
    for (number, id) in numbered {
        let pictures = reader.pictures;
        pages.push(match reader.runs(id) {
            Ok(runs) => {
                drawn += usize::from(runs.is_empty() && reader.pictures > pictures);
                lines::lines(&runs)
            }
            Err(error) => {
                builder.remark(format!("page {number} cannot be read: {error}"));
                Vec::new()
            }
        });
    }
    if reader.unread > 0 {
        builder.remark(format!("{} drawings cannot be read", reader.unread));
    }
    if reader.untold > 0 {
        builder.remark(format!(
            "{} characters are drawn in fonts that do not tell which they are",
            reader.untold
        ));
    }
    let empty = pages.iter().filter(|lines| lines.is_empty()).count();
    if empty == pages.len() {
        builder.remark("there is no text in it, only pictures of it".to_owned());
    } else if drawn > 0 {
        let all = pages.len();
        builder.remark(format!(
            "{drawn} of {all} pages have no text, only pictures of it"
        ));
    }
    Ok(pages)
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

/// Writes pages as paragraphs under headings.
struct Writer {
    builder: Builder,
    text: String,
    hyphenated: HashSet<String>,
}

impl Writer {
    fn page(&mut self, number: usize, lines: &[Line], bookmarks: &[Bookmark]) {
        self.builder.page(number);
        let mut done = 0;
        let places = outline::places(bookmarks, lines);
        for (bookmark, (at, count)) in bookmarks.iter().zip(places) {
            self.lines(&lines[done..at.max(done)]);
            self.builder.heading(bookmark.level, &bookmark.title);
            done = done.max(at + count);
        }
        self.lines(&lines[done.min(lines.len())..]);
    }

    fn lines(&mut self, lines: &[Line]) {
        for paragraph in flow::paragraphs(lines, &self.hyphenated) {
            let start = self.text.len();
            self.text.push_str(&paragraph);
            let range: Range<usize> = start..self.text.len();
            self.builder.block(&self.text, range, BlockKind::Prose);
            self.text.push_str("\n\n");
        }
    }
}
