//! Text to token ids and back.

use std::borrow::Cow;
use std::ops::Range;

use crate::byte_bpe::ByteBpe;
use crate::ends::{end_tokens, mark_end_tokens};
use crate::merge::Merger;
use crate::sentence_piece::SentencePiece;
use crate::specials::SpecialTokens;
use crate::table::TokenTable;
use crate::tags::control_tags;
use crate::word_piece::WordPiece;
use crate::{
    MergeOrder, SpacePrefix, TextStream, TokenError, TokenId, TokenKind, Vocabulary,
    VocabularyModel,
};

/// What happens to the text of control tokens, such as `<|im_end|>`, inside a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Specials {
    /// Text that is the text of a control token becomes that token. For text that we wrote:
    /// templates, prompts of our own.
    Parse,
    /// Text stays text: no control token comes out, whatever the text says. For text from
    /// outside: records, documents, messages.
    AsText,
}

/// Cuts text into the tokens of one vocabulary. It is built once and shared between threads.
#[derive(Debug)]
pub struct Tokenizer {
    table: TokenTable,
    specials: SpecialTokens,
    model: Model,
    /// Whether encoding puts a space before a text, which decoding takes away again.
    adds_space: bool,
    prefix: Vec<TokenId>,
    suffix: Vec<TokenId>,
    bos: Option<TokenId>,
    eos: Option<TokenId>,
    ends: Vec<TokenId>,
    /// Control tokens that stay in a text.
    tags: Vec<TokenId>,
}

/// How what stands between special tokens is cut.
#[derive(Debug)]
enum Model {
    SentencePiece(SentencePiece),
    ByteBpe(ByteBpe),
    WordPiece(WordPiece),
}

impl Tokenizer {
    /// Builds the tokenizer of a vocabulary.
    ///
    /// # Errors
    /// [`TokenError`] if lists differ in length, a named token does not exist, the pre-tokeniser
    /// is not known or its patterns are not supported, a merge names no token, or some byte has no token.
    pub fn new(mut vocabulary: Vocabulary) -> Result<Self, TokenError> {
        check(&vocabulary)?;
        mark_end_tokens(&mut vocabulary);
        let ends = end_tokens(&vocabulary);
        let tags = control_tags(&vocabulary);
        let specials = SpecialTokens::new(&vocabulary)?;
        let table = TokenTable::new(&vocabulary);
        let model = match vocabulary.model {
            VocabularyModel::SentencePiece => {
                Model::SentencePiece(SentencePiece::new(&vocabulary, &table)?)
            }
            VocabularyModel::ByteBpe => Model::ByteBpe(ByteBpe::new(&vocabulary, &table)?),
            VocabularyModel::WordPiece => Model::WordPiece(WordPiece::new(&vocabulary)?),
        };
        Ok(Self {
            adds_space: match model {
                Model::SentencePiece(_) => vocabulary.space_prefix != SpacePrefix::Never,
                Model::ByteBpe(_) => false,
                // A space stands before every word, the first one included.
                Model::WordPiece(_) => true,
            },
            prefix: vocabulary.prefix,
            suffix: vocabulary.suffix,
            bos: vocabulary.bos,
            eos: vocabulary.eos,
            table,
            specials,
            model,
            ends,
            tags,
        })
    }

    /// The tokens of a text, without BOS.
    ///
    /// # Panics
    /// If the text has 4 GiB or more.
    pub fn encode(&self, text: &str, specials: Specials) -> Vec<TokenId> {
        match specials {
            Specials::Parse => self.encode_around(text, &[]),
            Specials::AsText => self.encode_around(text, std::slice::from_ref(&(0..text.len()))),
        }
    }

    /// The tokens of a text in which control tokens are recognised except in some stretches, given
    /// in order and without overlap. The text is one: what stands in a stretch merges with what
    /// stands around it.
    ///
    /// # Panics
    /// If the text has 4 GiB or more.
    pub fn encode_around(&self, text: &str, plain: &[Range<usize>]) -> Vec<TokenId> {
        assert!(
            u32::try_from(text.len()).is_ok(),
            "a text of {} bytes",
            text.len()
        );
        let mut out = Vec::with_capacity(text.len() / 3);
        let mut merger = Merger::default();
        let mut at = 0;
        while let Some((found, id)) = self.specials.next(text, at, plain) {
            self.encode_text(text, at..found.start, &mut merger, &mut out);
            out.push(id);
            at = found.end;
        }
        self.encode_text(text, at..text.len(), &mut merger, &mut out);
        out
    }

    fn encode_text(
        &self,
        text: &str,
        range: Range<usize>,
        merger: &mut Merger,
        out: &mut Vec<TokenId>,
    ) {
        if range.is_empty() {
            return;
        }
        // What stands between two special tokens is a text of its own.
        let first = range.start == 0;
        let text = &text[range];
        match &self.model {
            Model::SentencePiece(model) => {
                model.encode(&self.table, (text, first), merger, out);
            }
            Model::ByteBpe(model) => model.encode(&self.table, text, merger, out),
            Model::WordPiece(model) => model.encode(&self.table, text, out),
        }
    }

    /// The text of tokens, without that of control tokens but for the tags of reasoning and calls;
    /// bytes that are not UTF-8 become U+FFFD. The space that encoding put before the text is taken
    /// away.
    ///
    /// # Panics
    /// If an id is not below [`Tokenizer::vocabulary_len`].
    pub fn decode(&self, ids: &[TokenId]) -> String {
        let mut stream = TextStream::at_start();
        let mut text: String = ids.iter().map(|&id| stream.push(self, id)).collect();
        text.push_str(&stream.finish());
        text
    }

    /// The bytes that a token adds to a text: none for control tokens, but for the tags of reasoning
    /// and calls, without which a text does not say what it is.
    ///
    /// # Panics
    /// If the id is not below [`Tokenizer::vocabulary_len`].
    pub fn token_bytes(&self, id: TokenId) -> &[u8] {
        match self.table.kind(id) {
            TokenKind::Control if self.tags.binary_search(&id).is_err() => &[],
            TokenKind::Unknown => &[],
            _ => self.table.bytes(id),
        }
    }

    /// A token for people to read: its text, or a control token's name.
    ///
    /// # Panics
    /// If the id is not below [`Tokenizer::vocabulary_len`].
    pub fn token_text(&self, id: TokenId) -> Cow<'_, str> {
        String::from_utf8_lossy(self.table.bytes(id))
    }

    /// What a token stands for. Tokens that are known to end a turn are control tokens, whatever
    /// the vocabulary says.
    ///
    /// # Panics
    /// If the id is not below [`Tokenizer::vocabulary_len`].
    pub fn kind(&self, id: TokenId) -> TokenKind {
        self.table.kind(id)
    }

    /// The number of tokens.
    pub fn vocabulary_len(&self) -> usize {
        self.table.len()
    }

    /// The tokens that a plain prompt begins with, for vocabularies that ask for some. What a chat
    /// template renders has them already.
    pub fn prefix(&self) -> &[TokenId] {
        &self.prefix
    }

    /// The tokens that follow a text which a model reads as a whole.
    pub fn suffix(&self) -> &[TokenId] {
        &self.suffix
    }

    /// Whether generation ends with this token.
    pub fn is_end(&self, id: TokenId) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// The tokens that end generation, in ascending order.
    pub fn end_ids(&self) -> &[TokenId] {
        &self.ends
    }

    /// The texts of the tokens that begin and end a text, empty where there is none.
    pub(crate) fn bos_and_eos(&self) -> [String; 2] {
        [self.bos, self.eos]
            .map(|id| id.map_or_else(String::new, |id| self.token_text(id).into_owned()))
    }

    pub(crate) fn adds_space(&self) -> bool {
        self.adds_space
    }

    /// A control token's text; `None` for what is no control token.
    pub(crate) fn control_text(&self, id: TokenId) -> Option<Cow<'_, str>> {
        let exists = (id as usize) < self.table.len();
        let hidden = |kind| matches!(kind, TokenKind::Control | TokenKind::Unknown);
        (exists && hidden(self.kind(id))).then(|| self.token_text(id))
    }

    /// The first text of a control token at or behind `from`, where a text from outside has one.
    pub(crate) fn next_control(&self, text: &str, from: usize) -> Option<(Range<usize>, TokenId)> {
        self.specials.next_control(text, from)
    }
}

/// Checks what a file may get wrong.
fn check(vocabulary: &Vocabulary) -> Result<(), TokenError> {
    let len = vocabulary.tokens.len();
    // The greatest id says that there is no token.
    let limit = TokenId::MAX as usize;
    if len == 0 || len > limit {
        return Err(TokenError::VocabularySize { given: len, limit });
    }
    let scores = match &vocabulary.merges {
        MergeOrder::Scores(scores) => scores.len(),
        MergeOrder::Pairs(_) => len,
    };
    let lists = [("scores", scores), ("kinds", vocabulary.kinds.len())];
    for (field, given) in lists {
        if given != len {
            return Err(TokenError::UnevenVocabulary {
                field,
                given,
                wanted: len,
            });
        }
    }
    let named = [
        ("bos", vocabulary.bos),
        ("eos", vocabulary.eos),
        ("eot", vocabulary.eot),
        ("unk", vocabulary.unk),
    ];
    let prefix = vocabulary.prefix.iter().map(|&id| ("prefix", Some(id)));
    let suffix = vocabulary.suffix.iter().map(|&id| ("suffix", Some(id)));
    let ends = vocabulary
        .extra_ends
        .iter()
        .map(|&id| ("extra_ends", Some(id)));
    for (field, id) in named.into_iter().chain(prefix).chain(suffix).chain(ends) {
        if let Some(id) = id.filter(|&id| id as usize >= len) {
            return Err(TokenError::NoSuchToken {
                field,
                id,
                vocabulary_len: len,
            });
        }
    }
    Ok(())
}
