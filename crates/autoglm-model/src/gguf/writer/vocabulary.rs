//! A vocabulary as metadata entries; the inverse of its reading.

use autoglm_token::{
    MergeOrder, SpacePrefix, TokenError, TokenKind, Vocabulary, VocabularyModel, Words,
};

use super::Entries;
use crate::gguf::vocabulary::{COMPOSES_KEY, PREFIX_KEY};

impl Entries {
    /// Adds a vocabulary.
    ///
    /// # Errors
    /// [`TokenError::NoGguf`] for what GGUF cannot express.
    pub(crate) fn vocabulary(&mut self, vocabulary: &Vocabulary) -> Result<(), TokenError> {
        let vocabulary = vocabulary.for_gguf()?;
        self.string("tokenizer.ggml.model", vocabulary.model.gguf_name());
        if let Words::Named(name) = &vocabulary.words {
            self.string("tokenizer.ggml.pre", name);
        }
        self.strings("tokenizer.ggml.tokens", &vocabulary.tokens);
        let kinds = vocabulary.kinds.iter().copied();
        self.i32s(
            "tokenizer.ggml.token_type",
            kinds.map(TokenKind::gguf_number),
        );
        match &vocabulary.merges {
            MergeOrder::Scores(scores) => self.f32s("tokenizer.ggml.scores", scores),
            MergeOrder::Pairs(pairs) => self.strings("tokenizer.ggml.merges", pairs),
        }
        if vocabulary.model == VocabularyModel::SentencePiece {
            let adds = vocabulary.space_prefix != SpacePrefix::Never;
            self.bool("tokenizer.ggml.add_space_prefix", adds);
        }
        self.special_ids(&vocabulary);
        self.beginnings(&vocabulary);
        Ok(())
    }

    fn special_ids(&mut self, vocabulary: &Vocabulary) {
        let named = [
            ("tokenizer.ggml.bos_token_id", vocabulary.bos),
            ("tokenizer.ggml.eos_token_id", vocabulary.eos),
            ("tokenizer.ggml.eot_token_id", vocabulary.eot),
            ("tokenizer.ggml.unknown_token_id", vocabulary.unk),
            (
                "tokenizer.ggml.eom_token_id",
                vocabulary.extra_ends.first().copied(),
            ),
        ];
        for (key, id) in named {
            if let Some(id) = id {
                self.u32(key, id);
            }
        }
    }

    /// What a plain prompt begins with, and whether characters are composed: GGUF has a key for one
    /// token at most and none for the other, so that those have keys of our own.
    fn beginnings(&mut self, vocabulary: &Vocabulary) {
        let begins_with_bos = vocabulary.bos.is_some_and(|bos| vocabulary.prefix == [bos]);
        self.bool("tokenizer.ggml.add_bos_token", begins_with_bos);
        if !(begins_with_bos || vocabulary.prefix.is_empty()) {
            self.u32s(PREFIX_KEY, &vocabulary.prefix);
        }
        if vocabulary.composes {
            self.bool(COMPOSES_KEY, true);
        }
    }
}
