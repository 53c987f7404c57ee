//! WordPiece: words are cut into the longest pieces that the vocabulary has, from left to right.
//!
//! Tokens that begin a word are written with a [`crate::table::SPACE_MARK`] before them, as in GGUF;
//! the others continue one.
//!
//! # Source
//! `BertNormalizer`, `BertPreTokenizer` and `WordPiece` of the `tokenizers` package, after
//! `tokenization.py` of BERT. Categories of characters are those of the same tables.

use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

use crate::table::TokenTable;
use crate::{TokenError, TokenId, Vocabulary, WordRules};

/// What cutting needs beside the tokens' bytes.
#[derive(Debug)]
pub(crate) struct WordPiece {
    rules: WordRules,
    /// Stands for a word that has no pieces.
    unk: TokenId,
}

impl WordPiece {
    /// # Errors
    /// [`TokenError::NoUnknownToken`].
    pub(crate) fn new(vocabulary: &Vocabulary) -> Result<Self, TokenError> {
        Ok(Self {
            rules: vocabulary.word_rules,
            unk: vocabulary.unk.ok_or(TokenError::NoUnknownToken)?,
        })
    }

    /// Appends a text's tokens.
    pub(crate) fn encode(&self, table: &TokenTable, text: &str, out: &mut Vec<TokenId>) {
        let text = self.normalise(text);
        // A word's bytes as those of the token that begins it: with a space before them.
        let mut word = String::from(" ");
        for char in text.chars() {
            let is_space = char.is_whitespace();
            let stands_alone = is_punctuation(char);
            if is_space || stands_alone {
                self.encode_word(table, &word, out);
                word.truncate(1);
            }
            if stands_alone {
                word.push(char);
                self.encode_word(table, &word, out);
                word.truncate(1);
            } else if !is_space {
                word.push(char);
            }
        }
        self.encode_word(table, &word, out);
    }

    /// The text as its words are looked up.
    fn normalise(&self, text: &str) -> String {
        let rules = self.rules;
        let mut cleaned = String::with_capacity(text.len() + text.len() / 2);
        for char in text.chars() {
            if rules.cleans && is_removed(char) {
                continue;
            }
            let char = if rules.cleans && char.is_whitespace() {
                ' '
            } else {
                char
            };
            if rules.splits_chinese && is_chinese(char) {
                cleaned.extend([' ', char, ' ']);
            } else {
                cleaned.push(char);
            }
        }
        if rules.strips_accents && !cleaned.is_ascii() {
            cleaned = cleaned
                .nfd()
                .filter(|char| !char.is_mark_nonspacing())
                .collect();
        }
        if rules.lowercases {
            cleaned = cleaned.chars().flat_map(char::to_lowercase).collect();
        }
        cleaned
    }

    /// Appends the pieces of a word, which stands behind a space, or the unknown token where some of
    /// it has none.
    fn encode_word(&self, table: &TokenTable, word: &str, out: &mut Vec<TokenId>) {
        let first = out.len();
        let chars = word.chars().count() - 1;
        let mut start = 0;
        while chars > 0 && start < word.len() {
            let piece = longest_piece(table, word, start);
            let Some((end, id)) = piece.filter(|_| chars <= self.rules.limit_chars) else {
                out.truncate(first);
                out.push(self.unk);
                return;
            };
            out.push(id);
            start = end;
        }
    }
}

/// The longest token that a word goes on with, and where it ends.
fn longest_piece(table: &TokenTable, word: &str, start: usize) -> Option<(usize, TokenId)> {
    // The space alone is no piece.
    let least = if start == 0 { 2 } else { start + 1 };
    let most = word.len().min(start + table.longest());
    let ends = (least..=most)
        .rev()
        .filter(|&end| word.is_char_boundary(end));
    ends.into_iter()
        .find_map(|end| Some((end, table.find(&word.as_bytes()[start..end])?)))
}

/// Characters that carry no text: those that control, format or are private, and what stands for
/// broken bytes.
fn is_removed(char: char) -> bool {
    let is_control = !matches!(char, '\t' | '\n' | '\r') && char.is_other();
    char == '\0' || char == '\u{FFFD}' || is_control
}

fn is_punctuation(char: char) -> bool {
    char.is_ascii_punctuation() || char.is_punctuation()
}

/// Whether a character is a word of its own because it is Chinese. The gap before U+2B920 is one of
/// the package's tables.
fn is_chinese(char: char) -> bool {
    matches!(
        u32::from(char),
        0x3400..=0x4DBF
            | 0x4E00..=0x9FFF
            | 0xF900..=0xFAFF
            | 0x2_0000..=0x2_A6DF
            | 0x2_A700..=0x2_B73F
            | 0x2_B740..=0x2_B81F
            | 0x2_B920..=0x2_CEAF
            | 0x2_F800..=0x2_FA1F
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Specials, TokenKind, Tokenizer, Vocabulary, VocabularyModel, WordRules};

    const TOKENS: [&str; 12] = [
        "[UNK]", "[CLS]", "[SEP]", "▁un", "aff", "able", "▁好", "▁.", "▁[", "▁]", "▁sep", "▁aff",
    ];

    fn tokenizer(rules: WordRules) -> Tokenizer {
        let tokens = TOKENS.map(str::to_owned).to_vec();
        let mut vocabulary = Vocabulary::new(VocabularyModel::WordPiece, tokens);
        vocabulary.kinds[..3].fill(TokenKind::Control);
        vocabulary.unk = Some(0);
        vocabulary.word_rules = rules;
        Tokenizer::new(vocabulary).unwrap()
    }

    fn check(text: &str, wanted: &[u32]) {
        let found = tokenizer(WordRules::default()).encode(text, Specials::AsText);
        assert_eq!(found, wanted, "{text:?}");
    }

    #[test]
    fn words_are_cut_into_their_longest_pieces() {
        check("unaffable", &[3, 4, 5]);
        check("  UNAFFABLE\tÜn. ", &[3, 4, 5, 3, 7]);
        check("aff able", &[11, 0]);
    }

    #[test]
    fn a_word_with_a_part_that_is_no_piece_is_unknown_as_a_whole() {
        check("unaffably un", &[0, 3]);
        check("", &[]);
        check("\u{200B}\u{FFFD}\0", &[]);
    }

    #[test]
    fn chinese_characters_are_words_and_punctuation_too() {
        check("好好un好.", &[6, 6, 3, 6, 7]);
    }

    #[test]
    fn names_of_control_tokens_from_outside_stay_text() {
        check("[SEP]", &[8, 10, 9]);
        let parsed = tokenizer(WordRules::default()).encode("[SEP]un", Specials::Parse);
        assert_eq!(parsed, [2, 3]);
    }

    #[test]
    fn rules_that_are_off_leave_the_text_alone() {
        let cased = WordRules {
            lowercases: false,
            strips_accents: false,
            splits_chinese: false,
            ..WordRules::default()
        };
        let found = tokenizer(cased).encode("Un ün un 好好 好", Specials::AsText);
        assert_eq!(found, [0, 0, 3, 0, 6]);
    }

    #[test]
    fn a_word_longer_than_the_limit_is_unknown() {
        let short = WordRules {
            limit_chars: 4,
            ..WordRules::default()
        };
        let found = tokenizer(short).encode("un unaff", Specials::AsText);
        assert_eq!(found, [3, 0]);
    }

    #[test]
    fn tokens_become_words_again() {
        assert_eq!(
            tokenizer(WordRules::default()).decode(&[1, 3, 4, 5, 6, 7, 2]),
            "unaffable 好 ."
        );
    }

    proptest! {
        #[test]
        fn any_text_becomes_tokens_and_none_that_controls(text in ".{0,40}", cased: bool) {
            let rules = WordRules { lowercases: !cased, strips_accents: !cased, ..WordRules::default() };
            let ids = tokenizer(rules).encode(&text, Specials::AsText);
            prop_assert!(ids.iter().all(|&id| id == 0 || (3..TOKENS.len() as u32).contains(&id)));
            // Every word leaves at least a token.
            let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
            prop_assert!(ids.len() >= words.count().min(1));
        }
    }

    #[test]
    fn a_vocabulary_without_an_unknown_token_is_refused() {
        let vocabulary = Vocabulary::new(VocabularyModel::WordPiece, vec!["▁a".to_owned()]);
        let error = Tokenizer::new(vocabulary).unwrap_err().to_string();
        assert!(error.contains("unknown token"), "{error}");
    }
}
