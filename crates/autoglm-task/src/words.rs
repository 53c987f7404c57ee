//! Words of texts in any script, and how many of them two texts share.

use std::collections::BTreeMap;

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
