//! `tokenizer.json`, the tokenizers of the `tokenizers` package: byte-pair encoding over bytes or
//! over characters, and WordPiece.

use super::fast_model::{AddedToken, FastFile, FastModel, Probe};
use super::steps::{self, Normalised};
use super::{TOKENS_LIMIT, unsupported, word_piece};
use crate::{MergeOrder, TokenError, TokenId, TokenKind, Vocabulary, VocabularyModel};

pub(super) const FILE: &str = "tokenizer.json";

/// Reads the file.
///
/// # Errors
/// [`TokenError::FolderJson`] or [`TokenError::Unsupported`].
pub(super) fn read(json: &[u8]) -> Result<Vocabulary, TokenError> {
    let broken = |source| TokenError::FolderJson { file: FILE, source };
    let probe: Probe = serde_json::from_slice(json).map_err(broken)?;
    match probe.model.r#type.as_deref() {
        None | Some("BPE") => {}
        Some("WordPiece") => return word_piece::read_fast(json),
        Some(kind) => return Err(unsupported(FILE, "model.type", kind, "BPE or WordPiece")),
    }
    let file: FastFile = serde_json::from_slice(json).map_err(broken)?;
    check_model(&file.model)?;
    if steps::has_byte_level(&file.pre_tokenizer) || steps::has_byte_level(&file.decoder) {
        read_bytes(file)
    } else {
        read_characters(file)
    }
}

/// A vocabulary over bytes, as GLM-4, Qwen and Llama 3 have.
fn read_bytes(file: FastFile) -> Result<Vocabulary, TokenError> {
    let composes = steps::composes(&file.normalizer)?;
    let patterns = steps::word_patterns(&file.pre_tokenizer)?;
    steps::check_byte_decoder(&file.decoder)?;
    let whole_words = file.model.ignore_merges.unwrap_or(false);
    let mut vocabulary = read_tokens(file.model, file.added_tokens, VocabularyModel::ByteBpe)?;
    vocabulary.words = crate::Words::Patterns {
        patterns,
        whole_words,
    };
    vocabulary.composes = composes;
    vocabulary.prefix = steps::template_prefix(&file.post_processor)?;
    Ok(vocabulary)
}

/// A vocabulary over characters with tokens for bytes, as Llama 2 and Gemma have.
fn read_characters(file: FastFile) -> Result<Vocabulary, TokenError> {
    if file.model.byte_fallback != Some(true) {
        let found = "false".to_owned();
        let wanted = "true, or a ByteLevel pre-tokeniser";
        return Err(unsupported(FILE, "model.byte_fallback", found, wanted));
    }
    if file.model.ignore_merges == Some(true) {
        return Err(unsupported(FILE, "model.ignore_merges", "true", "false"));
    }
    let normalised = Normalised::read(&file.normalizer)?;
    let space_prefix = steps::space_prefix(normalised, &file.pre_tokenizer)?;
    steps::check_character_decoder(&file.decoder)?;
    let model = VocabularyModel::SentencePiece;
    let mut vocabulary = read_tokens(file.model, file.added_tokens, model)?;
    for (kind, text) in vocabulary.kinds.iter_mut().zip(&vocabulary.tokens) {
        if *kind == TokenKind::Normal && is_byte_token(text) {
            *kind = TokenKind::Byte;
        }
    }
    vocabulary.space_prefix = space_prefix;
    vocabulary.prefix = steps::template_prefix(&file.post_processor)?;
    Ok(vocabulary)
}

fn is_byte_token(text: &str) -> bool {
    text.len() == 6
        && text
            .strip_prefix("<0x")
            .and_then(|rest| rest.strip_suffix('>'))
            .is_some_and(|digits| u8::from_str_radix(digits, 16).is_ok())
}

fn check_model(model: &FastModel) -> Result<(), TokenError> {
    let affixes = [
        (
            "model.continuing_subword_prefix",
            &model.continuing_subword_prefix,
        ),
        ("model.end_of_word_suffix", &model.end_of_word_suffix),
    ];
    for (component, affix) in affixes {
        if let Some(affix) = affix.as_deref().filter(|affix| !affix.is_empty()) {
            return Err(unsupported(FILE, component, format!("{affix:?}"), "none"));
        }
    }
    match model.dropout {
        Some(dropout) if dropout != 0.0 => Err(unsupported(
            FILE,
            "model.dropout",
            dropout.to_string(),
            "none",
        )),
        _ => Ok(()),
    }
}

fn read_tokens(
    file: FastModel,
    added: Vec<AddedToken>,
    model: VocabularyModel,
) -> Result<Vocabulary, TokenError> {
    let greatest = file
        .vocab
        .values()
        .chain(added.iter().map(|token| &token.id));
    let len = greatest.max().map_or(0, |&id| id as usize + 1);
    check_len(len)?;
    // What no entry names stays a token without text.
    let mut vocabulary = Vocabulary::new(model, vec![String::new(); len]);
    vocabulary.kinds.fill(TokenKind::Unused);
    for (text, id) in file.vocab {
        vocabulary.tokens[id as usize] = text;
        vocabulary.kinds[id as usize] = TokenKind::Normal;
    }
    vocabulary.merges = MergeOrder::Pairs(file.merges.into_iter().map(|pair| pair.0).collect());
    for token in added {
        add(&mut vocabulary, token, FILE)?;
    }
    if let Some(unk) = file.unk_token {
        vocabulary.unk = Some(find(&vocabulary, &unk, "model.unk_token")?);
    }
    if let (Some(unk), VocabularyModel::SentencePiece) = (vocabulary.unk, model) {
        vocabulary.kinds[unk as usize] = TokenKind::Unknown;
    }
    Ok(vocabulary)
}

/// # Errors
/// [`TokenError::VocabularySize`].
pub(super) fn check_len(len: usize) -> Result<(), TokenError> {
    if len > TOKENS_LIMIT {
        return Err(TokenError::VocabularySize {
            given: len,
            limit: TOKENS_LIMIT,
        });
    }
    Ok(())
}

/// Puts an added token where its id says.
///
/// # Errors
/// [`TokenError::Unsupported`] if it is to be found otherwise than by its text alone.
pub(super) fn add(
    vocabulary: &mut Vocabulary,
    token: AddedToken,
    file: &'static str,
) -> Result<(), TokenError> {
    let options = [
        ("single_word", token.single_word),
        ("lstrip", token.lstrip),
        ("rstrip", token.rstrip),
    ];
    if let Some((option, _)) = options.into_iter().find(|&(_, is_set)| is_set) {
        let component = format!("{option} of the added token {:?}", token.content);
        return Err(unsupported(file, component, "true", "false"));
    }
    let id = token.id as usize;
    check_len(id + 1)?;
    vocabulary.pad_to(id + 1);
    vocabulary.tokens[id] = token.content;
    vocabulary.kinds[id] = if token.special {
        TokenKind::Control
    } else {
        TokenKind::UserDefined
    };
    Ok(())
}

fn find(
    vocabulary: &Vocabulary,
    text: &str,
    component: &'static str,
) -> Result<TokenId, TokenError> {
    vocabulary.find(text).ok_or_else(|| {
        let found = format!("{text:?}");
        unsupported(FILE, component, found, "a token of the vocabulary")
    })
}
