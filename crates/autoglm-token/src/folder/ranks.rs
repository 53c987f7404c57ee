//! `tokenizer.model`, ranks of `tiktoken`: a line a token, its bytes in base 64 and its rank, which
//! is its id. Two neighbours merge where they together are a token, the lowest rank first.

use super::TOKENS_LIMIT;
use crate::table::byte_characters;
use crate::{MergeOrder, TokenError, TokenKind, Vocabulary, VocabularyModel, Words};

/// Reads the file. It does not say how text is cut into words: as in GLM-4, whose files these are.
///
/// # Errors
/// [`TokenError::ModelFile`] with the line.
pub(super) fn read(file: &[u8]) -> Result<Vocabulary, TokenError> {
    let spelling = spelling();
    let lines = file.split(|&byte| byte == b'\n');
    let mut tokens: Vec<Option<String>> = Vec::new();
    for (index, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        let bad = || TokenError::ModelFile {
            place: format!("line {}", index + 1),
            found: String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned(),
            wanted: "a token in base 64, a space and its rank, each rank once",
        };
        let (bytes, rank) = read_line(line).ok_or_else(bad)?;
        if tokens.len() <= rank {
            tokens.resize(rank + 1, None);
        }
        let text = bytes.iter().map(|&byte| spelling[usize::from(byte)]);
        if tokens[rank].replace(text.collect()).is_some() {
            return Err(bad());
        }
    }
    Ok(vocabulary(tokens))
}

fn vocabulary(tokens: Vec<Option<String>>) -> Vocabulary {
    // Ranks are whole numbers below 2²⁴, which f32 holds exactly.
    let scores = (0..tokens.len()).map(|rank| -(rank as f32)).collect();
    let kinds = tokens.iter().map(|token| match token {
        Some(_) => TokenKind::Normal,
        None => TokenKind::Unused,
    });
    let kinds = kinds.collect();
    let texts = tokens.into_iter().map(Option::unwrap_or_default).collect();
    let mut vocabulary = Vocabulary::new(VocabularyModel::ByteBpe, texts);
    vocabulary.kinds = kinds;
    vocabulary.merges = MergeOrder::Scores(scores);
    vocabulary.words = Words::from("glm4");
    vocabulary
}

fn read_line(line: &[u8]) -> Option<(Vec<u8>, usize)> {
    let line = std::str::from_utf8(line).ok()?;
    let (bytes, rank) = line.trim_end().split_once(' ')?;
    let rank = rank.parse().ok().filter(|&rank| rank < TOKENS_LIMIT)?;
    Some((base64(bytes)?, rank))
}

/// The bytes of a text in base 64 with its padding; at least one.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.is_empty() || !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

/// The character that stands for each byte in byte-level vocabularies.
fn spelling() -> Vec<char> {
    let mut out = vec!['\0'; 256];
    for (byte, char) in byte_characters().into_iter().zip('\0'..) {
        if let Some(byte) = byte {
            out[usize::from(byte)] = char;
        }
    }
    out
}
