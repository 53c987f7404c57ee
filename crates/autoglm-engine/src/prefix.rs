//! Sequences whose keys and values stay in the cache for later requests that begin alike.

use autoglm_model::{KvCache, Sequence};
use autoglm_token::TokenId;

/// Sequences that are kept at most; the one that was not used for longest goes first.
const MAX_ENTRIES: usize = 8;

struct Entry {
    tokens: Vec<TokenId>,
    sequence: Sequence,
    used: u64,
}

/// Cached sequences by their tokens.
#[derive(Default)]
pub(crate) struct PrefixCache {
    entries: Vec<Entry>,
    clock: u64,
}

impl PrefixCache {
    /// A sequence of its own that holds the longest cached beginning of `tokens`, at most
    /// `limit` of them; an empty one where nothing fits.
    pub(crate) fn fork(
        &mut self,
        cache: &mut KvCache,
        tokens: &[TokenId],
        limit: usize,
    ) -> Sequence {
        self.clock += 1;
        let shared = |entry: &Entry| common_prefix(&entry.tokens, tokens).min(limit);
        let Some(best) = self.entries.iter_mut().max_by_key(|entry| shared(entry)) else {
            return Sequence::default();
        };
        let len = shared(best);
        if len > 0 {
            best.used = self.clock;
        }
        cache.fork(&best.sequence, len)
    }

    /// Keeps a sequence for later. Entries that are beginnings of it are dropped.
    pub(crate) fn insert(&mut self, cache: &mut KvCache, tokens: Vec<TokenId>, sequence: Sequence) {
        debug_assert_eq!(tokens.len(), sequence.len(), "one cached position a token");
        self.clock += 1;
        let (covered, kept) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| tokens.starts_with(&entry.tokens));
        self.entries = kept;
        for entry in Vec::<Entry>::into_iter(covered) {
            cache.release(entry.sequence);
        }
        self.entries.push(Entry {
            tokens,
            sequence,
            used: self.clock,
        });
        if self.entries.len() > MAX_ENTRIES {
            self.evict(cache);
        }
    }

    /// Drops the entry that was not used for longest; `false` when there is none.
    pub(crate) fn evict(&mut self, cache: &mut KvCache) -> bool {
        let oldest = self
            .entries
            .iter()
            .enumerate()
            .min_by_key(|(_, entry)| entry.used);
        let Some((index, _)) = oldest else {
            return false;
        };
        cache.release(self.entries.swap_remove(index).sequence);
        true
    }
}

/// How many first tokens two sequences share.
pub(crate) fn common_prefix(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
