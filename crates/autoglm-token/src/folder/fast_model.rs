//! `tokenizer.json` as it is written: the parts that have a fixed form.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::Value;

use crate::TokenId;

/// The whole file. Steps differ in form from file to file and are read by `steps`.
#[derive(Debug, Deserialize)]
pub(super) struct FastFile {
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub(super) normalizer: Value,
    #[serde(default)]
    pub(super) pre_tokenizer: Value,
    #[serde(default)]
    pub(super) post_processor: Value,
    #[serde(default)]
    pub(super) decoder: Value,
    pub(super) model: FastModel,
}

/// Enough of the file to know its kind of model.
#[derive(Debug, Deserialize)]
pub(super) struct Probe {
    pub(super) model: ProbeModel,
}

/// The kind of a model; old files leave it out.
#[derive(Debug, Deserialize)]
pub(super) struct ProbeModel {
    pub(super) r#type: Option<String>,
}

/// A model of byte-pair encoding.
#[derive(Debug, Deserialize)]
pub(super) struct FastModel {
    pub(super) vocab: BTreeMap<String, TokenId>,
    pub(super) merges: Vec<Pair>,
    #[serde(default)]
    pub(super) unk_token: Option<String>,
    #[serde(default)]
    pub(super) byte_fallback: Option<bool>,
    #[serde(default)]
    pub(super) ignore_merges: Option<bool>,
    #[serde(default)]
    pub(super) dropout: Option<f64>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(super) end_of_word_suffix: Option<String>,
}

/// A token that is found before anything is merged.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the form of the file")]
pub(super) struct AddedToken {
    /// Stated in `tokenizer.json`; elsewhere the key of an object.
    #[serde(default)]
    pub(super) id: TokenId,
    pub(super) content: String,
    #[serde(default)]
    pub(super) special: bool,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
}

/// Two tokens that merge, as one text with a space between them.
#[derive(Debug)]
pub(super) struct Pair(pub(super) String);

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PairVisitor)
    }
}

/// Takes both forms that files write: `"left right"` and `["left", "right"]`.
struct PairVisitor;

impl<'de> Visitor<'de> for PairVisitor {
    type Value = Pair;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a merge as one text or as a list of two")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Pair, E> {
        Ok(Pair(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pair, A::Error> {
        let mut next = || list.next_element::<String>();
        match (next()?, next()?, next()?) {
            (Some(left), Some(right), None) => Ok(Pair(format!("{left} {right}"))),
            _ => Err(A::Error::invalid_length(0, &self)),
        }
    }
}
