//! Characters of bytes: UTF-8, UTF-16 that says so, and the encoding of Chinese texts before it.

use encoding_rs::{Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};

use super::ReadError;
use crate::text::is_unspaced;

/// A text, and how many bytes of the file stand before it where its bytes are the file's.
pub(super) struct Decoded {
    pub(super) text: String,
    pub(super) offset: Option<usize>,
}

/// Bytes at the start of a file that tell whether it is text.
const LOOKED_AT_BYTES: usize = 8 << 10;

/// The text of a file.
///
/// # Errors
/// Bytes that are no text.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, ReadError> {
    let marked = Encoding::for_bom(bytes);
    if let Some((encoding, _)) = marked
        && (encoding == UTF_16LE || encoding == UTF_16BE)
    {
        return without_errors(encoding, bytes);
    }
    let offset = marked.map_or(0, |(_, length)| length);
    if bytes.iter().take(LOOKED_AT_BYTES).any(|byte| *byte == 0) {
        return Err(ReadError::Unknown);
    }
    if let Ok(text) = std::str::from_utf8(&bytes[offset..]) {
        return Ok(Decoded {
            text: text.to_owned(),
            offset: Some(offset),
        });
    }
    let chinese = without_errors(GB18030, bytes)?;
    if is_chinese(&chinese.text) {
        Ok(chinese)
    } else {
        // A text with some broken bytes is still worth reading; its bytes are no longer the file's.
        lossy(bytes)
    }
}

fn without_errors(encoding: &'static Encoding, bytes: &[u8]) -> Result<Decoded, ReadError> {
    let (text, _, had_errors) = encoding.decode(bytes);
    if had_errors && encoding != GB18030 {
        return Err(ReadError::Unknown);
    }
    Ok(Decoded {
        text: if had_errors {
            String::new()
        } else {
            text.into_owned()
        },
        offset: None,
    })
}

/// Whether most of what is not ASCII is common Chinese, as it is not where other bytes are read as
/// if they were.
fn is_chinese(text: &str) -> bool {
    let others = text.chars().filter(|c| !c.is_ascii()).count();
    let is_common = |c: &char| {
        is_unspaced(*c)
            || matches!(
                c,
                '，' | '。'
                    | '、'
                    | '：'
                    | '“'
                    | '”'
                    | '（'
                    | '）'
                    | '！'
                    | '？'
                    | '；'
                    | '《'
                    | '》'
            )
    };
    others > 0 && text.chars().filter(is_common).count() * 10 >= others * 9
}

fn lossy(bytes: &[u8]) -> Result<Decoded, ReadError> {
    let (text, _, _) = UTF_8.decode(bytes);
    let replaced = text
        .chars()
        .filter(|c| *c == char::REPLACEMENT_CHARACTER)
        .count();
    if replaced * 20 > text.chars().count() {
        return Err(ReadError::Unknown);
    }
    Ok(Decoded {
        text: text.into_owned(),
        offset: None,
    })
}
