//! Cuts blocks that are too long.

use std::ops::Range;

use super::CountTokens;
use crate::read::{Block, BlockKind};
use crate::text::{is_unspaced, sentences};

/// A stretch of text with its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) range: Range<usize>,
    pub(super) tokens: usize,
    /// Whether it says little without the next one.
    pub(super) leads: bool,
}

/// A block as pieces of at most `room` tokens: itself, its lines or sentences, or words of a
/// sentence that is longer.
pub(super) fn cut(text: &str, block: &Block, room: usize, tokens: &dyn CountTokens) -> Vec<Piece> {
    let range = block.range.clone();
    let whole = tokens.count(&text[range.clone()]);
    if whole <= room {
        return vec![Piece {
            range,
            tokens: whole,
            leads: block.leads,
        }];
    }
    let part = &text[range.clone()];
    let parts = match block.kind {
        BlockKind::Lines => lines(part),
        BlockKind::Prose => sentences(part),
    };
    let mut pieces = Vec::new();
    for part in parts {
        let part = range.start + part.start..range.start + part.end;
        let count = tokens.count(&text[part.clone()]);
        if count <= room {
            pieces.push(Piece {
                range: part,
                tokens: count,
                leads: false,
            });
        } else {
            pieces.extend(words(text, part, room, tokens));
        }
    }
    if let Some(last) = pieces.last_mut() {
        last.leads = block.leads;
    }
    pieces
}

/// Lines that are not blank, with their indentation.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if !line.trim().is_empty() {
            found.push(at..at + line.trim_end().len());
        }
        at += line.len();
    }
    found
}

/// A stretch cut between words, in pieces as long as they may be.
fn words(text: &str, range: Range<usize>, room: usize, tokens: &dyn CountTokens) -> Vec<Piece> {
    let breaks = word_starts(&text[range.clone()]);
    let ends: Vec<usize> = breaks
        .iter()
        .map(|at| range.start + at)
        .chain([range.end])
        .collect();
    let mut pieces = Vec::new();
    let mut start = range.start;
    let mut next = 0;
    while start < range.end {
        // The most words that fit, found by halving: more words never have fewer tokens.
        let fits = |end: &usize| tokens.count(&text[start..*end]) <= room;
        let window = longest_fit(&ends[next..], fits).max(1);
        let end = ends[next + window - 1];
        let trimmed = start + text[start..end].trim_end().len();
        pieces.push(Piece {
            range: start..trimmed,
            tokens: tokens.count(&text[start..trimmed]),
            leads: false,
        });
        start = end;
        next += window;
    }
    pieces
}

/// How many of the ends, from the first, fit. Looks near before far, so that a long text is not
/// counted whole again and again.
fn longest_fit(ends: &[usize], fits: impl Fn(&usize) -> bool) -> usize {
    let mut reach = 1;
    while reach < ends.len() && fits(&ends[reach - 1]) {
        reach *= 2;
    }
    let from = reach / 2;
    let to = reach.min(ends.len());
    from + ends[from..to].partition_point(fits)
}

/// Where words begin, but for the first: behind blanks, and at each character of scripts without
/// blanks.
fn word_starts(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut before = None;
    for (at, c) in text.char_indices() {
        let behind_blank = before.is_some_and(char::is_whitespace) && !c.is_whitespace();
        let between = is_unspaced(c) || before.is_some_and(is_unspaced);
        if before.is_some() && (behind_blank || between && c.is_alphanumeric()) {
            found.push(at);
        }
        before = Some(c);
    }
    found
}
