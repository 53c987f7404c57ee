//! Byte-level byte-pair encoding: the bytes of a word merge by a list of pairs, first pair first.
//!
//! This is ours and not the `tokenizers` crate's because encoding is on every record's path and
//! that crate is several times slower (`docs/tokens.md`).

use hashbrown::HashMap;

use crate::merge::{Merge, Merger, NO_TOKEN, Symbol};
use crate::pre_tokenizer::PreTokenizer;
use crate::table::{TokenTable, byte_characters, spelt_bytes};
use crate::whole_words::WholeWords;
use crate::{TokenError, TokenId, TokenKind, Vocabulary};

/// What merging needs beside the tokens' bytes.
#[derive(Debug)]
pub(crate) struct ByteBpe {
    /// What a pair of tokens merges to.
    merges: HashMap<(TokenId, TokenId), Merge>,
    /// The token for each byte, or [`NO_TOKEN`].
    byte_tokens: Vec<TokenId>,
    pre_tokenizer: PreTokenizer,
    whole_words: WholeWords,
}

impl ByteBpe {
    /// # Errors
    /// [`TokenError::UnknownPreTokenizer`], or [`TokenError::BadMerge`] if a merge names what is no
    /// token.
    pub(crate) fn new(vocabulary: &Vocabulary, table: &TokenTable) -> Result<Self, TokenError> {
        Ok(Self {
            merges: read_merges(vocabulary, table)?,
            byte_tokens: (0..=u8::MAX)
                .map(|byte| table.find(&[byte]).unwrap_or(NO_TOKEN))
                .collect(),
            pre_tokenizer: PreTokenizer::named(&vocabulary.pre)?,
            whole_words: WholeWords::new(table.len()),
        })
    }

    /// Appends a text's tokens. A byte that the vocabulary lacks is left out.
    pub(crate) fn encode(
        &self,
        table: &TokenTable,
        text: &str,
        merger: &mut Merger,
        out: &mut Vec<TokenId>,
    ) {
        for word in self.pre_tokenizer.split(text) {
            let word = &text.as_bytes()[word];
            let whole = table.find(word);
            match whole.filter(|_| self.pre_tokenizer.looks_up_whole_words()) {
                Some(id) => out.push(id),
                None => self
                    .whole_words
                    .encode(whole, out, |out| self.merge(word, merger, out)),
            }
        }
    }

    fn merge(&self, word: &[u8], merger: &mut Merger, out: &mut Vec<TokenId>) {
        merger.clear();
        for (start, &byte) in word.iter().enumerate() {
            merger.push(start, 1, self.byte_tokens[usize::from(byte)]);
        }
        let lookup = |left: &Symbol, right: &Symbol| self.merges.get(&(left.id, right.id)).copied();
        out.extend(
            merger
                .merge(lookup)
                .map(|s| s.id)
                .filter(|&id| id != NO_TOKEN),
        );
    }
}

/// Reads merges `left right`, the first of equal ones.
fn read_merges(
    vocabulary: &Vocabulary,
    table: &TokenTable,
) -> Result<HashMap<(TokenId, TokenId), Merge>, TokenError> {
    let byte_of = byte_characters();
    let mut out = HashMap::with_capacity(vocabulary.merges.len());
    for (index, merge) in vocabulary.merges.iter().enumerate() {
        match read_merge(merge, table, &byte_of) {
            Some((left, right, id)) => {
                // The first merge has the highest priority.
                let priority = !(index as u32);
                out.entry((left, right)).or_insert(Merge { priority, id });
            }
            None if makes_control_token(merge, vocabulary, table) => {}
            None => {
                let given = merge.clone();
                return Err(TokenError::BadMerge { index, given });
            }
        }
    }
    Ok(out)
}

/// Whether a merge makes a token that text must not become.
fn makes_control_token(merge: &str, vocabulary: &Vocabulary, table: &TokenTable) -> bool {
    let made = merge.replacen(' ', "", 1);
    let id = vocabulary.tokens.iter().position(|token| *token == made);
    id.is_some_and(|id| table.kind(id as TokenId) == TokenKind::Control)
}

fn read_merge(
    merge: &str,
    table: &TokenTable,
    byte_of: &[Option<u8>],
) -> Option<(TokenId, TokenId, TokenId)> {
    // A space is never part of a token here: it is spelt as a stand-in character.
    let (left, right) = merge.split_once(' ')?;
    let mut bytes = spelt_bytes(left, byte_of)?;
    let left = table.find(&bytes)?;
    let right = spelt_bytes(right, byte_of)?;
    bytes.extend_from_slice(&right);
    Some((left, table.find(&right)?, table.find(&bytes)?))
}
