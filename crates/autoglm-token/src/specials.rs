//! Finds tokens that are cut out of a text before anything is merged.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::{TokenError, TokenId, TokenKind, Vocabulary};

/// Control, unknown and user-defined tokens by their text; of several at one place the longest.
#[derive(Debug)]
pub(crate) struct SpecialTokens {
    /// Those that any text may contain.
    user_defined: Finder,
    /// Those that only our own text may contain.
    control: Finder,
    /// Both.
    all: Finder,
}

impl SpecialTokens {
    /// The special tokens of a vocabulary.
    ///
    /// # Errors
    /// [`TokenError::SpecialTokens`] if their texts are too many or too long to search for.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Result<Self, TokenError> {
        let of = |wanted: &[TokenKind]| {
            let kinds = &vocabulary.kinds;
            let ids = (0..kinds.len()).filter(|&id| wanted.contains(&kinds[id]));
            Finder::new(vocabulary, ids.map(|id| id as TokenId))
        };
        Ok(Self {
            user_defined: of(&[TokenKind::UserDefined])?,
            control: of(&[TokenKind::Control, TokenKind::Unknown])?,
            all: of(&[
                TokenKind::UserDefined,
                TokenKind::Control,
                TokenKind::Unknown,
            ])?,
        })
    }

    /// The first special token at or behind `from`. In the `plain` stretches, which are in order
    /// and do not overlap, only user-defined tokens are seen; a control token that reaches into
    /// one is not seen either.
    pub(crate) fn next(
        &self,
        text: &str,
        from: usize,
        plain: &[Range<usize>],
    ) -> Option<(Range<usize>, TokenId)> {
        if plain
            .first()
            .is_some_and(|p| p.start <= from && text.len() <= p.end)
        {
            return self.user_defined.next(text, from);
        }
        let mut at = from;
        loop {
            let found = self.all.next(text, at)?;
            if self.user_defined.has(found.1) || !touches(plain, &found.0) {
                return Some(found);
            }
            let shorter = self.user_defined.next_in(text, found.0.clone());
            if let Some(user_defined) = shorter.filter(|other| other.0.start == found.0.start) {
                return Some(user_defined);
            }
            at = found.0.start + 1;
        }
    }

    /// The first text of a control token at or behind `from`.
    pub(crate) fn next_control(&self, text: &str, from: usize) -> Option<(Range<usize>, TokenId)> {
        self.control.next(text, from)
    }
}

/// Whether a stretch has a byte in common with one of several in order.
fn touches(stretches: &[Range<usize>], range: &Range<usize>) -> bool {
    let behind = stretches.partition_point(|s| s.end <= range.start);
    stretches.get(behind).is_some_and(|s| s.start < range.end)
}

/// Searches for the texts of some tokens at once.
#[derive(Debug)]
struct Finder {
    automaton: Option<AhoCorasick>,
    /// The token of each text, in ascending order.
    ids: Vec<TokenId>,
}

impl Finder {
    fn new(
        vocabulary: &Vocabulary,
        ids: impl Iterator<Item = TokenId>,
    ) -> Result<Self, TokenError> {
        let text = |id: TokenId| &vocabulary.tokens[id as usize];
        // The empty text would be found everywhere.
        let ids: Vec<_> = ids.filter(|&id| !text(id).is_empty()).collect();
        let automaton = if ids.is_empty() {
            None
        } else {
            let built = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(ids.iter().map(|&id| text(id)));
            Some(built.map_err(|source| TokenError::SpecialTokens {
                count: ids.len(),
                source,
            })?)
        };
        Ok(Self { automaton, ids })
    }

    fn has(&self, id: TokenId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    fn next(&self, text: &str, from: usize) -> Option<(Range<usize>, TokenId)> {
        self.next_in(text, from..text.len())
    }

    fn next_in(&self, text: &str, range: Range<usize>) -> Option<(Range<usize>, TokenId)> {
        let input = aho_corasick::Input::new(text).range(range);
        let found = self.automaton.as_ref()?.find(input)?;
        Some((found.range(), self.ids[found.pattern().as_usize()]))
    }
}
