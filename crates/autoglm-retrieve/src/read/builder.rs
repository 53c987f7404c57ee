//! Blocks under headings, as readers meet them.

use std::ops::Range;

use serde_json::{Map, Value};

use super::{Block, BlockKind, Extracted, Origin};

/// Characters of a heading that are kept.
const HEADING_CHARS: usize = 200;

/// Collects blocks under the headings above them.
pub(super) struct Builder {
    blocks: Vec<Block>,
    meta: Map<String, Value>,
    remarks: Vec<String>,
    title: Option<String>,
    /// Headings with their levels, of rising level.
    headings: Vec<(usize, String)>,
    page: Option<usize>,
    depth: usize,
}

impl Builder {
    pub(super) fn new(depth: usize) -> Self {
        Self {
            blocks: Vec::new(),
            meta: Map::new(),
            remarks: Vec::new(),
            title: None,
            headings: Vec::new(),
            page: None,
            depth,
        }
    }

    /// The title of the whole document.
    pub(super) fn title(&mut self, title: &str) {
        self.title = one_line(title);
    }

    pub(super) fn page(&mut self, page: usize) {
        self.page = Some(page);
    }

    pub(super) fn remark(&mut self, remark: String) {
        self.remarks.push(remark);
    }

    pub(super) fn meta(&mut self, key: &str, value: Value) {
        self.meta.insert(key.to_owned(), value);
    }

    /// A heading of a level, 1 the highest: it ends those of its level and below.
    pub(super) fn heading(&mut self, level: usize, text: &str) {
        let Some(text) = one_line(text) else { return };
        self.headings.retain(|(other, _)| *other < level);
        if self.headings.len() < self.depth {
            self.headings.push((level, text));
        }
    }

    /// A block of the text, without the blanks around it.
    pub(super) fn block(&mut self, text: &str, range: Range<usize>, kind: BlockKind) {
        let part = &text[range.clone()];
        // Indentation of a first line of code says where it belongs.
        let start = match kind {
            BlockKind::Prose => range.start + (part.len() - part.trim_start().len()),
            BlockKind::Lines => {
                range.start + (part.len() - part.trim_start_matches(['\n', '\r']).len())
            }
        };
        let end = range.start + part.trim_end().len();
        if start < end {
            self.blocks.push(Block {
                range: start..end,
                kind,
                titles: self.titles(),
                page: self.page,
                record: None,
                leads: text[start..end].ends_with([':', '：']),
            });
        }
    }

    /// The last block says little without what comes next.
    pub(super) fn lead(&mut self) {
        if let Some(last) = self.blocks.last_mut() {
            last.leads = true;
        }
    }

    fn titles(&self) -> Vec<String> {
        let headings = self.headings.iter().map(|(_, text)| text);
        let first = self.headings.first().map(|(_, text)| text);
        let title = self.title.iter().filter(|title| Some(*title) != first);
        title.chain(headings).cloned().collect()
    }

    pub(super) fn finish(self, text: String, origin: Origin) -> Extracted {
        Extracted {
            text,
            blocks: self.blocks,
            meta: self.meta,
            remarks: self.remarks,
            origin,
        }
    }
}

/// A text on one line; none where it is blank.
pub(super) fn one_line(text: &str) -> Option<String> {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().take(HEADING_CHARS).collect();
    (!line.is_empty()).then_some(line)
}
