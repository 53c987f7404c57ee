//! The steps of `tokenizer.json` around its model: normalisers, pre-tokenisers, decoders and
//! post-processors. Each is taken if we do the same, and refused by name otherwise.

use serde_json::Value;

use super::fast::FILE;
use super::unsupported;
use crate::{SpacePrefix, TokenError, TokenId, WordRules};

/// Words with the space before them, which `ByteLevel` cuts where its expression is on.
///
/// # Source
/// The documentation of the `tokenizers` package, after GPT-2's `encoder.py`.
const BYTE_LEVEL: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The most steps of one kind: the longest known have 5.
const STEPS_LIMIT: usize = 32;

/// The longest word that a file may let be cut; known ones have 100.
const WORD_LIMIT_CHARS: usize = 10_000;

/// The steps of a component: none, one, or a sequence of them, with sequences inside laid flat.
fn flatten<'a>(step: &'a Value, list: &'static str) -> Vec<&'a Value> {
    let mut out = Vec::new();
    let mut open = vec![step];
    while let Some(step) = open.pop() {
        if kind(step) == "Sequence" && out.len() + open.len() <= STEPS_LIMIT {
            let inner = step[list].as_array().map_or(&[][..], Vec::as_slice);
            open.extend(inner.iter().rev());
        } else if !step.is_null() {
            out.push(step);
        }
    }
    out
}

fn normalizers(step: &Value) -> Vec<&Value> {
    flatten(step, "normalizers")
}

fn pre_tokenizers(step: &Value) -> Vec<&Value> {
    flatten(step, "pretokenizers")
}

fn decoders(step: &Value) -> Vec<&Value> {
    flatten(step, "decoders")
}

/// The name of a step.
fn kind(step: &Value) -> &str {
    step["type"].as_str().unwrap_or("of no type")
}

fn refused(component: &'static str, step: &Value, wanted: &'static str) -> TokenError {
    const SHOWN_CHARS: usize = 200;
    let found: String = step.to_string().chars().take(SHOWN_CHARS).collect();
    unsupported(FILE, component, found, wanted)
}

/// Whether a pre-tokeniser or decoder works on bytes.
pub(super) fn has_byte_level(step: &Value) -> bool {
    let steps = pre_tokenizers(step).into_iter().chain(decoders(step));
    steps.into_iter().any(|step| kind(step) == "ByteLevel")
}

/// Whether the normaliser composes characters, which is all it may do for bytes.
pub(super) fn composes(normalizer: &Value) -> Result<bool, TokenError> {
    let steps = normalizers(normalizer);
    match steps.iter().find(|step| kind(step) != "NFC") {
        Some(step) => Err(refused("normalizer", step, "NFC or none for bytes")),
        None => Ok(!steps.is_empty()),
    }
}

/// The patterns that cut words, for bytes.
pub(super) fn word_patterns(pre_tokenizer: &Value) -> Result<Vec<String>, TokenError> {
    pre_tokenizers(pre_tokenizer)
        .into_iter()
        .filter_map(|step| word_pattern(step).transpose())
        .collect()
}

fn word_pattern(step: &Value) -> Result<Option<String>, TokenError> {
    let wanted =
        "Split by a pattern with matches isolated, Digits, or ByteLevel without a space in front";
    let is_set = |name: &str| step[name].as_bool().unwrap_or(false);
    let pattern = &step["pattern"];
    match kind(step) {
        "Split" if step["behavior"] == "Isolated" && !is_set("invert") => {
            let regex = pattern["Regex"].as_str().map(str::to_owned);
            let literal = || pattern["String"].as_str().map(escape);
            let found = regex.or_else(literal);
            found
                .map(Some)
                .ok_or_else(|| refused("pre_tokenizer", step, wanted))
        }
        "Digits" if is_set("individual_digits") => Ok(Some(r"\p{N}".to_owned())),
        "Digits" => Ok(Some(r"\p{N}+".to_owned())),
        "ByteLevel" if !is_set("add_prefix_space") => {
            let cuts = step["use_regex"].as_bool().unwrap_or(true);
            Ok(cuts.then(|| BYTE_LEVEL.to_owned()))
        }
        _ => Err(refused("pre_tokenizer", step, wanted)),
    }
}

/// A pattern that matches this text.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        if char.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

/// What a normaliser does for characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Normalised {
    /// Puts a `▁` before every text.
    prepends: bool,
    /// Writes spaces as `▁`.
    replaces: bool,
}

impl Normalised {
    /// # Errors
    /// [`TokenError::Unsupported`] for any other step.
    pub(super) fn read(normalizer: &Value) -> Result<Self, TokenError> {
        let mut found = Self {
            prepends: false,
            replaces: false,
        };
        for step in normalizers(normalizer) {
            match kind(step) {
                "Prepend" if step["prepend"] == "▁" => found.prepends = true,
                "Replace" if step["pattern"]["String"] == " " && step["content"] == "▁" => {
                    found.replaces = true;
                }
                _ => {
                    let wanted = "Prepend ▁ or Replace of spaces by ▁ for characters";
                    return Err(refused("normalizer", step, wanted));
                }
            }
        }
        Ok(found)
    }
}

/// Where a space is put, for characters. Spaces must become `▁` in one of the two components.
pub(super) fn space_prefix(
    normalised: Normalised,
    pre_tokenizer: &Value,
) -> Result<SpacePrefix, TokenError> {
    let wanted = "Metaspace without splitting, or a normaliser that replaces spaces by ▁";
    let mut prefix = if normalised.prepends {
        SpacePrefix::Always
    } else {
        SpacePrefix::Never
    };
    let mut replaces = normalised.replaces;
    for step in pre_tokenizers(pre_tokenizer) {
        match kind(step) {
            "Metaspace" if !replaces && step["split"] == false && step["replacement"] == "▁" => {
                replaces = true;
                prefix = metaspace(step)?;
            }
            // There is no space left to split at.
            "Split" if replaces && step["pattern"]["String"] == " " => {}
            _ => return Err(refused("pre_tokenizer", step, wanted)),
        }
    }
    if !replaces {
        return Err(refused("pre_tokenizer", pre_tokenizer, wanted));
    }
    Ok(prefix)
}

fn metaspace(step: &Value) -> Result<SpacePrefix, TokenError> {
    match step["prepend_scheme"].as_str() {
        None | Some("always") => Ok(SpacePrefix::Missing),
        Some("first") => Ok(SpacePrefix::FirstMissing),
        Some("never") => Ok(SpacePrefix::Never),
        Some(_) => Err(refused("pre_tokenizer", step, "always, first or never")),
    }
}

/// # Errors
/// [`TokenError::Unsupported`] for a decoder that does more than spell bytes.
pub(super) fn check_byte_decoder(decoder: &Value) -> Result<(), TokenError> {
    check_steps(decoder, &["ByteLevel"], "ByteLevel")
}

/// # Errors
/// [`TokenError::Unsupported`] for a decoder that does more than put bytes and spaces back.
pub(super) fn check_character_decoder(decoder: &Value) -> Result<(), TokenError> {
    const KNOWN: &[&str] = &["Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"];
    check_steps(
        decoder,
        KNOWN,
        "Replace, ByteFallback, Fuse, Strip or Metaspace",
    )
}

fn check_steps(decoder: &Value, known: &[&str], wanted: &'static str) -> Result<(), TokenError> {
    match decoders(decoder)
        .into_iter()
        .find(|step| !known.contains(&kind(step)))
    {
        Some(step) => Err(refused("decoder", step, wanted)),
        None => Ok(()),
    }
}

/// The special tokens that a post-processor puts before a text.
///
/// # Errors
/// [`TokenError::Unsupported`] if it puts something behind, or is of another kind.
pub(super) fn template_prefix(post_processor: &Value) -> Result<Vec<TokenId>, TokenError> {
    let mut prefix = Vec::new();
    for step in flatten(post_processor, "processors") {
        match kind(step) {
            "ByteLevel" => {}
            "TemplateProcessing" => match read_template(step)? {
                (before, behind) if behind.is_empty() => prefix = before,
                _ => return Err(refused("post_processor", step, "nothing behind a text")),
            },
            _ => {
                let wanted = "ByteLevel or TemplateProcessing";
                return Err(refused("post_processor", step, wanted));
            }
        }
    }
    Ok(prefix)
}

/// The special tokens that a template puts before a text and behind it.
fn read_template(step: &Value) -> Result<(Vec<TokenId>, Vec<TokenId>), TokenError> {
    let bad = || {
        refused(
            "post_processor",
            step,
            "one text with special tokens around it",
        )
    };
    let parts = step["single"].as_array().ok_or_else(bad)?;
    let is_text = |part: &Value| part["Sequence"]["id"] == "A";
    let at = parts.iter().position(is_text).ok_or_else(bad)?;
    let special_ids = |parts: &[Value]| {
        let mut out = Vec::new();
        for part in parts {
            let name = part["SpecialToken"]["id"].as_str().ok_or_else(bad)?;
            let ids = step["special_tokens"][name]["ids"].as_array();
            for id in ids.ok_or_else(bad)? {
                let id = id.as_u64().and_then(|id| TokenId::try_from(id).ok());
                out.push(id.ok_or_else(bad)?);
            }
        }
        Ok(out)
    };
    Ok((special_ids(&parts[..at])?, special_ids(&parts[at + 1..])?))
}

/// The special tokens that a post-processor of WordPiece puts before a text and behind it.
///
/// # Errors
/// [`TokenError::Unsupported`] if it does anything else.
pub(super) fn frame(post_processor: &Value) -> Result<(Vec<TokenId>, Vec<TokenId>), TokenError> {
    let bad = || {
        refused(
            "post_processor",
            post_processor,
            "TemplateProcessing or BertProcessing",
        )
    };
    let id = |token: &Value| {
        let id = token[1].as_u64().and_then(|id| TokenId::try_from(id).ok());
        id.map(|id| vec![id]).ok_or_else(bad)
    };
    match kind(post_processor) {
        "TemplateProcessing" => read_template(post_processor),
        "BertProcessing" => Ok((id(&post_processor["cls"])?, id(&post_processor["sep"])?)),
        _ => Err(bad()),
    }
}

/// What the normaliser of a WordPiece model does.
///
/// # Errors
/// [`TokenError::Unsupported`] for any other than BERT's, and for a limit that no file has.
pub(super) fn word_rules(normalizer: &Value, limit_chars: usize) -> Result<WordRules, TokenError> {
    if limit_chars > WORD_LIMIT_CHARS {
        let component = "model.max_input_chars_per_word";
        return Err(unsupported(
            FILE,
            component,
            limit_chars.to_string(),
            "10000 at most",
        ));
    }
    if normalizer.is_null() {
        return Ok(WordRules {
            cleans: false,
            splits_chinese: false,
            strips_accents: false,
            lowercases: false,
            limit_chars,
        });
    }
    if kind(normalizer) != "BertNormalizer" {
        return Err(refused("normalizer", normalizer, "BertNormalizer or none"));
    }
    let switch = |name: &str| normalizer[name].as_bool();
    let lowercases = switch("lowercase").unwrap_or(true);
    Ok(WordRules {
        cleans: switch("clean_text").unwrap_or(true),
        splits_chinese: switch("handle_chinese_chars").unwrap_or(true),
        strips_accents: switch("strip_accents").unwrap_or(lowercases),
        lowercases,
        limit_chars,
    })
}

/// # Errors
/// [`TokenError::Unsupported`] for a pre-tokeniser that cuts other words than BERT's.
pub(super) fn check_words(pre_tokenizer: &Value) -> Result<(), TokenError> {
    if kind(pre_tokenizer) == "BertPreTokenizer" {
        return Ok(());
    }
    Err(refused("pre_tokenizer", pre_tokenizer, "BertPreTokenizer"))
}
