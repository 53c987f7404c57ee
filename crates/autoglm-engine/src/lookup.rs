//! Prompt-lookup speculation: what followed the last tokens when they occurred before is proposed
//! as what follows now, and verified in one pass.
//!
//! # Source
//! Saxena 2023, prompt lookup decoding; the verification is that of Leviathan et al. 2023,
//! speculative decoding, §2.3, for a proposal without probabilities of its own: it is kept
//! exactly where it is what would have been chosen.

use autoglm_token::TokenId;

/// Tokens that must occur again at least before what followed them is proposed.
const MIN_MATCH: usize = 2;

/// Tokens that are compared at most; of longer matches the latest is as good as the longest.
const MAX_MATCH: usize = 16;

/// Proposals of one text, as long as they have lately been right.
pub(crate) struct Lookup {
    limit: usize,
    length: usize,
}

impl Lookup {
    /// Proposes at most `limit` tokens at a time.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            length: limit.min(4),
        }
    }

    /// What may follow `tokens`, at most `most` tokens: what followed the latest of the longest
    /// earlier runs that are like their end.
    pub(crate) fn propose<'t>(&self, tokens: &'t [TokenId], most: usize) -> &'t [TokenId] {
        let most = most.min(self.length);
        let Some(start) = (most > 0).then(|| continuation(tokens)).flatten() else {
            return &[];
        };
        &tokens[start..tokens.len().min(start + most)]
    }

    /// Learns how many of the proposed tokens were right: twice as many are proposed next where
    /// all were, one more than were right where not.
    pub(crate) fn learn(&mut self, proposed: usize, accepted: usize) {
        if proposed == 0 {
            return;
        }
        let next = if accepted == proposed {
            2 * self.length
        } else {
            accepted + 1
        };
        self.length = next.clamp(1, self.limit.max(1));
    }
}

/// Where the continuation of the best earlier match begins.
fn continuation(tokens: &[TokenId]) -> Option<usize> {
    let (&last, before) = tokens.split_last()?;
    let mut best = (MIN_MATCH - 1, None);
    for (end, _) in before.iter().enumerate().rev().filter(|(_, t)| **t == last) {
        let earlier = before[..end].iter().rev();
        let alike = earlier.zip(before.iter().rev()).take(MAX_MATCH - 1);
        let len = 1 + alike.take_while(|(a, b)| a == b).count();
        if len > best.0 {
            best = (len, Some(end + 1));
        }
        if len == MAX_MATCH {
            break;
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn propose(tokens: &[TokenId]) -> &[TokenId] {
        Lookup::new(16).propose(tokens, 16)
    }

    #[test]
    fn what_followed_before_is_proposed() {
        assert_eq!(propose(&[1, 2, 3, 4, 9, 1, 2]), [3, 4, 9, 1]);
    }

    #[test]
    fn a_single_token_in_common_proposes_nothing() {
        assert!(propose(&[1, 2, 3, 4, 2]).is_empty());
    }

    #[test]
    fn of_two_matches_the_longer_counts_and_of_equal_ones_the_later() {
        assert_eq!(propose(&[7, 1, 2, 5, 8, 1, 2, 6, 7, 1, 2])[0], 5);
        assert_eq!(propose(&[1, 2, 5, 8, 1, 2, 6, 9, 1, 2])[0], 6);
    }

    #[test]
    fn right_proposals_grow_and_wrong_ones_shrink() {
        let mut lookup = Lookup::new(16);
        let tokens: Vec<TokenId> = (0..40).chain(0..4).collect();
        for wanted in [4, 8, 16, 16] {
            assert_eq!(lookup.propose(&tokens, 99).len(), wanted);
            lookup.learn(wanted, wanted);
        }
        lookup.learn(16, 2);
        assert_eq!(lookup.propose(&tokens, 99).len(), 3);
        assert_eq!(lookup.propose(&tokens, 1).len(), 1);
    }

    proptest! {
        #[test]
        fn a_proposal_follows_the_longest_run_that_ends_like_the_text(
            tokens in prop::collection::vec(0..3_u32, 0..40),
        ) {
            let ends_alike = |end: usize| {
                let pairs = tokens[..end].iter().rev().zip(tokens.iter().rev());
                pairs.take_while(|(a, b)| a == b).count().min(MAX_MATCH)
            };
            let longest = (0..tokens.len()).map(ends_alike).max().unwrap_or(0);
            match continuation(&tokens) {
                None => prop_assert!(longest < MIN_MATCH),
                Some(start) => {
                    prop_assert_eq!(ends_alike(start), longest);
                    prop_assert!((start + 1..tokens.len()).all(|later| ends_alike(later) < longest));
                }
            }
        }
    }
}
