//! Remembers which tokens are what merging makes of their own text, so that a word that is such a
//! token need not be merged again. Most words of a text are.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::TokenId;

/// Which tokens are known to be. Threads that learn the same write the same, in any order.
#[derive(Debug)]
pub(crate) struct WholeWords(Vec<AtomicBool>);

impl WholeWords {
    pub(crate) fn new(vocabulary_len: usize) -> Self {
        Self(
            (0..vocabulary_len)
                .map(|_| AtomicBool::new(false))
                .collect(),
        )
    }

    /// Appends a word's tokens: `whole` is the token of the word's text, `merge` appends what
    /// merging makes of it.
    pub(crate) fn encode(
        &self,
        whole: Option<TokenId>,
        out: &mut Vec<TokenId>,
        merge: impl FnOnce(&mut Vec<TokenId>),
    ) {
        let Some(id) = whole else {
            return merge(out);
        };
        let known = &self.0[id as usize];
        if known.load(Ordering::Relaxed) {
            out.push(id);
            return;
        }
        let start = out.len();
        merge(out);
        if out[start..] == [id] {
            known.store(true, Ordering::Relaxed);
        }
    }
}
