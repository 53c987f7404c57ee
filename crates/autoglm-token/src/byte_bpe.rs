//! Byte-level byte-pair encoding: the bytes of a word merge, as the vocabulary's order says.
//!
//! This is ours and not the `tokenizers` crate's because encoding is on every record's path and
//! that crate is several times slower (`docs/tokens.md`).

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::merge::{Merger, NO_TOKEN};
use crate::merge_rules::MergeRules;
use crate::pre_tokenizer::PreTokenizer;
use crate::table::{TokenTable, byte_characters, spelt_bytes};
use crate::whole_words::WholeWords;
use crate::{TokenError, TokenId, Vocabulary};

/// What merging needs beside the tokens' bytes.
#[derive(Debug)]
pub(crate) struct ByteBpe {
    rules: MergeRules,
    /// The token for each byte, or [`NO_TOKEN`].
    byte_tokens: Vec<TokenId>,
    pre_tokenizer: PreTokenizer,
    composes: bool,
    whole_words: WholeWords,
}

impl ByteBpe {
    /// # Errors
    /// [`TokenError::UnknownPreTokenizer`] or [`TokenError::WordPattern`], or
    /// [`TokenError::BadMerge`] if a merge names what is no token.
    pub(crate) fn new(vocabulary: &Vocabulary, table: &TokenTable) -> Result<Self, TokenError> {
        let byte_of = byte_characters();
        Ok(Self {
            rules: MergeRules::new(vocabulary, table, |text| spelt_bytes(text, &byte_of))?,
            byte_tokens: (0..=u8::MAX)
                .map(|byte| table.find(&[byte]).unwrap_or(NO_TOKEN))
                .collect(),
            pre_tokenizer: PreTokenizer::new(&vocabulary.words)?,
            composes: vocabulary.composes,
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
        let text = self.normalise(text);
        for word in self.pre_tokenizer.split(&text) {
            let word = &text.as_bytes()[word];
            let whole = table.find(word);
            match whole.filter(|_| self.pre_tokenizer.looks_up_whole_words()) {
                Some(id) => out.push(id),
                None => self
                    .whole_words
                    .encode(whole, out, |out| self.merge(table, word, merger, out)),
            }
        }
    }

    fn normalise<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.composes && !is_nfc(text) {
            Cow::Owned(text.nfc().collect())
        } else {
            Cow::Borrowed(text)
        }
    }

    fn merge(&self, table: &TokenTable, word: &[u8], merger: &mut Merger, out: &mut Vec<TokenId>) {
        merger.clear();
        for (start, &byte) in word.iter().enumerate() {
            merger.push(start, 1, self.byte_tokens[usize::from(byte)]);
        }
        out.extend(
            merger
                .merge(|left, right| self.rules.merge(table, word, left, right))
                .map(|s| s.id)
                .filter(|&id| id != NO_TOKEN),
        );
    }
}
