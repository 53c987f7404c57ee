//! In which language a text is, by its characters and its commonest words.

use serde::{Deserialize, Serialize};

use super::words::{is_function_word, is_unspaced};

/// The language that most of a text is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TextLanguage {
    /// English.
    #[serde(rename = "en")]
    English,
    /// Chinese.
    #[serde(rename = "zh")]
    Chinese,
    /// Chinese and a language with Latin letters, a fifth of the letters each at least.
    #[serde(rename = "mixed")]
    Mixed,
    /// Any other, and what is no language, such as tables of numbers.
    #[serde(rename = "other")]
    Other,
}

/// A Chinese character says about as much as three Latin letters.
const LETTERS_PER_CHARACTER: usize = 3;
/// Of running English more than a third of the words are function words; of lists, code and other
/// languages fewer than one in ten.
const FUNCTION_WORDS_ONE_IN: usize = 10;
/// Texts of fewer words are too short to judge by their function words.
const SHORT_WORDS: usize = 8;

impl TextLanguage {
    /// The language of a text.
    pub fn of(text: &str) -> Self {
        let characters = text.chars().filter(|c| is_unspaced(*c)).count() * LETTERS_PER_CHARACTER;
        let letters = text.chars().filter(char::is_ascii_alphabetic).count();
        let all = characters + letters;
        if all == 0 {
            Self::Other
        } else if characters * 5 >= all * 4 {
            Self::Chinese
        } else if characters * 5 >= all {
            Self::Mixed
        } else if is_english(text) {
            Self::English
        } else {
            Self::Other
        }
    }

    /// The name in filters and stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
            Self::Mixed => "mixed",
            Self::Other => "other",
        }
    }

    /// The language of a name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::English, Self::Chinese, Self::Mixed, Self::Other];
        all.into_iter().find(|language| language.name() == name)
    }
}

fn is_english(text: &str) -> bool {
    let (mut words, mut function_words) = (0, 0);
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        words += usize::from(!word.is_empty());
        function_words += usize::from(is_function_word(&word.to_lowercase()));
    }
    words > 0 && (words < SHORT_WORDS || function_words * FUNCTION_WORDS_ONE_IN >= words)
}

#[cfg(test)]
mod tests {
    use super::TextLanguage;

    #[test]
    fn languages_are_told_apart() {
        let check = |text: &str, wanted: &str| {
            assert_eq!(TextLanguage::of(text).name(), wanted, "{text}");
        };
        check("The dog is asleep in front of the house.", "en");
        check("Release notes", "en");
        check("狗在屋前睡觉。", "zh");
        check("用 WAL 可以同时读写", "zh");
        check("用 SQLite write-ahead log 可以同时读写", "mixed");
        check(
            "Der Hund schläft vor dem Haus und träumt von einem Knochen.",
            "other",
        );
        check("12.5; 13.7 | 14", "other");
    }
}
