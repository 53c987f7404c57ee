//! Byte-pair merging: neighbouring symbols merge, the best pair first, until none can. Both kinds
//! of vocabulary work so; they differ in which pairs merge and which is best.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::TokenId;

/// The id of a symbol that is no token.
pub(crate) const NO_TOKEN: TokenId = TokenId::MAX;

/// No neighbour.
const NONE: u32 = u32::MAX;

/// A stretch of a piece of text, `len` bytes from `start`; merged away where `len` is 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbol {
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) id: TokenId,
    previous: u32,
    next: u32,
}

/// What two neighbours become: the best pair is the one of highest priority, the leftmost of those.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Merge {
    pub(crate) priority: u32,
    pub(crate) id: TokenId,
}

/// A pair that could merge when it was looked at.
#[derive(Debug)]
struct Candidate {
    /// Priority, then the complement of the left symbol's position: the greatest comes first.
    key: u64,
    right: u32,
    /// Bytes of both symbols; a pair of another length has changed since.
    len: u32,
    id: TokenId,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Candidate {}

/// The symbols of one piece after another; its memory is used again.
#[derive(Debug, Default)]
pub(crate) struct Merger {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Candidate>,
}

impl Merger {
    /// Forgets the last piece.
    pub(crate) fn clear(&mut self) {
        self.symbols.clear();
        self.queue.clear();
    }

    /// Appends a symbol behind the last.
    pub(crate) fn push(&mut self, start: usize, len: usize, id: TokenId) {
        let index = self.symbols.len() as u32;
        if let Some(last) = self.symbols.last_mut() {
            last.next = index;
        }
        self.symbols.push(Symbol {
            start: start as u32,
            len: len as u32,
            id,
            previous: index.wrapping_sub(1),
            next: NONE,
        });
    }

    /// Merges until no pair can, and gives what is left from left to right.
    pub(crate) fn merge(
        &mut self,
        lookup: impl Fn(&Symbol, &Symbol) -> Option<Merge>,
    ) -> impl Iterator<Item = &Symbol> {
        for left in 1..self.symbols.len() as u32 {
            self.offer(left - 1, left, &lookup);
        }
        while let Some(best) = self.queue.pop() {
            let left = !(best.key as u32);
            if self.is_stale(left, &best) {
                continue;
            }
            self.join(left, &best);
            let Symbol { previous, next, .. } = self.symbols[left as usize];
            self.offer(previous, left, &lookup);
            self.offer(left, next, &lookup);
        }
        self.symbols.iter().filter(|s| s.len > 0)
    }

    fn offer(
        &mut self,
        left: u32,
        right: u32,
        lookup: &impl Fn(&Symbol, &Symbol) -> Option<Merge>,
    ) {
        if left == NONE || right == NONE {
            return;
        }
        let (a, b) = (&self.symbols[left as usize], &self.symbols[right as usize]);
        if let Some(Merge { priority, id }) = lookup(a, b) {
            self.queue.push(Candidate {
                key: u64::from(priority) << 32 | u64::from(!left),
                right,
                len: a.len + b.len,
                id,
            });
        }
    }

    /// Whether one of a pair's symbols has merged with another since.
    fn is_stale(&self, left: u32, pair: &Candidate) -> bool {
        let (a, b) = (
            &self.symbols[left as usize],
            &self.symbols[pair.right as usize],
        );
        a.len == 0 || b.len == 0 || a.len + b.len != pair.len
    }

    /// Makes the left symbol of a pair the merged one and takes the right one out.
    fn join(&mut self, left: u32, pair: &Candidate) {
        let right = &mut self.symbols[pair.right as usize];
        right.len = 0;
        let next = right.next;
        let symbol = &mut self.symbols[left as usize];
        symbol.len = pair.len;
        symbol.id = pair.id;
        symbol.next = next;
        if next != NONE {
            self.symbols[next as usize].previous = left;
        }
    }
}
