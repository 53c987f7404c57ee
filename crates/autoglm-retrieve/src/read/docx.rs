//! Documents of word processors: paragraphs with the styles of headings, in a zip archive of XML.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;
use zip::ZipArchive;

use super::builder::Builder;
use super::{BlockKind, Extracted, Limits, Origin, ReadError};

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ReadError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let mut left = limits.unpacked_bytes as u64;
    let mut part = |name: &str| unpack(&mut archive, name, &mut left, limits);
    let document =
        part("word/document.xml")?.ok_or_else(|| broken("there is no word/document.xml in it"))?;
    let styles = part("word/styles.xml")?.unwrap_or_default();
    let properties = part("docProps/core.xml")?.unwrap_or_default();
    let mut builder = Builder::new(limits.depth);
    for (name, value) in properties_of(&properties).map_err(broken)? {
        if name == "title" {
            builder.title(&value);
        }
        builder.meta(&name, Value::String(value));
    }
    let mut paragraphs = Paragraphs {
        levels: heading_levels(&styles).map_err(broken)?,
        builder,
        text: String::new(),
        start: 0,
        level: None,
        in_text: false,
        table: 0,
    };
    paragraphs.read(&document).map_err(broken)?;
    Ok(paragraphs.builder.finish(paragraphs.text, Origin::Text))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn broken(reason: impl ToString) -> ReadError {
    ReadError::Broken {
        format: "DOCX",
        reason: reason.to_string(),
    }
}

/// A part of the archive as text; none where there is no such part.
fn unpack(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    name: &str,
    left: &mut u64,
    limits: &Limits,
) -> Result<Option<String>, ReadError> {
    let Ok(file) = archive.by_name(name) else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let read = file
        .take(*left + 1)
        .read_to_end(&mut text)
        .map_err(broken)? as u64;
    if read > *left {
        return Err(ReadError::TooLarge {
            what: "bytes unpacked",
            given: read,
            limit: limits.unpacked_bytes as u64,
        });
    }
    *left -= read;
    String::from_utf8(text).map(Some).map_err(broken)
}

/// Statements of the document on itself: title, creator, subject and the like.
fn properties_of(xml: &str) -> Result<Vec<(String, String)>, quick_xml::Error> {
    let mut reader = Reader::from_str(xml);
    let mut found = Vec::new();
    let mut name = String::new();
    loop {
        match reader.read_event()? {
            Event::Start(start) => name = local_name(&start),
            Event::Text(text) => {
                let value = text.xml10_content().trim().to_owned();
                if ["title", "creator", "subject", "keywords", "description"]
                    .contains(&name.as_str())
                    && !value.is_empty()
                {
                    found.push((name.clone(), value));
                }
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

/// The levels of the styles that are headings: by their names, which are English whatever the
/// language of the program, or by their outline level.
fn heading_levels(xml: &str) -> Result<BTreeMap<String, usize>, quick_xml::Error> {
    let mut reader = Reader::from_str(xml);
    let mut levels = BTreeMap::new();
    let mut style = String::new();
    loop {
        match reader.read_event()? {
            Event::Start(tag) | Event::Empty(tag) => match local_name(&tag).as_str() {
                "style" => style = attribute(&tag, "styleId").unwrap_or_default(),
                "name" => {
                    let name = attribute(&tag, "val").unwrap_or_default().to_lowercase();
                    if let Some(level) = level_of_name(&name) {
                        levels.insert(style.clone(), level);
                    }
                }
                "outlineLvl" => {
                    if let Some(level) = outline_level(&tag) {
                        levels.entry(style.clone()).or_insert(level);
                    }
                }
                _ => {}
            },
            Event::Eof => return Ok(levels),
            _ => {}
        }
    }
}

fn level_of_name(name: &str) -> Option<usize> {
    if name == "title" {
        return Some(1);
    }
    let level: usize = name.strip_prefix("heading")?.trim().parse().ok()?;
    (1..=9).contains(&level).then_some(level)
}

/// Level 9 of an outline is running text.
fn outline_level(tag: &BytesStart<'_>) -> Option<usize> {
    let level: usize = attribute(tag, "val")?.parse().ok()?;
    (level < 9).then_some(level + 1)
}

fn local_name(tag: &BytesStart<'_>) -> String {
    let name = tag.local_name();
    String::from_utf8_lossy(name.as_ref().as_ref()).into_owned()
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = tag.attributes().flatten();
    let found = attributes.find(|a| {
        let local: &[u8] = a.key.local_name().into_inner().as_ref();
        local == name.as_bytes()
    })?;
    Some(
        found
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
            .ok()?
            .into_owned(),
    )
}

/// Follows the paragraphs of the document.
struct Paragraphs {
    levels: BTreeMap<String, usize>,
    builder: Builder,
    text: String,
    start: usize,
    level: Option<usize>,
    in_text: bool,
    /// Tables around what comes next.
    table: usize,
}

impl Paragraphs {
    fn read(&mut self, xml: &str) -> Result<(), quick_xml::Error> {
        let mut reader = Reader::from_str(xml);
        loop {
            match reader.read_event()? {
                Event::Start(tag) => self.open(&tag),
                Event::Empty(tag) => {
                    self.open(&tag);
                    self.in_text = false;
                }
                Event::End(tag) => {
                    let name = tag.local_name();
                    self.close(&String::from_utf8_lossy(name.as_ref().as_ref()));
                }
                Event::Text(text) if self.in_text => self.text.push_str(&text.xml10_content()),
                Event::GeneralRef(name) if self.in_text => self.reference(&name),
                Event::Eof => return Ok(()),
                _ => {}
            }
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>) {
        match local_name(tag).as_str() {
            "t" => self.in_text = true,
            "tab" => self.text.push('\t'),
            "br" | "cr" => self.text.push('\n'),
            "tbl" => self.table += 1,
            "tc" if self.text.len() > self.start => self.text.push_str(" | "),
            "pStyle" => {
                let style = attribute(tag, "val").unwrap_or_default();
                self.level = self.levels.get(&style).copied();
            }
            "outlineLvl" => self.level = outline_level(tag).or(self.level),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "tbl" => self.table = self.table.saturating_sub(1),
            // A row of a table is a block, whatever paragraphs its cells have.
            "p" if self.table == 0 => self.end_block(),
            "tr" => self.end_block(),
            _ => {}
        }
    }

    fn end_block(&mut self) {
        let range = self.start..self.text.len();
        match self.level.take() {
            Some(level) => self.builder.heading(level, &self.text[range]),
            None => self.builder.block(&self.text, range, BlockKind::Prose),
        }
        // Sentences do not go on in the next block.
        self.text.push_str("\n\n");
        self.start = self.text.len();
    }

    /// A character that is written by its name or number.
    fn reference(&mut self, reference: &quick_xml::events::BytesRef<'_>) {
        if let Ok(Some(c)) = reference.resolve_char_ref() {
            self.text.push(c);
        } else if let Some(text) =
            quick_xml::escape::resolve_predefined_entity(&reference.xml10_content())
        {
            self.text.push_str(text);
        }
    }
}
