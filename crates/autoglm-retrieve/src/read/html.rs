//! HTML as a stream of tags: nothing is nested, so that no page can grow deeper than memory.

use std::ops::Range;

use html5gum::{DefaultEmitter, Token, Tokenizer};

use super::builder::Builder;
use super::{BlockKind, Extracted, Origin, Piece};

/// Elements whose content is not read.
const SILENT: &[&str] = &[
    "script", "style", "template", "noscript", "svg", "math", "nav", "iframe", "select",
];
/// Elements that begin and end a block.
const BLOCKS: &[&str] = &[
    "p",
    "div",
    "section",
    "article",
    "main",
    "header",
    "footer",
    "aside",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "table",
    "tr",
    "caption",
    "pre",
    "blockquote",
    "figure",
    "figcaption",
    "form",
    "fieldset",
    "address",
    "details",
    "summary",
    "hr",
    "body",
    "center",
    "thead",
];

pub(super) fn read(page: &str, builder: Builder, origin: Origin) -> Extracted {
    let mut reader = Reader {
        builder,
        text: String::new(),
        pieces: Vec::new(),
        block_start: 0,
        silent: None,
        heading: None,
        in_title: false,
        title: String::new(),
        pre: 0,
    };
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(page, emitter).flatten() {
        match token {
            Token::StartTag(tag) => {
                reader.start(&String::from_utf8_lossy(&tag.name), tag.self_closing);
            }
            Token::EndTag(tag) => reader.end(&String::from_utf8_lossy(&tag.name)),
            Token::String(text) => {
                reader.words(
                    &String::from_utf8_lossy(&text.value),
                    text.span.start..text.span.end,
                );
            }
            _ => {}
        }
    }
    reader.finish(origin)
}

struct Reader {
    builder: Builder,
    text: String,
    pieces: Vec<Piece>,
    block_start: usize,
    /// The element that is passed over, and how many of its name are open.
    silent: Option<(String, usize)>,
    heading: Option<usize>,
    in_title: bool,
    title: String,
    pre: usize,
}

impl Reader {
    fn start(&mut self, name: &str, self_closing: bool) {
        if let Some((silent, depth)) = &mut self.silent {
            *depth += usize::from(silent == name && !self_closing);
            return;
        }
        if SILENT.contains(&name) && !self_closing {
            self.silent = Some((name.to_owned(), 1));
            return;
        }
        match name {
            "title" => self.in_title = true,
            "br" => self.text.push('\n'),
            "td" | "th" if self.text.len() > self.block_start => self.text.push_str(" | "),
            _ => {}
        }
        if let Some(level) = heading_level(name) {
            self.close_block();
            self.heading = Some(level);
        } else if BLOCKS.contains(&name) {
            self.close_block();
            self.pre += usize::from(name == "pre");
        }
    }

    fn end(&mut self, name: &str) {
        if let Some((silent, depth)) = &mut self.silent {
            *depth -= usize::from(silent == name);
            if *depth == 0 {
                self.silent = None;
            }
            return;
        }
        if name == "title" && self.in_title {
            self.in_title = false;
            let title = std::mem::take(&mut self.title);
            self.builder.title(&title);
        }
        if heading_level(name).is_some() || BLOCKS.contains(&name) {
            self.close_block();
            self.pre = self.pre.saturating_sub(usize::from(name == "pre"));
        }
    }

    fn words(&mut self, words: &str, at: Range<usize>) {
        if self.silent.is_some() {
            return;
        }
        if self.in_title {
            self.title.push_str(words);
            return;
        }
        if self.pre > 0 {
            let exact = words.len() == at.len();
            self.push(words, at, exact);
            return;
        }
        for word in pieces_between_blanks(words) {
            let text = &words[word.clone()];
            if text.trim().is_empty() {
                if !self.text.ends_with([' ', '\n']) && self.text.len() > self.block_start {
                    self.text.push(' ');
                }
            } else {
                let exact = words.len() == at.len();
                let own = at.start + word.start..at.start + word.end;
                self.push(text, if exact { own } else { at.clone() }, exact);
            }
        }
    }

    fn push(&mut self, text: &str, at: Range<usize>, exact: bool) {
        self.pieces.push(Piece {
            in_text: self.text.len(),
            in_file: at.start,
            file_end: at.end,
            exact,
        });
        self.text.push_str(text);
    }

    /// Ends what is open: a heading, or a block.
    fn close_block(&mut self) {
        let range = self.block_start..self.text.len();
        match self.heading.take() {
            Some(level) => self.builder.heading(level, &self.text[range]),
            None if self.pre > 0 => self.builder.block(&self.text, range, BlockKind::Lines),
            None => self.builder.block(&self.text, range, BlockKind::Prose),
        }
        if self.text.len() > self.block_start {
            self.text.push('\n');
        }
        self.block_start = self.text.len();
    }

    fn finish(mut self, origin: Origin) -> Extracted {
        self.close_block();
        let origin = match origin {
            Origin::File { offset, lines } => {
                for piece in &mut self.pieces {
                    piece.in_file += offset;
                    piece.file_end += offset;
                }
                Origin::Pieces {
                    pieces: self.pieces,
                    lines,
                }
            }
            other => other,
        };
        self.builder.finish(self.text, origin)
    }
}

fn heading_level(name: &str) -> Option<usize> {
    match name.as_bytes() {
        [b'h', level @ b'1'..=b'6'] => Some(usize::from(level - b'0')),
        _ => None,
    }
}

/// Stretches of blanks and stretches between them, in order.
fn pieces_between_blanks(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut was_blank = None;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        match found.last_mut() {
            Some(last) if was_blank == Some(c.is_whitespace()) => last.end = end,
            _ => found.push(at..end),
        }
        was_blank = Some(c.is_whitespace());
    }
    found
}
