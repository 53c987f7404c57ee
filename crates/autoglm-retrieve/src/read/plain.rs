//! Plain text: paragraphs between blank lines, and headings that are underlined.

use std::ops::Range;

use super::builder::Builder;
use super::pdf::has_leader;
use super::{BlockKind, Extracted, Origin};

pub(super) fn read(text: String, mut builder: Builder, origin: Origin) -> Extracted {
    // Underlines in the order in which they appear are levels, as in reStructuredText.
    let mut underlines: Vec<char> = Vec::new();
    for paragraph in paragraphs(&text) {
        let mut rest = paragraph;
        while let Some((heading, underline, after)) = underlined(&text, &rest) {
            if !underlines.contains(&underline) {
                underlines.push(underline);
            }
            let level = underlines.iter().position(|c| *c == underline).unwrap_or(0) + 1;
            builder.heading(level, heading);
            rest = after..rest.end;
        }
        // Lines of a table of contents lead with dots to the numbers of pages.
        let mut lines = text[rest.clone()].lines();
        if !lines.all(|line| line.trim().is_empty() || has_leader(line)) {
            builder.block(&text, rest, BlockKind::Prose);
        }
    }
    builder.finish(text, origin)
}

/// Stretches between blank lines.
pub(super) fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut at, mut open) = (0, 0, false);
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            if open {
                found.push(start..at);
            }
            open = false;
        } else if !open {
            (start, open) = (at, true);
        }
        at += line.len();
    }
    if open {
        found.push(start..at);
    }
    found
}

/// The heading with which a paragraph starts, its underline, and where what follows begins. A line
/// above the heading may be drawn, too.
fn underlined<'a>(text: &'a str, range: &Range<usize>) -> Option<(&'a str, char, usize)> {
    let mut at = range.start;
    let mut lines = text[range.clone()].split_inclusive('\n');
    let mut first = lines.next()?;
    at += first.len();
    if drawn(first).is_some() {
        first = lines.next()?;
        at += first.len();
    }
    let line = lines.next()?;
    at += line.len();
    let underline = drawn(line)?;
    let reaches = line.trim().chars().count() * 2 >= first.trim().chars().count();
    (drawn(first).is_none() && reaches).then_some((first.trim(), underline, at))
}

/// The character that a line consists of, three times at least.
fn drawn(line: &str) -> Option<char> {
    let line = line.trim();
    let first = line.chars().next().filter(|c| "=-~^*+#\"'`".contains(*c))?;
    (line.len() >= 3 && line.chars().all(|c| c == first)).then_some(first)
}
