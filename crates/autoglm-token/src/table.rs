//! Every token's bytes, and the way back from bytes to the token.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{TokenId, TokenKind, Vocabulary, VocabularyModel};

/// The character that SentencePiece writes for a space.
pub(crate) const SPACE_MARK: char = '▁';

/// The tokens of a vocabulary as bytes of text.
#[derive(Debug)]
pub(crate) struct TokenTable {
    /// All tokens' bytes, one behind the other.
    bytes: Vec<u8>,
    /// Where each token's bytes begin, and where the last one's end.
    starts: Vec<usize>,
    kinds: Vec<TokenKind>,
    /// Tokens that text can become by merging, by their bytes.
    mergeable: HashTable<TokenId>,
    hasher: DefaultHashBuilder,
    longest: usize,
}

impl TokenTable {
    /// The tokens of a vocabulary.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let mut table = Self {
            bytes: Vec::with_capacity(vocabulary.tokens.iter().map(String::len).sum()),
            starts: vec![0],
            kinds: vocabulary.kinds.clone(),
            mergeable: HashTable::with_capacity(vocabulary.tokens.len()),
            hasher: DefaultHashBuilder::default(),
            longest: 0,
        };
        let byte_of = byte_characters();
        for (id, text) in vocabulary.tokens.iter().enumerate() {
            let kind = table.kinds[id];
            let bytes = token_bytes(vocabulary.model, kind, text, &byte_of);
            table.bytes.extend_from_slice(&bytes);
            table.starts.push(table.bytes.len());
            if is_mergeable(vocabulary.model, kind, text) {
                table.index(id as TokenId);
            }
        }
        table
    }

    /// The number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// A token's kind.
    pub(crate) fn kind(&self, id: TokenId) -> TokenKind {
        self.kinds[id as usize]
    }

    /// A token's bytes; of a control token, those of its name.
    pub(crate) fn bytes(&self, id: TokenId) -> &[u8] {
        &self.bytes[self.range(id)]
    }

    /// The token of these bytes that text can become by merging.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<TokenId> {
        if bytes.len() > self.longest {
            return None;
        }
        self.mergeable
            .find(self.hasher.hash_one(bytes), |&id| self.bytes(id) == bytes)
            .copied()
    }

    /// The bytes of the longest token that text can become.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    fn range(&self, id: TokenId) -> Range<usize> {
        self.starts[id as usize]..self.starts[id as usize + 1]
    }

    /// Makes the last token one that is found; of two with the same bytes the first is.
    fn index(&mut self, id: TokenId) {
        let (all, starts) = (&self.bytes, &self.starts);
        let of = |id: TokenId| &all[starts[id as usize]..starts[id as usize + 1]];
        let bytes = of(id);
        self.longest = self.longest.max(bytes.len());
        let hash = self.hasher.hash_one(bytes);
        if self
            .mergeable
            .find(hash, |&other| of(other) == bytes)
            .is_none()
        {
            self.mergeable
                .insert_unique(hash, id, |&other| self.hasher.hash_one(of(other)));
        }
    }
}

/// Whether text can become this token by merging. Control tokens never come from text, byte tokens
/// only from what has no other token. SentencePiece writes spaces as [`SPACE_MARK`] before it
/// merges, so a token with a plain space is only ever cut out.
fn is_mergeable(model: VocabularyModel, kind: TokenKind, text: &str) -> bool {
    let spelt_out = model == VocabularyModel::SentencePiece && text.contains(' ');
    let kept_apart = matches!(
        kind,
        TokenKind::Control | TokenKind::Unknown | TokenKind::Byte
    );
    !(spelt_out || kept_apart || text.is_empty())
}

/// The bytes that a token stands for.
fn token_bytes<'a>(
    model: VocabularyModel,
    kind: TokenKind,
    text: &'a str,
    byte_of: &[Option<u8>],
) -> Cow<'a, [u8]> {
    let raw = Cow::Borrowed(text.as_bytes());
    match (model, kind) {
        (_, TokenKind::Control | TokenKind::Unknown) => raw,
        (_, TokenKind::Byte) => named_byte(text).map_or(raw, |byte| Cow::Owned(vec![byte])),
        (VocabularyModel::SentencePiece, _) if text.contains(SPACE_MARK) => {
            Cow::Owned(text.replace(SPACE_MARK, " ").into_bytes())
        }
        // The mark alone is the character itself inside a word: no word is empty.
        (VocabularyModel::WordPiece, _) => match text.strip_prefix(SPACE_MARK) {
            Some(word) if !word.is_empty() => Cow::Owned(format!(" {word}").into_bytes()),
            _ => raw,
        },
        (VocabularyModel::ByteBpe, TokenKind::Normal | TokenKind::Unused) => {
            spelt_bytes(text, byte_of).map_or(raw, Cow::Owned)
        }
        _ => raw,
    }
}

/// The byte that a byte token such as `<0x0A>` names.
fn named_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}

/// The bytes that a token of a byte-level vocabulary spells with stand-in characters; `None` where
/// it has another character, as tokens that were added later do.
pub(crate) fn spelt_bytes(text: &str, byte_of: &[Option<u8>]) -> Option<Vec<u8>> {
    text.chars().map(|c| *byte_of.get(c as usize)?).collect()
}

/// The byte that each character up to U+0143 stands for in byte-level vocabularies: printable
/// characters of Latin-1 stand for themselves, the other bytes follow in order from U+0100.
///
/// # Source
/// `bytes_to_unicode` of GPT-2's `encoder.py`.
pub(crate) fn byte_characters() -> Vec<Option<u8>> {
    let mut byte_of = vec![None; 0x144];
    let mut next = 0x100;
    for byte in 0..=u8::MAX {
        let stands_for_itself = matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        if stands_for_itself {
            byte_of[usize::from(byte)] = Some(byte);
        } else {
            byte_of[next] = Some(byte);
            next += 1;
        }
    }
    byte_of
}
