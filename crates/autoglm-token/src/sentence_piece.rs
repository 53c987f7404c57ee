//! SentencePiece byte-pair encoding: characters merge, as the vocabulary's order says.
//!
//! This is ours and not the `tokenizers` crate's, which wants merges with ranks where files have
//! scores: deriving one from the other is slow where a user waits, at every start
//! (`docs/tokens.md`).

use std::borrow::Cow;

use crate::merge::{Merger, NO_TOKEN};
use crate::merge_rules::MergeRules;
use crate::table::{SPACE_MARK, TokenTable};
use crate::whole_words::WholeWords;
use crate::{SpacePrefix, TokenError, TokenId, TokenKind, Vocabulary};

/// What merging needs beside the tokens' bytes.
#[derive(Debug)]
pub(crate) struct SentencePiece {
    rules: MergeRules,
    /// The token for each byte that has no other.
    byte_tokens: Vec<TokenId>,
    /// Bytes behind which some token has a space: text is not cut between the two.
    sticks_to_space: Vec<bool>,
    space_prefix: SpacePrefix,
    whole_words: WholeWords,
}

impl SentencePiece {
    /// # Errors
    /// [`TokenError::MissingByte`] if neither a byte token nor an unknown token can stand for what
    /// has no token; [`TokenError::BadMerge`] if a merge names what is no token.
    pub(crate) fn new(vocabulary: &Vocabulary, table: &TokenTable) -> Result<Self, TokenError> {
        Ok(Self {
            rules: MergeRules::new(vocabulary, table, |text| Some(piece_bytes(text)))?,
            byte_tokens: byte_tokens(vocabulary, table)?,
            sticks_to_space: bytes_before_spaces(table),
            space_prefix: vocabulary.space_prefix,
            whole_words: WholeWords::new(table.len()),
        })
    }

    /// Appends the tokens of a text before which stands nothing (`first`) or a special token.
    pub(crate) fn encode(
        &self,
        table: &TokenTable,
        (text, first): (&str, bool),
        merger: &mut Merger,
        out: &mut Vec<TokenId>,
    ) {
        let text = self.normalise(text, first);
        let mut rest = &*text;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.piece_len(rest.as_bytes()));
            let whole = table.find(piece.as_bytes());
            self.whole_words
                .encode(whole, out, |out| self.merge(table, piece, merger, out));
            rest = behind;
        }
    }

    fn normalise<'a>(&self, text: &'a str, first: bool) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        if text.contains(SPACE_MARK) {
            text = Cow::Owned(text.replace(SPACE_MARK, " "));
        }
        let prefixes = match self.space_prefix {
            SpacePrefix::Never => false,
            SpacePrefix::Always => true,
            SpacePrefix::Missing => !text.starts_with(' '),
            SpacePrefix::FirstMissing => first && !text.starts_with(' '),
        };
        if prefixes {
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
        for symbol in merger.merge(|left, right| self.rules.merge(table, bytes, left, right)) {
            if symbol.id == NO_TOKEN {
                let unknown = &bytes[symbol.start as usize..][..symbol.len as usize];
                out.extend(unknown.iter().map(|&b| self.byte_tokens[usize::from(b)]));
            } else {
                out.push(symbol.id);
            }
        }
    }
}

/// The bytes that the text of a token stands for.
fn piece_bytes(text: &str) -> Vec<u8> {
    text.replace(SPACE_MARK, " ").into_bytes()
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
