//! HTML as a stream of tags: nothing is nested, so that no page can grow deeper than memory.

use std::ops::Range;

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};

use super::builder::Builder;
use super::{BlockKind, Extracted, Origin, Piece};

/// Elements whose content is not read.
const SILENT: &[&str] = &[
    "script", "style", "template", "noscript", "svg", "math", "nav", "iframe", "select",
];
/// Roles and classes of elements whose content leads elsewhere and says nothing itself. Classes are those
/// of the programs that most documentation is made with: `DocBook`, Sphinx, Asciidoctor, Doxygen, Pandoc.
const SILENT_ROLES: &[&str] = &[
    "navigation",
    "search",
    "contentinfo",
    "menu",
    "menubar",
    "doc-toc",
];
const SILENT_CLASSES: &[&str] = &[
    "toc",
    "TOC",
    "toctree-wrapper",
    "list-of-tables",
    "list-of-figures",
    "list-of-examples",
    "navheader",
    "navfooter",
    "navpath",
    "sphinxsidebar",
    "headerlink",
];
/// Elements that may be such: those that always have an end, behind which text goes on.
const CONTAINERS: &[&str] = &[
    "div", "section", "article", "aside", "header", "footer", "ul", "ol", "dl", "table", "form",
    "span", "a",
];
/// So many blocks in a row of nothing but links to other pages of the same site lead elsewhere, too.
const LINKED_BLOCKS: usize = 4;
/// Bytes of such a block at most: a longer one says something, or its link has no end.
const LINK_BYTES: usize = 200;
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
        in_term: false,
        in_link: false,
        linked: 0,
        waiting: Vec::new(),
    };
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(page, emitter).flatten() {
        match token {
            Token::StartTag(tag) => {
                reader.start(&tag);
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
    /// Whether the open block is a term that is defined.
    in_term: bool,
    /// Whether a link to another page of the same site is open.
    in_link: bool,
    /// Bytes of the open block that are in such links.
    linked: usize,
    /// Blocks of nothing but such links, of which it is not known yet how many there are in a row.
    waiting: Vec<(Range<usize>, BlockKind)>,
}

impl Reader {
    fn start(&mut self, tag: &StartTag<usize>) {
        let name = &*String::from_utf8_lossy(&tag.name);
        if let Some((silent, depth)) = &mut self.silent {
            *depth += usize::from(silent == name && !tag.self_closing);
            return;
        }
        let leads = || CONTAINERS.contains(&name) && leads_elsewhere(tag);
        if (SILENT.contains(&name) || leads()) && !tag.self_closing {
            self.silent = Some((name.to_owned(), 1));
            return;
        }
        match name {
            "a" => self.in_link = attribute(tag, "href").is_some_and(|to| is_near(&to)),
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
            self.in_term = name == "dt";
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
        if name == "a" {
            self.in_link = false;
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
        self.linked += usize::from(self.in_link) * letters(text);
        self.text.push_str(text);
    }

    /// Ends what is open: a heading, or a block.
    fn close_block(&mut self) {
        let range = self.block_start..self.text.len();
        let own = letters(&self.text[range.clone()]);
        // Bars and commas between links say nothing.
        let is_linked = self.linked > 0 && self.linked * 10 >= own * 8 && own <= LINK_BYTES;
        self.linked = 0;
        let kind = if self.pre > 0 {
            BlockKind::Lines
        } else {
            BlockKind::Prose
        };
        if let Some(level) = self.heading.take() {
            self.end_links();
            self.builder.heading(level, &self.text[range]);
        } else if is_linked {
            self.waiting.push((range, kind));
        } else if own > 0 {
            self.end_links();
            self.builder.block(&self.text, range, kind);
            if self.in_term {
                self.builder.lead();
            }
        }
        if self.text.len() > self.block_start {
            // Sentences do not go on in the next block, but a term does in its definition.
            self.text.push_str(if self.in_term { "\n" } else { "\n\n" });
        }
        self.in_term = false;
        self.block_start = self.text.len();
    }

    /// Takes the links in a row up to here as text where they are few.
    fn end_links(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.len() < LINKED_BLOCKS {
            for (range, kind) in waiting {
                self.builder.block(&self.text, range, kind);
            }
        }
    }

    fn finish(mut self, origin: Origin) -> Extracted {
        self.close_block();
        self.end_links();
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

/// Bytes of a text without its blanks.
fn letters(text: &str) -> usize {
    text.split_whitespace().map(str::len).sum()
}

/// Whether an element says of itself that it leads elsewhere.
fn leads_elsewhere(tag: &StartTag<usize>) -> bool {
    let has = |name: &str, wanted: &[&str]| {
        attribute(tag, name).is_some_and(|value| {
            value
                .split_ascii_whitespace()
                .any(|word| wanted.contains(&word))
        })
    };
    has("role", SILENT_ROLES) || has("class", SILENT_CLASSES) || has("id", &["toc", "TOC"])
}

fn attribute(tag: &StartTag<usize>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Whether a link leads to the same page or one beside it.
fn is_near(to: &str) -> bool {
    !to.starts_with('/') && !to.contains(':')
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
