//! The tokenizer of a folder of safetensors: which files hold it, and what each adds.
//!
//! `tokenizer.json` is complete; without it `tokenizer.model` holds the pieces, in one of two
//! formats, or `vocab.txt` those of WordPiece. The small files beside them name special tokens, what ends a text, and the template.

mod fast;
mod fast_model;
mod ranks;
mod settings;
mod steps;
mod wire;
mod word_piece;

use crate::{TokenError, Vocabulary};

/// The most tokens that a vocabulary of a folder may have: sixteen times the largest known.
const TOKENS_LIMIT: usize = 1 << 22;

/// The contents of a folder's files, where it has them. They come from outside; nothing is
/// trusted. The names of the files are those of the fields, with a dot for the last underscore.
#[derive(Debug, Clone, Default)]
pub struct TokenizerFiles {
    /// A tokenizer of the `tokenizers` package.
    pub tokenizer_json: Option<Vec<u8>>,
    /// A model of SentencePiece, or ranks of `tiktoken`.
    pub tokenizer_model: Option<Vec<u8>>,
    /// The tokens of WordPiece.
    pub vocab_txt: Option<Vec<u8>>,
    /// Special tokens, the chat template, the tokenizer's class.
    pub tokenizer_config_json: Option<Vec<u8>>,
    /// Special tokens, as older folders have them.
    pub special_tokens_map_json: Option<Vec<u8>>,
    /// Tokens that were added to `tokenizer.model`.
    pub added_tokens_json: Option<Vec<u8>>,
    /// What ends a text.
    pub generation_config_json: Option<Vec<u8>>,
    /// What ends a text, and how many rows the model has.
    pub config_json: Option<Vec<u8>>,
    /// The chat template; it goes before the one in `tokenizer_config.json`.
    pub chat_template_jinja: Option<Vec<u8>>,
}

impl TokenizerFiles {
    /// Every file that is looked at, in the order of the fields.
    pub const NAMES: [&'static str; 9] = [
        "tokenizer.json",
        "tokenizer.model",
        "vocab.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "generation_config.json",
        "config.json",
        "chat_template.jinja",
    ];

    /// Takes the files that `read` gives for [`TokenizerFiles::NAMES`].
    ///
    /// # Errors
    /// The first that `read` gives.
    pub fn collect<E>(
        mut read: impl FnMut(&'static str) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        Ok(Self {
            tokenizer_json: read("tokenizer.json")?,
            tokenizer_model: read("tokenizer.model")?,
            vocab_txt: read("vocab.txt")?,
            tokenizer_config_json: read("tokenizer_config.json")?,
            special_tokens_map_json: read("special_tokens_map.json")?,
            added_tokens_json: read("added_tokens.json")?,
            generation_config_json: read("generation_config.json")?,
            config_json: read("config.json")?,
            chat_template_jinja: read("chat_template.jinja")?,
        })
    }
}

/// What a folder says about text.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderTokenizer {
    /// The tokens, as many as the model has rows where `config.json` says how many.
    pub vocabulary: Vocabulary,
    /// The Jinja source of the chat template, where there is one.
    pub chat_template: Option<String>,
}

impl FolderTokenizer {
    /// Reads a folder's tokenizer.
    ///
    /// # Errors
    /// [`TokenError`] when a file is broken or has a component that we cannot do; the error names
    /// it.
    pub fn read(files: &TokenizerFiles) -> Result<Self, TokenError> {
        let settings = settings::Settings::read(files)?;
        let mut vocabulary = match (&files.tokenizer_json, &files.tokenizer_model) {
            (Some(json), _) => fast::read(json)?,
            (None, Some(model)) if wire::is_sentence_piece(model) => wire::read(model)?,
            (None, Some(model)) => ranks::read(model)?,
            (None, None) => match &files.vocab_txt {
                Some(lines) => word_piece::read_lines(lines, settings.tokenizer_config())?,
                None => return Err(TokenError::NoTokenizerFile),
            },
        };
        settings.apply(&mut vocabulary)?;
        Ok(Self {
            vocabulary,
            chat_template: settings.chat_template,
        })
    }
}

/// A refusal of a component of a file.
fn unsupported(
    file: &'static str,
    component: impl Into<String>,
    found: impl Into<String>,
    wanted: &'static str,
) -> TokenError {
    TokenError::Unsupported {
        file,
        component: component.into(),
        found: found.into(),
        wanted,
    }
}

#[cfg(test)]
mod tests;
