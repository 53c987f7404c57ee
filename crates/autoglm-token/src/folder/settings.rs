//! The small files of a folder: special tokens, what ends a text, the chat template, and how many
//! rows the model has.

use serde_json::Value;

use super::TokenizerFiles;
use super::fast::{add, check_len};
use super::fast_model::AddedToken;
use crate::{TokenError, TokenId, TokenKind, Vocabulary, VocabularyModel};

const CONFIG: &str = "tokenizer_config.json";

/// Special tokens that the code of `ChatGLMTokenizer` puts behind its pieces, in their order;
/// `ChatGLM2` has the first five.
const CHATGLM: &[&str] = &[
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "sop",
    "eop",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
];

/// The same of `ChatGLM4Tokenizer`, whose files state them too.
const CHATGLM4: &[&str] = &[
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
];

/// The names of special tokens that have a place in a vocabulary.
const NAMES: [&str; 6] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "pad_token",
    "cls_token",
    "sep_token",
];

/// The small files.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) chat_template: Option<String>,
    tokenizer_config: Value,
    special_tokens_map: Value,
    added_tokens: Value,
    generation_config: Value,
    config: Value,
    has_fast_file: bool,
}

impl Settings {
    /// # Errors
    /// [`TokenError::FolderJson`], or [`TokenError::Unsupported`] for a template that is no UTF-8.
    pub(super) fn read(files: &TokenizerFiles) -> Result<Self, TokenError> {
        let tokenizer_config = json(files.tokenizer_config_json.as_deref(), CONFIG)?;
        let map = files.special_tokens_map_json.as_deref();
        let generation = files.generation_config_json.as_deref();
        Ok(Self {
            chat_template: chat_template(files, &tokenizer_config)?,
            tokenizer_config,
            special_tokens_map: json(map, "special_tokens_map.json")?,
            added_tokens: json(files.added_tokens_json.as_deref(), "added_tokens.json")?,
            generation_config: json(generation, "generation_config.json")?,
            config: json(files.config_json.as_deref(), "config.json")?,
            has_fast_file: files.tokenizer_json.is_some(),
        })
    }

    /// Adds to a vocabulary what the small files say of it.
    ///
    /// # Errors
    /// [`TokenError`] for an added token that cannot be.
    pub(super) fn apply(&self, vocabulary: &mut Vocabulary) -> Result<(), TokenError> {
        if !self.has_fast_file {
            self.add_class_tokens(vocabulary);
        }
        self.add_tokens(vocabulary)?;
        self.mark_specials(vocabulary);
        self.name_tokens(vocabulary);
        // A fast file and BERT's own code say what stands around a text.
        if !self.has_fast_file && vocabulary.model != VocabularyModel::WordPiece {
            self.set_prefix(vocabulary);
        }
        for config in [&self.generation_config, &self.config] {
            vocabulary.extra_ends.extend(ids(&config["eos_token_id"]));
        }
        if let Some(rows) = self.rows() {
            check_len(rows)?;
            vocabulary.fit_to(rows);
        }
        Ok(())
    }

    /// `tokenizer_config.json`.
    pub(super) fn tokenizer_config(&self) -> &Value {
        &self.tokenizer_config
    }

    fn class(&self) -> &str {
        self.tokenizer_config["tokenizer_class"]
            .as_str()
            .unwrap_or_default()
    }

    /// Special tokens that a tokenizer's own code adds.
    fn add_class_tokens(&self, vocabulary: &mut Vocabulary) {
        let texts = match self.class() {
            "ChatGLMTokenizer" if self.is_chatglm2() => &CHATGLM[..5],
            "ChatGLMTokenizer" => CHATGLM,
            "ChatGLM4Tokenizer" => CHATGLM4,
            _ => return,
        };
        for &text in texts {
            vocabulary.push(text.to_owned(), TokenKind::Control);
        }
    }

    /// `ChatGLM2` and `ChatGLM3` have one class; only the name tells them apart.
    fn is_chatglm2(&self) -> bool {
        let names = [
            &self.tokenizer_config["name_or_path"],
            &self.config["_name_or_path"],
        ];
        let is = |name: &&Value| name.as_str().is_some_and(|name| name.contains("chatglm2"));
        names.iter().any(is)
    }

    fn add_tokens(&self, vocabulary: &mut Vocabulary) -> Result<(), TokenError> {
        let decoder = self.tokenizer_config["added_tokens_decoder"].as_object();
        for (id, value) in decoder.into_iter().flatten() {
            let broken = |source| TokenError::FolderJson {
                file: CONFIG,
                source,
            };
            let mut token: AddedToken = serde_json::from_value(value.clone()).map_err(broken)?;
            token.id = serde_json::from_str(id).map_err(broken)?;
            add_missing(vocabulary, token, CONFIG)?;
        }
        for (text, id) in self.added_tokens.as_object().into_iter().flatten() {
            let token = AddedToken {
                id: id.as_u64().map_or(TokenId::MAX, |id| id as TokenId),
                content: text.clone(),
                special: false,
                single_word: false,
                lstrip: false,
                rstrip: false,
            };
            add_missing(vocabulary, token, "added_tokens.json")?;
        }
        Ok(())
    }

    /// Makes control tokens of those pieces that are called special.
    fn mark_specials(&self, vocabulary: &mut Vocabulary) {
        let named = NAMES.iter().filter_map(|name| self.named(name));
        let key = "additional_special_tokens";
        let lists = [&self.tokenizer_config[key], &self.special_tokens_map[key]];
        let listed = lists.into_iter().filter_map(Value::as_array).flatten();
        let texts: Vec<&str> = named.chain(listed.filter_map(token_text)).collect();
        for (kind, text) in vocabulary.kinds.iter_mut().zip(&vocabulary.tokens) {
            if *kind == TokenKind::Normal && texts.contains(&text.as_str()) {
                *kind = TokenKind::Control;
            }
        }
    }

    /// The text of a special token.
    fn named(&self, name: &str) -> Option<&str> {
        token_text(&self.tokenizer_config[name])
            .or_else(|| token_text(&self.special_tokens_map[name]))
    }

    fn name_tokens(&self, vocabulary: &mut Vocabulary) {
        let find = |name| vocabulary.find(self.named(name)?);
        let stated = |name: &str| {
            let configs = [&self.generation_config, &self.config];
            configs.iter().find_map(|config| ids(&config[name]).next())
        };
        let bos = find("bos_token").or_else(|| stated("bos_token_id"));
        let eos = find("eos_token").or_else(|| stated("eos_token_id"));
        vocabulary.unk = vocabulary.unk.or_else(|| find("unk_token"));
        vocabulary.bos = bos.or(vocabulary.bos);
        vocabulary.eos = eos.or(vocabulary.eos);
    }

    /// What a tokenizer's own code puts before a text; a fast file states it.
    fn set_prefix(&self, vocabulary: &mut Vocabulary) {
        let texts: &[&str] = match self.class() {
            "ChatGLMTokenizer" => &["[gMASK]", "sop"],
            "ChatGLM4Tokenizer" => &["[gMASK]", "<sop>"],
            _ => &[],
        };
        vocabulary.prefix = texts
            .iter()
            .filter_map(|text| vocabulary.find(text))
            .collect();
        let adds_bos = self.tokenizer_config["add_bos_token"].as_bool();
        if texts.is_empty() && adds_bos.unwrap_or(true) {
            vocabulary.prefix.extend(vocabulary.bos);
        }
    }

    /// The rows of the model's embedding.
    fn rows(&self) -> Option<usize> {
        let config = &self.config;
        let places = [
            &config["vocab_size"],
            &config["padded_vocab_size"],
            &config["text_config"]["vocab_size"],
        ];
        let rows = places.into_iter().find_map(Value::as_u64);
        rows.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX))
    }
}

fn add_missing(
    vocabulary: &mut Vocabulary,
    token: AddedToken,
    file: &'static str,
) -> Result<(), TokenError> {
    let id = token.id as usize;
    let is_there = vocabulary.tokens.get(id) == Some(&token.content)
        && !matches!(vocabulary.kinds[id], TokenKind::Normal | TokenKind::Unused);
    if is_there {
        return Ok(());
    }
    add(vocabulary, token, file)
}

/// The JSON of a file; null where there is none.
fn json(contents: Option<&[u8]>, file: &'static str) -> Result<Value, TokenError> {
    match contents {
        Some(contents) => serde_json::from_slice(contents)
            .map_err(|source| TokenError::FolderJson { file, source }),
        None => Ok(Value::Null),
    }
}

/// A special token's text: a string, or an object that has it.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// One id or several.
fn ids(value: &Value) -> impl Iterator<Item = TokenId> {
    let several = value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice);
    several
        .iter()
        .filter_map(|id| TokenId::try_from(id.as_u64()?).ok())
}

/// The chat template: a file of its own, or a string of the settings, or of a list of named ones
/// that for plain conversations.
fn chat_template(files: &TokenizerFiles, config: &Value) -> Result<Option<String>, TokenError> {
    if let Some(bytes) = &files.chat_template_jinja {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            super::unsupported(
                "chat_template.jinja",
                "the template",
                error.to_string(),
                "UTF-8",
            )
        })?;
        return Ok(Some(text.to_owned()));
    }
    let template = &config["chat_template"];
    let named = template.as_array().into_iter().flatten();
    let default = named
        .filter(|entry| entry["name"] == "default")
        .find_map(|entry| entry["template"].as_str());
    Ok(template.as_str().or(default).map(str::to_owned))
}
