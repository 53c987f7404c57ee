//! Words of texts in any script, and how many of them two texts share.

use std::collections::BTreeMap;
use std::path::Path;

/// Words as question answering compares them: punctuation is deleted, articles are left out.
pub(crate) fn answer_words(text: &str) -> Vec<String> {
    let bare: String = text
        .chars()
        .filter(|c| c.is_alphanumeric() || c.is_whitespace())
        .collect();
    let mut words = words(&bare);
    words.retain(|word| !matches!(word.as_str(), "a" | "an" | "the"));
    words
}

/// Runs of letters and digits in lower case; each character of Chinese, Japanese kana and the
/// like alone.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut run = String::new();
    for c in text.to_lowercase().chars() {
        if c.is_alphanumeric() && !stands_alone(c) {
            run.push(c);
            continue;
        }
        if !run.is_empty() {
            words.push(std::mem::take(&mut run));
        }
        if c.is_alphanumeric() {
            words.push(c.to_string());
        }
    }
    if !run.is_empty() {
        words.push(run);
    }
    words
}

/// How many words two texts share, each as often as both have it.
pub(crate) fn shared_words(one: &[String], other: &[String]) -> usize {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for word in other {
        *left.entry(word).or_default() += 1;
    }
    let mut shared = 0;
    for word in one {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    shared
}

/// Whether a character belongs to a script that does not separate words: kana and CJK ideographs.
pub(crate) fn stands_alone(c: char) -> bool {
    matches!(u32::from(c),
        0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}

/// A text, or so many characters of a longer one.
pub(crate) fn cut_to(characters: usize, text: &str) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The last part of a path, as people are shown it.
pub fn file_name(source: &str) -> String {
    let name = Path::new(source).file_name();
    name.map_or(source.to_owned(), |name| {
        name.to_string_lossy().into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters_and_paths_to_their_last_part() {
        assert_eq!(cut_to(2, "质量很好"), "质量…");
        assert_eq!(cut_to(4, "质量很好"), "质量很好");
        assert_eq!(file_name("/data/评论.jsonl"), "评论.jsonl");
        assert_eq!(file_name("-"), "-");
    }
}
