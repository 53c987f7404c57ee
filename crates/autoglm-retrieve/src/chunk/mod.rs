//! Passages of a document: blocks that stand together under one heading, as many as fit, and blocks
//! that are too long cut where it hurts least. Whoever changes where they are cut raises `READING` in
//! [`crate::index`].

mod cut;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::passage::{Passage, PassageId, with_titles};
use crate::read::{Block, Extracted};
use crate::text::TextLanguage;
use cut::{Piece, cut};

/// Counts the tokens of a text as the model counts them that will read it.
pub trait CountTokens {
    /// Tokens of a text.
    fn count(&self, text: &str) -> usize;
}

impl<F: Fn(&str) -> usize + ?Sized> CountTokens for F {
    fn count(&self, text: &str) -> usize {
        self(text)
    }
}

/// How large passages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSettings {
    /// Tokens of a passage with its headings at most. A single word that is longer stays whole.
    pub max_tokens: usize,
}

/// Cuts a document into passages. Their numbers and paths are not known yet.
pub fn chunk(
    document: &Extracted,
    tokens: &dyn CountTokens,
    settings: ChunkSettings,
) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut rest = &document.blocks[..];
    while let Some(first) = rest.first() {
        let together = rest.iter().take_while(|block| belong(first, block)).count();
        let (group, others) = rest.split_at(together);
        section(document, group, (tokens, settings), &mut passages);
        rest = others;
    }
    passages
}

/// Whether two blocks may be in one passage.
fn belong(a: &Block, b: &Block) -> bool {
    std::ptr::eq(a, b)
        || a.record.is_none() && b.record.is_none() && a.titles == b.titles && a.page == b.page
}

/// Packs the blocks under one heading.
fn section(
    document: &Extracted,
    blocks: &[Block],
    (tokens, settings): (&dyn CountTokens, ChunkSettings),
    passages: &mut Vec<Passage>,
) {
    let first = &blocks[0];
    let titles = tokens.count(&with_titles(&first.titles, ""));
    // Headings that are longer than half a passage do not take the room of the text.
    let room = settings.max_tokens - titles.min(settings.max_tokens / 2);
    let pieces = blocks
        .iter()
        .flat_map(|block| cut(&document.text, block, room, tokens));
    for Piece { range, tokens, .. } in pack(pieces, room) {
        passages.push(passage(document, first, range, tokens + titles));
    }
}

/// Joins neighbours as long as they fit. Pieces that lead to the next one go with it where both fit.
fn pack(pieces: impl Iterator<Item = Piece>, room: usize) -> Vec<Piece> {
    let mut packed: Vec<Vec<Piece>> = Vec::new();
    for piece in pieces {
        match packed.last_mut() {
            Some(group) if tokens_of(group) + piece.tokens <= room => group.push(piece),
            Some(group) => {
                let mut next = leading(group, room.saturating_sub(piece.tokens));
                next.push(piece);
                packed.push(next);
            }
            None => packed.push(vec![piece]),
        }
    }
    packed.iter().filter_map(|group| joined(group)).collect()
}

fn tokens_of(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.tokens).sum()
}

/// Takes away the last pieces of a group that lead to the next one, as many as there is room for. One
/// stays.
fn leading(group: &mut Vec<Piece>, room: usize) -> Vec<Piece> {
    let mut from = group.len();
    while from > 1 && group[from - 1].leads && tokens_of(&group[from - 1..]) <= room {
        from -= 1;
    }
    group.split_off(from)
}

fn joined(group: &[Piece]) -> Option<Piece> {
    let (first, last) = (group.first()?, group.last()?);
    Some(Piece {
        range: first.range.start..last.range.end,
        tokens: tokens_of(group),
        leads: last.leads,
    })
}

fn passage(document: &Extracted, block: &Block, range: Range<usize>, tokens: usize) -> Passage {
    let text = document.text[range.clone()].to_owned();
    let record = block.record.as_ref();
    Passage {
        id: PassageId(0),
        document: String::new(),
        titles: block.titles.clone(),
        record: record.map(|record| record.name.clone()),
        place: document.place(block, &range),
        language: TextLanguage::of(&text),
        meta: record.map_or_else(|| document.meta.clone(), |record| record.meta.clone()),
        tokens,
        text,
    }
}
