//! SentencePiece byte-pair encoding: characters merge wherever the two together are a token, the
//! token of highest score first.
//!
//! This is ours and not the `tokenizers` crate's, which wants merges with ranks: deriving those
//! from the scores is exact but slow where a user waits, at every start (`docs/tokens.md`).

use std::borrow::Cow;

use crate::merge::{Merge, Merger, NO_TOKEN, Symbol};
use crate::table::{SPACE_MARK, TokenTable};
use crate::whole_words::WholeWords;
use crate::{TokenError, TokenId, TokenKind, Vocabulary};

/// What merging needs beside the tokens' bytes.
#[derive(Debug)]
pub(crate) struct SentencePiece {
    /// Every token's score, mapped so that a higher score is a greater number.
    priorities: Vec<u32>,
    /// The token for each byte that has no other.
    byte_tokens: Vec<TokenId>,
    /// Bytes behind which some token has a space: text is not cut between the two.
    sticks_to_space: Vec<bool>,
    add_space_prefix: bool,
    whole_words: WholeWords,
}

impl SentencePiece {
    /// # Errors
    /// [`TokenError::MissingByte`] if neither a byte token nor an unknown token can stand for what
    /// has no token.
    pub(crate) fn new(vocabulary: &Vocabulary, table: &TokenTable) -> Result<Self, TokenError> {
        Ok(Self {
            priorities: vocabulary.scores.iter().map(|&s| priority(s)).collect(),
            byte_tokens: byte_tokens(vocabulary, table)?,
            sticks_to_space: bytes_before_spaces(table),
            add_space_prefix: vocabulary.add_space_prefix,
            whole_words: WholeWords::new(table.len()),
        })
    }

    /// Appends the tokens of a text before which stands nothing or a special token.
    pub(crate) fn encode(
        &self,
        table: &TokenTable,
        text: &str,
        merger: &mut Merger,
        out: &mut Vec<TokenId>,
    ) {
        let text = self.normalise(text);
        let mut rest = &*text;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.piece_len(rest.as_bytes()));
            let whole = table.find(piece.as_bytes());
            self.whole_words
                .encode(whole, out, |out| self.merge(table, piece, merger, out));
            rest = behind;
        }
    }

    fn normalise<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        if text.contains(SPACE_MARK) {
            text = Cow::Owned(text.replace(SPACE_MARK, " "));
        }
        if self.add_space_prefix {
            text.to_mut().insert(0, ' ');
        }
        text
    }

    /// Bytes up to the first space that no token joins to what stands before it. Nothing merges
    /// across such a place, so that pieces can be merged one by one.
    fn piece_len(&self, text: &[u8]) -> usize {
        (1..text.len())
            .find(|&i| text[i] == b' ' && !self.sticks_to_space[usize::from(text[i - 1])])
            .unwrap_or(text.len())
    }

    fn merge(&self, table: &TokenTable, piece: &str, merger: &mut Merger, out: &mut Vec<TokenId>) {
        let bytes = piece.as_bytes();
        merger.clear();
        for (start, char) in piece.char_indices() {
            let len = char.len_utf8();
            let id = table.find(&bytes[start..start + len]).unwrap_or(NO_TOKEN);
            merger.push(start, len, id);
        }
        let lookup = |left: &Symbol, right: &Symbol| {
            let end = right.start + right.len;
            let id = table.find(&bytes[left.start as usize..end as usize])?;
            Some(Merge {
                priority: self.priorities[id as usize],
                id,
            })
        };
        for symbol in merger.merge(lookup) {
            if symbol.id == NO_TOKEN {
                let unknown = &bytes[symbol.start as usize..][..symbol.len as usize];
                out.extend(unknown.iter().map(|&b| self.byte_tokens[usize::from(b)]));
            } else {
                out.push(symbol.id);
            }
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

fn byte_tokens(vocabulary: &Vocabulary, table: &TokenTable) -> Result<Vec<TokenId>, TokenError> {
    let mut tokens = [vocabulary.unk; 256];
    for id in 0..table.len() as TokenId {
        if let (TokenKind::Byte, &[byte]) = (table.kind(id), table.bytes(id)) {
            tokens[usize::from(byte)] = Some(id);
        }
    }
    (0..=u8::MAX)
        .zip(tokens)
        .map(|(byte, token)| token.ok_or(TokenError::MissingByte { byte }))
        .collect()
}

fn bytes_before_spaces(table: &TokenTable) -> Vec<bool> {
    let mut found = vec![false; 256];
    for id in 0..table.len() as TokenId {
        for pair in table.bytes(id).windows(2).filter(|pair| pair[1] == b' ') {
            // A token with a plain space is cut out and merges with nothing, so that it need not
            // hold back a cut; but most of those are runs of spaces, which are never cut anyway.
            found[usize::from(pair[0])] |= table.find(table.bytes(id)).is_some();
        }
    }
    found
}
