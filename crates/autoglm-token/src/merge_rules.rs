//! Which neighbours merge to which token, and how urgently.

use hashbrown::HashMap;

use crate::merge::{Merge, Symbol};
use crate::table::TokenTable;
use crate::{MergeOrder, TokenError, TokenId, TokenKind, Vocabulary};

/// A vocabulary's [`MergeOrder`], made for looking pairs up.
#[derive(Debug)]
pub(crate) enum MergeRules {
    /// Every token's score, mapped so that a higher score is a greater number.
    Scores(Vec<u32>),
    /// What a pair of tokens merges to.
    Pairs(HashMap<(TokenId, TokenId), Merge>),
}

impl MergeRules {
    /// The rules of a vocabulary; `spell` gives the bytes that a token's text stands for.
    ///
    /// # Errors
    /// [`TokenError::BadMerge`] if a merge names what is no token.
    pub(crate) fn new(
        vocabulary: &Vocabulary,
        table: &TokenTable,
        spell: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<Self, TokenError> {
        match &vocabulary.merges {
            MergeOrder::Scores(scores) => {
                Ok(Self::Scores(scores.iter().map(|&s| priority(s)).collect()))
            }
            MergeOrder::Pairs(pairs) => {
                read_pairs(pairs, vocabulary, table, spell).map(Self::Pairs)
            }
        }
    }

    /// What two neighbours in a piece of text merge to.
    pub(crate) fn merge(
        &self,
        table: &TokenTable,
        piece: &[u8],
        left: &Symbol,
        right: &Symbol,
    ) -> Option<Merge> {
        match self {
            Self::Scores(priorities) => {
                let end = right.start + right.len;
                let id = table.find(&piece[left.start as usize..end as usize])?;
                let priority = priorities[id as usize];
                Some(Merge { priority, id })
            }
            Self::Pairs(pairs) => pairs.get(&(left.id, right.id)).copied(),
        }
    }
}

/// Maps scores to numbers in the same order.
fn priority(score: f32) -> u32 {
    // Adding zero makes -0 and 0 the same.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

/// Reads merges `left right`, the first of equal ones.
fn read_pairs(
    pairs: &[String],
    vocabulary: &Vocabulary,
    table: &TokenTable,
    spell: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<HashMap<(TokenId, TokenId), Merge>, TokenError> {
    let mut out = HashMap::with_capacity(pairs.len());
    for (index, pair) in pairs.iter().enumerate() {
        match read_pair(pair, table, &spell) {
            Some((left, right, id)) => {
                // The first merge has the highest priority.
                let priority = !(index as u32);
                out.entry((left, right)).or_insert(Merge { priority, id });
            }
            None if makes_control_token(pair, vocabulary, table) => {}
            None => {
                let given = pair.clone();
                return Err(TokenError::BadMerge { index, given });
            }
        }
    }
    Ok(out)
}

/// Whether a merge makes a token that text must not become.
fn makes_control_token(merge: &str, vocabulary: &Vocabulary, table: &TokenTable) -> bool {
    let id = vocabulary.find(&merge.replacen(' ', "", 1));
    id.is_some_and(|id| table.kind(id) == TokenKind::Control)
}

fn read_pair(
    pair: &str,
    table: &TokenTable,
    spell: impl Fn(&str) -> Option<Vec<u8>>,
) -> Option<(TokenId, TokenId, TokenId)> {
    // A space is never part of a token here: it is spelt as a stand-in character.
    let (left, right) = pair.split_once(' ')?;
    let mut bytes = spell(left)?;
    let left = table.find(&bytes)?;
    let right = spell(right)?;
    bytes.extend_from_slice(&right);
    Some((left, table.find(&right)?, table.find(&bytes)?))
}
