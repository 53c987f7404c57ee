//! Source code: definitions by their indentation, which formatted code of every language has.

use super::{Block, BlockKind, Extracted, Origin};
use crate::read::builder::one_line;

/// Characters of a definition's first line that make its title.
const TITLE_CHARS: usize = 100;

/// Reads code; each definition on the outermost level is a block with its first line as its title.
pub(super) fn read(text: String, origin: Origin) -> Extracted {
    let mut blocks = Vec::new();
    let mut start = 0;
    for end in boundaries(&text).into_iter().chain([text.len()]) {
        let part = &text[start..end];
        let trimmed = part.trim_end().len();
        let lead = part.len() - part.trim_start_matches(['\n', '\r']).len();
        if lead < trimmed {
            blocks.push(Block {
                range: start + lead..start + trimmed,
                kind: BlockKind::Lines,
                titles: title_of(part).into_iter().collect(),
                page: None,
                record: None,
                leads: false,
            });
        }
        start = end;
    }
    Extracted {
        text,
        blocks,
        meta: serde_json::Map::new(),
        remarks: Vec::new(),
        origin,
    }
}

/// Where definitions begin: at lines without indentation behind a blank line. What belongs to the
/// definition below it, comments and attributes, has no blank line between.
fn boundaries(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let (mut at, mut behind_blank) = (0, false);
    for line in text.split_inclusive('\n') {
        let is_blank = line.trim().is_empty();
        let closes = line.starts_with(['}', ')', ']']) || line.starts_with("end");
        let is_outer = !line.starts_with([' ', '\t']);
        if behind_blank && !is_blank && is_outer && !closes {
            found.push(at);
        }
        behind_blank = is_blank;
        at += line.len();
    }
    found
}

/// The first line that is no comment, attribute or brace.
fn title_of(part: &str) -> Option<String> {
    let says_nothing = |line: &str| {
        line.starts_with("//")
            || line.starts_with('#')
            || line.starts_with("/*")
            || line.starts_with('*')
            || line.starts_with('@')
            || line.starts_with("--")
            || line.starts_with("\"\"\"")
            || line.len() < 3
    };
    let line = part
        .lines()
        .map(str::trim)
        .find(|line| !says_nothing(line))?;
    let line = line.trim_end_matches(['{', ':', ' ']);
    one_line(line).map(|line| line.chars().take(TITLE_CHARS).collect())
}
