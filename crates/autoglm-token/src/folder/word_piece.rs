//! WordPiece tokenizers: `tokenizer.json` with a model of that kind, or the older `vocab.txt`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::fast::{FILE, add, check_len};
use super::fast_model::AddedToken;
use super::{steps, unsupported};
use crate::table::SPACE_MARK;
use crate::{TokenError, TokenId, TokenKind, Vocabulary, VocabularyModel, WordRules};

const VOCAB: &str = "vocab.txt";
const CONFIG: &str = "tokenizer_config.json";

/// What stands before a token that continues a word.
const CONTINUATION: &str = "##";

/// The tokens that BERT's own code names where `tokenizer_config.json` does not.
const SPECIALS: [(&str, &str); 5] = [
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

/// `tokenizer.json`.
#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    model: Model,
}

#[derive(Debug, Deserialize)]
struct Model {
    vocab: BTreeMap<String, TokenId>,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
}

/// Reads `tokenizer.json` with a WordPiece model.
///
/// # Errors
/// [`TokenError::FolderJson`] or [`TokenError::Unsupported`].
pub(super) fn read_fast(json: &[u8]) -> Result<Vocabulary, TokenError> {
    let broken = |source| TokenError::FolderJson { file: FILE, source };
    let file: File = serde_json::from_slice(json).map_err(broken)?;
    let model = file.model;
    if model.continuing_subword_prefix != CONTINUATION {
        let component = "model.continuing_subword_prefix";
        let found = format!("{:?}", model.continuing_subword_prefix);
        return Err(unsupported(FILE, component, found, CONTINUATION));
    }
    let len = model.vocab.values().max().map_or(0, |&id| id as usize + 1);
    check_len(len)?;
    let mut vocabulary = Vocabulary::new(VocabularyModel::WordPiece, vec![String::new(); len]);
    vocabulary.kinds.fill(TokenKind::Unused);
    for (text, id) in model.vocab {
        vocabulary.tokens[id as usize] = marked(&text);
        vocabulary.kinds[id as usize] = TokenKind::Normal;
    }
    for token in file.added_tokens {
        add(&mut vocabulary, token, FILE)?;
    }
    vocabulary.unk = Some(find(
        &vocabulary,
        &model.unk_token,
        FILE,
        "model.unk_token",
    )?);
    vocabulary.word_rules = steps::word_rules(&file.normalizer, model.max_input_chars_per_word)?;
    steps::check_words(&file.pre_tokenizer)?;
    (vocabulary.prefix, vocabulary.suffix) = steps::frame(&file.post_processor)?;
    vocabulary.bos = vocabulary.prefix.first().copied();
    Ok(vocabulary)
}

/// Reads `vocab.txt`, a token a line, with the settings in `tokenizer_config.json`.
///
/// # Errors
/// [`TokenError::Unsupported`].
pub(super) fn read_lines(lines: &[u8], config: &Value) -> Result<Vocabulary, TokenError> {
    let text = std::str::from_utf8(lines)
        .map_err(|error| unsupported(VOCAB, "the text", error.to_string(), "UTF-8"))?;
    let tokens: Vec<String> = text.lines().map(marked).collect();
    check_len(tokens.len())?;
    let mut vocabulary = Vocabulary::new(VocabularyModel::WordPiece, tokens);
    let special = |name: &str, usual: &'static str| {
        let token = &config[name];
        let text = token.as_str().or_else(|| token["content"].as_str());
        text.unwrap_or(usual).to_owned()
    };
    for (name, usual) in SPECIALS {
        let text = special(name, usual);
        if let Some(id) = vocabulary.find(&marked(&text)) {
            vocabulary.tokens[id as usize] = text;
            vocabulary.kinds[id as usize] = TokenKind::Control;
        }
    }
    let named = |name| {
        let (_, usual) = SPECIALS.into_iter().find(|(known, _)| *known == name)?;
        vocabulary.find(&special(name, usual))
    };
    let required = |name: &'static str| {
        named(name).ok_or_else(|| unsupported(CONFIG, name, "no token", "one of vocab.txt"))
    };
    let (unk, cls, sep) = (
        required("unk_token")?,
        required("cls_token")?,
        required("sep_token")?,
    );
    (vocabulary.unk, vocabulary.prefix, vocabulary.suffix) = (Some(unk), vec![cls], vec![sep]);
    vocabulary.bos = Some(cls);
    let switch = |name: &str| config[name].as_bool();
    let lowercases = switch("do_lower_case").unwrap_or(true);
    vocabulary.word_rules = WordRules {
        lowercases,
        strips_accents: switch("strip_accents").unwrap_or(lowercases),
        splits_chinese: switch("tokenize_chinese_chars").unwrap_or(true),
        ..WordRules::default()
    };
    Ok(vocabulary)
}

/// A token as GGUF writes it: with a mark where it begins a word.
fn marked(text: &str) -> String {
    match text.strip_prefix(CONTINUATION) {
        Some(rest) => rest.to_owned(),
        None => format!("{SPACE_MARK}{text}"),
    }
}

fn find(
    vocabulary: &Vocabulary,
    text: &str,
    file: &'static str,
    component: &'static str,
) -> Result<TokenId, TokenError> {
    let id = vocabulary
        .find(text)
        .or_else(|| vocabulary.find(&marked(text)));
    id.ok_or_else(|| {
        let found = format!("{text:?}");
        unsupported(file, component, found, "a token of the vocabulary")
    })
}
