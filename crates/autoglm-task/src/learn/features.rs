//! What a text is to the learner: its words, characters, pairs and triples, hashed into a fixed
//! number of buckets.

use autoglm_spec::{Field, Record};
use serde_json::Value;

use super::hash::fold;

/// How texts are cut and hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Featurizer {
    bits: u32,
    seed: u64,
}

/// Marks that keep pairs and triples apart from single tokens.
const PAIR: u64 = 0x5bd1_e995_7b93_5a4b;
const TRIPLE: u64 = 0x27d4_eb2f_1656_67c5;

impl Featurizer {
    /// Hashes into `2^bits` buckets.
    ///
    /// # Panics
    /// When `bits` is not from 1 to 31.
    pub(super) fn new(bits: u32, seed: u64) -> Self {
        assert!((1..=31).contains(&bits), "want 1 to 31 bits, not {bits}");
        Self { bits, seed }
    }

    /// How many buckets there are.
    pub(super) fn buckets(&self) -> usize {
        1 << self.bits
    }

    /// Appends the buckets of a record's fields.
    pub(super) fn record(&self, fields: &[Field], record: &Record, buckets: &mut Vec<u32>) {
        for (place, field) in fields.iter().enumerate() {
            match record.get(&field.name) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => self.text(place, text, buckets),
                Some(value) => self.text(place, &value.to_string(), buckets),
            }
        }
    }

    /// Appends the buckets of the text of one field.
    ///
    /// A letter of a script that is written without blanks is a token, so is a run of other
    /// letters and digits in lower case, and so is a mark. Every token, every two neighbours, and
    /// every three neighbouring letters without blanks are a feature.
    pub(super) fn text(&self, field: usize, text: &str, buckets: &mut Vec<u32>) {
        let mut grams = Grams {
            shift: 64 - self.bits,
            seed: fold(self.seed, field as u64),
            last: None,
            before: None,
            buckets,
        };
        let mut word = None;
        for character in text.chars() {
            let kind = Kind::of(character);
            if kind == Kind::Word {
                word = Some(with_letter(word.unwrap_or(grams.seed), character));
                continue;
            }
            if let Some(word) = word.take() {
                grams.push(word, false);
            }
            match kind {
                Kind::Letter => grams.push(fold(grams.seed, u64::from(character)), true),
                Kind::Mark => grams.push(fold(grams.seed, u64::from(character)), false),
                Kind::Word | Kind::Blank => {}
            }
        }
        if let Some(word) = word {
            grams.push(word, false);
        }
    }
}

/// A word's hash with one more letter in lower case.
fn with_letter(word: u64, letter: char) -> u64 {
    if letter.is_ascii() {
        return fold(word, u64::from(letter.to_ascii_lowercase()));
    }
    letter
        .to_lowercase()
        .fold(word, |word, letter| fold(word, u64::from(letter)))
}

/// The last tokens, and where features go.
struct Grams<'a> {
    shift: u32,
    seed: u64,
    last: Option<Token>,
    before: Option<Token>,
    buckets: &'a mut Vec<u32>,
}

#[derive(Clone, Copy)]
struct Token {
    hash: u64,
    is_letter: bool,
}

impl Grams<'_> {
    fn push(&mut self, hash: u64, is_letter: bool) {
        self.add(hash);
        if let Some(last) = self.last {
            let pair = fold(last.hash ^ PAIR, hash);
            self.add(pair);
            if let Some(before) = self.before
                && is_letter
                && last.is_letter
                && before.is_letter
            {
                self.add(fold(before.hash ^ TRIPLE, pair));
            }
        }
        self.before = self.last;
        self.last = Some(Token { hash, is_letter });
    }

    /// The upper bits are the better mixed ones of a product.
    fn add(&mut self, hash: u64) {
        self.buckets.push((hash >> self.shift) as u32);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Part of a word in a script with blanks between words.
    Word,
    /// A letter of a script that is written without them.
    Letter,
    /// Punctuation, a sign, a picture.
    Mark,
    Blank,
}

impl Kind {
    fn of(character: char) -> Self {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' => Self::Word,
            ' ' | '\t' | '\n' | '\r' => Self::Blank,
            // Most of ASCII was decided above; what is left of it are marks and controls.
            '\0'..='\u{7f}' => Self::Mark,
            _ if is_unspaced(character) => Self::Letter,
            _ if character.is_alphanumeric() => Self::Word,
            _ if character.is_whitespace() => Self::Blank,
            _ => Self::Mark,
        }
    }
}

/// Whether a letter belongs to a script without blanks between words: Chinese, kana, Thai, Lao,
/// Burmese, Khmer.
fn is_unspaced(character: char) -> bool {
    matches!(
        character,
        '\u{4e00}'..='\u{9fff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{3040}'..='\u{30ff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{323af}'
            | '\u{0e00}'..='\u{0eff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}'
    )
}
