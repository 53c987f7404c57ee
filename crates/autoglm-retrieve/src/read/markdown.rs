//! Markdown: its headings, paragraphs, list items, tables and code, as they stand in the file.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::Value;

use super::builder::Builder;
use super::{BlockKind, Extracted, Origin};

pub(super) fn read(text: String, mut builder: Builder, origin: Origin) -> Extracted {
    let mut reader = Reader {
        text: &text,
        builder: &mut builder,
        depth: 0,
        heading: None,
        in_metadata: false,
    };
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    for (event, range) in Parser::new_ext(&text, options).into_offset_iter() {
        reader.take(event, range);
    }
    builder.finish(text, origin)
}

struct Reader<'a> {
    text: &'a str,
    builder: &'a mut Builder,
    /// Blocks around what comes next that are taken as a whole.
    depth: usize,
    /// The words of the heading that is open.
    heading: Option<String>,
    in_metadata: bool,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            // Items of a list are blocks, the list is none.
            Event::Start(Tag::List(_)) | Event::End(TagEnd::List(_)) if self.depth == 0 => {}
            Event::Start(tag) => self.start(&tag, range),
            Event::End(end) => self.end(end),
            Event::Text(words) | Event::Code(words) => self.words(&words),
            Event::SoftBreak | Event::HardBreak => self.words(" "),
            Event::Html(_) | Event::Rule if self.depth == 0 => {
                self.builder.block(self.text, range, BlockKind::Lines);
            }
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::Heading { .. } => self.heading = Some(String::new()),
            Tag::MetadataBlock(_) => self.in_metadata = true,
            Tag::CodeBlock(_) | Tag::Table(_) | Tag::HtmlBlock if self.depth == 0 => {
                self.builder.block(self.text, range, BlockKind::Lines);
            }
            _ if self.depth == 0 => self.builder.block(self.text, range, BlockKind::Prose),
            _ => {}
        }
        self.depth += 1;
    }

    fn end(&mut self, end: TagEnd) {
        self.depth = self.depth.saturating_sub(1);
        match end {
            TagEnd::Heading(level) => {
                let heading = self.heading.take().unwrap_or_default();
                self.builder.heading(level as usize, &heading);
            }
            TagEnd::MetadataBlock(_) => self.in_metadata = false,
            _ => {}
        }
    }

    fn words(&mut self, words: &str) {
        if self.in_metadata {
            for line in words.lines() {
                self.statement(line);
            }
        } else if let Some(heading) = &mut self.heading {
            heading.push_str(words);
        }
    }

    /// A `key: value` of the front matter.
    fn statement(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(':') else {
            return;
        };
        let (key, value) = (key.trim(), value.trim().trim_matches(['"', '\'']));
        if key.is_empty() || value.is_empty() || line.starts_with([' ', '\t', '-', '#']) {
            return;
        }
        if key == "title" {
            self.builder.title(value);
        }
        self.builder.meta(key, Value::String(value.to_owned()));
    }
}
