//! Reads the vocabularies that `tools/reference/tokenizer_golden.py` writes.

use autoglm_token::{TokenId, TokenKind, Vocabulary, VocabularyModel};
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
        Self {
            model: VocabularyModel::from_gguf(&stored.model).expect("llama or gpt2"),
            pre: stored.pre,
            scores: stored.tokens.iter().map(|t| t.1).collect(),
            kinds: stored.tokens.iter().map(|t| kind(t.2)).collect(),
            tokens: stored.tokens.into_iter().map(|t| t.0).collect(),
            merges: stored.merges,
            add_space_prefix: stored.add_space_prefix,
            add_bos: stored.add_bos,
            bos: stored.bos,
            eos: stored.eos,
            eot: stored.eot,
            unk: stored.unk,
            extra_ends: Vec::new(),
        }
    }
}
