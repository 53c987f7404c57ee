//! The vocabulary and the chat template that a file carries in its metadata.

use autoglm_token::{MergeOrder, SpacePrefix, TokenId, TokenKind, Vocabulary, VocabularyModel};

use super::{GgufFile, printable, wrong_value};
use crate::ModelError;

/// The tokens that a plain prompt begins with, where GGUF's own keys cannot say them: a key of ours.
pub(super) const PREFIX_KEY: &str = "autoglm.tokenizer.prefix";
/// Whether characters are composed before text is cut: a key of ours.
pub(super) const COMPOSES_KEY: &str = "autoglm.tokenizer.composes";

impl GgufFile {
    /// The file's vocabulary. Lists that describe tokens have one entry a token, and every id
    /// lies within the vocabulary.
    ///
    /// # Errors
    /// When the tokenizer is of a kind that is not supported, a key is missing or has another
    /// type, lengths disagree, or an id lies outside.
    pub fn vocabulary(&self) -> Result<Vocabulary, ModelError> {
        let model = self.vocabulary_model()?;
        let tokens = self.token_texts()?;
        let len = tokens.len();
        let mut vocabulary = Vocabulary::new(model, tokens);
        vocabulary.merges = match model {
            VocabularyModel::SentencePiece => MergeOrder::Scores(self.scores(len)?),
            VocabularyModel::ByteBpe => MergeOrder::Pairs(self.merges()?),
        };
        if let Some(kinds) = self.kinds(len)? {
            vocabulary.kinds = kinds;
        }
        self.read_special_ids(&mut vocabulary)?;
        self.read_beginnings(&mut vocabulary)?;
        Ok(vocabulary)
    }

    /// The Jinja source of the file's chat template, where it has one.
    ///
    /// # Errors
    /// When the value is not a UTF-8 string.
    pub fn chat_template(&self) -> Result<Option<&str>, ModelError> {
        self.get("tokenizer.chat_template")
    }

    fn vocabulary_model(&self) -> Result<VocabularyModel, ModelError> {
        let name: &str = self.require("tokenizer.ggml.model")?;
        VocabularyModel::from_gguf(name).ok_or_else(|| ModelError::TokenizerModel {
            found: printable(name),
        })
    }

    fn token_texts(&self) -> Result<Vec<String>, ModelError> {
        let texts = self.require_array::<&str>("tokenizer.ggml.tokens")?;
        if texts.is_empty() || TokenId::try_from(texts.len()).is_err() {
            let found = format!("{} tokens", texts.len());
            return Err(wrong_value(
                "tokenizer.ggml.tokens",
                found,
                "1 to 4294967295",
            ));
        }
        Ok(texts.into_iter().map(str::to_owned).collect())
    }

    fn scores(&self, wanted: usize) -> Result<Vec<f32>, ModelError> {
        const KEY: &str = "tokenizer.ggml.scores";
        let scores = self.require_array::<f32>(KEY)?;
        check_length(KEY, scores.len(), wanted)?;
        Ok(scores)
    }

    fn merges(&self) -> Result<Vec<String>, ModelError> {
        let merges = self.require_array::<&str>("tokenizer.ggml.merges")?;
        Ok(merges.into_iter().map(str::to_owned).collect())
    }

    fn kinds(&self, wanted: usize) -> Result<Option<Vec<TokenKind>>, ModelError> {
        const KEY: &str = "tokenizer.ggml.token_type";
        let Some(numbers) = self.get_array::<i32>(KEY)? else {
            return Ok(None);
        };
        check_length(KEY, numbers.len(), wanted)?;
        let kind = |(i, &number): (usize, &i32)| {
            TokenKind::from_gguf(number)
                .ok_or_else(|| wrong_value(KEY, format!("{number} at index {i}"), "1 to 6"))
        };
        let kinds: Result<_, _> = numbers.iter().enumerate().map(kind).collect();
        kinds.map(Some)
    }

    /// How texts begin, which the model and the pre-tokeniser decide where no key does.
    fn read_beginnings(&self, vocabulary: &mut Vocabulary) -> Result<(), ModelError> {
        if let Some(adds) = self.get("tokenizer.ggml.add_space_prefix")? {
            vocabulary.space_prefix = if adds {
                SpacePrefix::Always
            } else {
                SpacePrefix::Never
            };
        }
        let pre = self.get::<&str>("tokenizer.ggml.pre")?;
        if let Some(pre) = pre {
            vocabulary.words = pre.into();
        }
        let adds_bos = self.get("tokenizer.ggml.add_bos_token")?;
        if adds_bos.unwrap_or(vocabulary.model == VocabularyModel::SentencePiece) {
            vocabulary.prefix.extend(vocabulary.bos);
        }
        if pre == Some("chatglm-spm") {
            let texts = ["[gMASK]", "sop"];
            vocabulary.prefix = texts.iter().filter_map(|t| vocabulary.find(t)).collect();
        }
        if let Some(prefix) = self.get_array::<u32>(PREFIX_KEY)? {
            let ids = prefix.into_iter();
            let checked = ids.map(|id| check_id(PREFIX_KEY, id, vocabulary.tokens.len()));
            vocabulary.prefix = checked.collect::<Result<_, _>>()?;
        }
        vocabulary.composes = self.get(COMPOSES_KEY)?.unwrap_or(false);
        Ok(())
    }

    fn read_special_ids(&self, vocabulary: &mut Vocabulary) -> Result<(), ModelError> {
        let len = vocabulary.tokens.len();
        vocabulary.bos = self.token_id("tokenizer.ggml.bos_token_id", len)?;
        vocabulary.eos = self.token_id("tokenizer.ggml.eos_token_id", len)?;
        vocabulary.eot = self.token_id("tokenizer.ggml.eot_token_id", len)?;
        vocabulary.unk = self.token_id("tokenizer.ggml.unknown_token_id", len)?;
        vocabulary
            .extra_ends
            .extend(self.token_id("tokenizer.ggml.eom_token_id", len)?);
        Ok(())
    }

    fn token_id(
        &self,
        key: &'static str,
        vocabulary_len: usize,
    ) -> Result<Option<TokenId>, ModelError> {
        let id = self.get::<u32>(key)?;
        id.map(|id| check_id(key, id, vocabulary_len)).transpose()
    }
}

fn check_id(key: &'static str, id: u32, vocabulary_len: usize) -> Result<TokenId, ModelError> {
    if id as usize >= vocabulary_len {
        return Err(ModelError::TokenId {
            key,
            id,
            vocabulary_len,
        });
    }
    Ok(id)
}

fn check_length(key: &'static str, found: usize, wanted: usize) -> Result<(), ModelError> {
    if found == wanted {
        Ok(())
    } else {
        Err(ModelError::VocabularyLength { key, found, wanted })
    }
}
