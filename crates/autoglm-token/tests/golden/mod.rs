//! Reads the vocabularies that `tools/reference/tokenizer_golden.py` writes.

use autoglm_token::{MergeOrder, SpacePrefix, TokenId, TokenKind, Vocabulary, VocabularyModel};
use serde::Deserialize;

/// A vocabulary as the script writes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StoredVocabulary {
    model: String,
    #[serde(default)]
    pre: String,
    merges: Vec<String>,
    add_space_prefix: bool,
    add_bos: bool,
    bos: Option<TokenId>,
    eos: Option<TokenId>,
    eot: Option<TokenId>,
    unk: Option<TokenId>,
    tokens: Vec<(String, f32, i32)>,
}

impl From<StoredVocabulary> for Vocabulary {
    fn from(stored: StoredVocabulary) -> Self {
        let kind = |number| TokenKind::from_gguf(number).expect("a kind of GGUF");
        let scores = stored.tokens.iter().map(|t| t.1).collect();
        let kinds = stored.tokens.iter().map(|t| kind(t.2)).collect();
        let model = VocabularyModel::from_gguf(&stored.model).expect("a model of GGUF");
        let texts = stored.tokens.into_iter().map(|t| t.0).collect();
        let mut vocabulary = Self::new(model, texts);
        vocabulary.words = stored.pre.as_str().into();
        vocabulary.kinds = kinds;
        vocabulary.merges = match model {
            VocabularyModel::SentencePiece => MergeOrder::Scores(scores),
            VocabularyModel::ByteBpe | VocabularyModel::WordPiece => {
                MergeOrder::Pairs(stored.merges)
            }
        };
        vocabulary.space_prefix = if stored.add_space_prefix {
            SpacePrefix::Always
        } else {
            SpacePrefix::Never
        };
        vocabulary.prefix = stored.bos.filter(|_| stored.add_bos).into_iter().collect();
        vocabulary.bos = stored.bos;
        vocabulary.eos = stored.eos;
        vocabulary.eot = stored.eot;
        vocabulary.unk = stored.unk;
        vocabulary
    }
}
