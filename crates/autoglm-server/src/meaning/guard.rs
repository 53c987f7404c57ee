//! What two questions must have in common to be taken for one, however near their vectors are.
//!
//! Vectors of sentences hardly tell "can I" from "can't I", 5 from 6, or "from A to B" from "from B
//! to A", nor `+` from `-`. So questions with another number, symbol, negation, quotation, name, side of an opposition, kind
//! of question or Chinese content word never meet, nor do those whose words stand in another
//! order. Errors are on the side of a miss.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::words::{
    INTERROGATIVES, NEGATIONS, NUMBERS, OPPOSITES, PREFIXES, STOP_WORDS, is_chinese, is_content,
    is_numeral, negates,
};

/// What is kept of a question for comparison: hashes, not its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guard {
    /// The hash of all that must be equal.
    pub(super) signature: [u8; 32],
    /// Hashes of the words that carry meaning, in order.
    pub(super) words: Vec<u32>,
    /// Hashes of what would be the opposite of one of the words.
    opposites: Vec<u32>,
}

impl Guard {
    /// Reads a question.
    pub(super) fn of(question: &str) -> Self {
        let (rest, quoted) = without_quotations(question);
        let tokens = tokens(&rest);
        let mut parts = vec![("quoted", quoted.join("\u{1}"))];
        let numbers = tokens.iter().filter_map(number);
        parts.push(("numbers", joined(numbers)));
        let names = tokens.iter().filter(|token| token.is_name);
        parts.push(("names", joined(names.map(|token| token.text.clone()))));
        let negations = tokens.iter().filter(|token| is_negation(&token.text));
        parts.push(("negations", negations.count().to_string()));
        parts.push(("opposites", sorted(tokens.iter().filter_map(side))));
        parts.push(("symbols", symbols(&rest)));
        let asked = tokens.iter().filter(|t| INTERROGATIVES.contains(&&*t.text));
        parts.push(("asked", sorted(asked.map(|token| token.text.clone()))));
        let content = tokens
            .iter()
            .filter(|t| t.is_chinese && is_content(&t.text));
        parts.push(("content", sorted(content.map(|token| token.text.clone()))));
        let text: Vec<String> = parts
            .iter()
            .map(|(name, part)| format!("{name}:{part}"))
            .collect();
        let carrying = || tokens.iter().filter(|token| carries(token));
        let mut words: Vec<u32> = Vec::new();
        for word in carrying().map(|token| hash(stem(&token.text))) {
            // Where a word comes again says nothing of the order.
            if !words.contains(&word) {
                words.push(word);
            }
        }
        Self {
            signature: Sha256::digest(text.join("\n")).into(),
            words,
            opposites: carrying()
                .flat_map(|token| contraries(&token.text))
                .collect(),
        }
    }

    /// Whether an earlier question with the same signature may be taken for this one: its words
    /// stand in the same order, and none is the contrary of one of these.
    pub(super) fn admits(&self, earlier: &[u32]) -> bool {
        let places = self
            .words
            .iter()
            .filter_map(|word| earlier.iter().position(|w| w == word));
        places
            .clone()
            .zip(places.skip(1))
            .all(|(one, next)| one <= next)
            && !self.opposites.iter().any(|word| earlier.contains(word))
    }
}

/// A word, or a Chinese character.
struct Token {
    /// In lower case.
    text: String,
    is_chinese: bool,
    is_name: bool,
}

/// The text without what stands in quotation marks, and that.
fn without_quotations(text: &str) -> (String, Vec<String>) {
    const MARKS: [(char, char); 6] = [
        ('"', '"'),
        ('“', '”'),
        ('「', '」'),
        ('《', '》'),
        ('`', '`'),
        ('『', '』'),
    ];
    let (mut rest, mut quoted) = (String::new(), Vec::new());
    let mut left = text;
    while let Some(char) = left.chars().next() {
        let after = &left[char.len_utf8()..];
        let mark = MARKS.iter().find(|(open, _)| *open == char);
        if let Some((inside, behind)) = mark.and_then(|(_, close)| after.split_once(*close)) {
            quoted.push(inside.to_owned());
            rest.push(' ');
            left = behind;
        } else {
            rest.push(char);
            left = after;
        }
    }
    (rest, quoted)
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().map(narrow).collect();
    let has_chinese = chars.iter().any(|&char| is_chinese(char));
    let (mut tokens, mut at, mut begins) = (Vec::new(), 0, true);
    while at < chars.len() {
        let char = chars[at];
        if is_chinese(char) {
            // "是不是" asks, it does not deny.
            if at + 2 < chars.len() && negates(chars[at + 1]) && chars[at + 2] == char {
                at += 2;
            }
            tokens.push(chinese(chars[at]));
            at += 1;
        } else if char.is_alphanumeric() {
            let mut end = at;
            while end < chars.len() && is_in_word(&chars, end) {
                end += 1;
            }
            let word: String = chars[at..end].iter().collect();
            let place = Place {
                begins,
                has_chinese,
            };
            tokens.push(foreign(&word, &place));
            (at, begins) = (end, false);
        } else {
            begins = begins || matches!(char, '.' | '!' | '?' | '\n' | '。' | '！' | '？');
            at += 1;
        }
    }
    tokens
}

fn chinese(char: char) -> Token {
    Token {
        text: char.to_string(),
        is_chinese: true,
        is_name: false,
    }
}

/// Where a word stands.
struct Place {
    /// At the beginning of a sentence.
    begins: bool,
    /// In a text with Chinese characters.
    has_chinese: bool,
}

/// A word in letters: a name where it is written like one. At the beginning of a sentence every word
/// is, so that only those that begin many are none.
fn foreign(word: &str, place: &Place) -> Token {
    let Place {
        begins,
        has_chinese,
    } = *place;
    let text = word.to_lowercase().replace('’', "'");
    let is_upper = word.starts_with(char::is_uppercase);
    let has_more = word
        .chars()
        .skip(1)
        .any(|c| c.is_uppercase() || c.is_numeric());
    let has_letters = word.contains(char::is_alphabetic);
    let is_usual = begins && !has_more && STOP_WORDS.contains(&&*text);
    let is_pronoun = matches!(&*text, "i" | "i'm" | "i've" | "i'd" | "i'll");
    Token {
        is_name: has_letters && (is_upper || has_more || has_chinese) && !is_usual && !is_pronoun,
        is_chinese: false,
        text,
    }
}

/// Letters, digits, and what joins them inside a word or number.
fn is_in_word(chars: &[char], at: usize) -> bool {
    let char = chars[at];
    let next = chars.get(at + 1);
    let joins = matches!(
        char,
        '\'' | '’' | '.' | ',' | '-' | '_' | '@' | '/' | ':' | '%'
    );
    (char.is_alphanumeric() && !is_chinese(char))
        || (joins && next.is_some_and(|c| c.is_alphanumeric() && !is_chinese(*c)))
}

/// What stands between words and says something: signs, currencies, what ends the name of a language.
/// Marks of sentences and brackets do not. Each with how many numbers and names stand before it, for
/// -3 and 3 are not 3 and -3.
fn symbols(text: &str) -> String {
    const SILENT: &str = ".,;:!?'’\"()[]{}…–—、。，；：！？（）【】·";
    let chars: Vec<char> = text.chars().map(narrow).collect();
    let is_within_word = |at: usize| {
        let before = at.checked_sub(1).map(|before| chars[before]);
        is_in_word(&chars, at) && before.is_some_and(|c| c.is_alphanumeric() && !is_chinese(c))
    };
    let says = |&at: &usize| {
        let char = chars[at];
        let is_silent = char.is_whitespace() || SILENT.contains(char);
        !char.is_alphanumeric() && !is_silent && !is_within_word(at)
    };
    let (mut told, mut runs, mut marks) = (String::new(), 0, 0);
    for at in 0..chars.len() {
        let is_behind_another = at > 0 && chars[at - 1].is_alphanumeric();
        if chars[at].is_alphanumeric() && !is_behind_another {
            let mut run = chars[at..].iter().take_while(|c| c.is_alphanumeric());
            // The first word has a capital anyway.
            marks += usize::from(run.any(|c| c.is_numeric() || (runs > 0 && c.is_uppercase())));
            runs += 1;
        } else if says(&at) {
            let _ = write!(told, "{}{marks} ", chars[at]);
        }
    }
    told
}

/// Wide letters and digits as narrow ones.
fn narrow(char: char) -> char {
    let code = char as u32;
    match code {
        0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0).unwrap_or(char),
        _ => char,
    }
}

fn number(token: &Token) -> Option<String> {
    let text = &token.text;
    if text.contains(char::is_numeric) {
        return Some(text.replace(',', ""));
    }
    if token.is_chinese {
        return is_numeral(text).then(|| text.clone());
    }
    let place = NUMBERS
        .iter()
        .position(|names| names.split(' ').any(|name| name == text))?;
    // Behind twenty the places are not the numbers any more.
    Some(if place <= 20 {
        place.to_string()
    } else {
        text.clone()
    })
}

fn is_negation(text: &str) -> bool {
    NEGATIONS.contains(&text) || text.ends_with("n't") || text.chars().all(negates)
}

/// The side of an opposition that a word is on.
fn side(token: &Token) -> Option<String> {
    let word = stem(&token.text);
    OPPOSITES
        .iter()
        .enumerate()
        .find_map(|(number, opposition)| {
            let place = opposition
                .split('|')
                .position(|side| side.split(' ').any(|one| stem(one) == word));
            place.map(|place| format!("{number}.{place}"))
        })
}

fn carries(token: &Token) -> bool {
    if token.is_chinese {
        return is_content(&token.text);
    }
    !STOP_WORDS.contains(&&*token.text)
}

/// A word without the commonest endings, so that "cancels" is "cancel".
fn stem(word: &str) -> &str {
    if !word.is_ascii() || word.len() < 5 {
        return word
            .strip_suffix('s')
            .filter(|rest| rest.len() > 2)
            .unwrap_or(word);
    }
    let endings = ["'s", "ing", "ies", "ed", "es", "s"];
    let cut = endings.iter().find_map(|ending| word.strip_suffix(ending));
    let cut = cut.filter(|rest| rest.len() > 2).unwrap_or(word);
    cut.strip_suffix('e')
        .filter(|rest| rest.len() > 2)
        .unwrap_or(cut)
}

/// Hashes of the words that differ from this one by a prefix or ending that turns it round.
fn contraries(word: &str) -> Vec<u32> {
    if !word.is_ascii() || word.len() < 3 {
        return Vec::new();
    }
    let with = PREFIXES.iter().map(|prefix| format!("{prefix}{word}"));
    let without = PREFIXES
        .iter()
        .filter_map(|prefix| word.strip_prefix(prefix));
    let without = without.filter(|rest| rest.len() > 2).map(str::to_owned);
    let turned = [("ful", "less"), ("less", "ful")];
    let turned = turned.iter().filter_map(|(one, other)| {
        let root = word.strip_suffix(one)?;
        Some(format!("{root}{other}"))
    });
    let all = with.chain(without).chain(turned);
    all.map(|contrary| hash(stem(&contrary))).collect()
}

fn hash(word: &str) -> u32 {
    let digest = Sha256::digest(word);
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

fn sorted(parts: impl Iterator<Item = String>) -> String {
    let mut parts: Vec<String> = parts.collect();
    parts.sort();
    parts.dedup();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meet(one: &str, other: &str) -> bool {
        let (one, other) = (Guard::of(one), Guard::of(other));
        one.signature == other.signature && one.admits(&other.words) && other.admits(&one.words)
    }

    #[test]
    fn what_is_opposite_never_meets() {
        for (one, other) in [
            ("Can I return the shoes?", "Can't I return the shoes?"),
            ("Can I return the shoes?", "Can I not return the shoes?"),
            (
                "How do I turn the light on?",
                "How do I turn the light off?",
            ),
            ("How do I increase the limit?", "How do I lower the limit?"),
            ("Is it legal to park here?", "Is it illegal to park here?"),
            ("Is the plant harmful?", "Is the plant harmless?"),
            ("Which is the largest city?", "Which is the smallest city?"),
            ("Do cats eat mice?", "Do mice eat cats?"),
            (
                "Is it safe to eat with milk?",
                "Is it safe to eat without milk?",
            ),
            ("Is the shop open today?", "Is the shop open tomorrow?"),
            ("这个能退货吗？", "这个不能退货吗？"),
            ("怎么打开通知？", "怎么关闭通知？"),
            ("价格上涨了吗？", "价格下跌了吗？"),
            ("从北京到上海怎么走？", "从上海到北京怎么走？"),
            ("什么时候开门？", "什么时候关门？"),
        ] {
            assert!(!meet(one, other), "{one} / {other}");
        }
    }

    #[test]
    fn what_differs_in_a_number_a_name_or_a_quotation_never_meets() {
        for (one, other) in [
            ("What is 15 % of 80?", "What is 16 % of 80?"),
            ("What is 15 times 80?", "What is 80 times 15?"),
            ("I have two cats.", "I have three cats."),
            ("I have 21 cats.", "I have thirty cats."),
            ("The flight to Paris", "The flight from Paris"),
            ("I have 1,000 cats.", "I have 10,000 cats."),
            ("Who leads France?", "Who leads Spain?"),
            ("Paris weather today", "London weather today"),
            ("What does \"left\" mean?", "What does \"right\" mean?"),
            ("Who wrote it?", "When was it written?"),
            ("Was it in v1.2?", "Was it in v1.3?"),
            ("What is 5 + 3?", "What is 5 - 3?"),
            ("How do I sort in C?", "How do I sort in C++?"),
            ("How do I sort in C++?", "How do I sort in C#?"),
            ("What does it cost, $5?", "What does it cost, €5?"),
            ("Is it 15?", "Is it 15 %?"),
            ("Solve x<3 for me.", "Solve x>3 for me."),
            ("Add -5 to it.", "Add 5 to it."),
            ("Is -3 more than 3?", "Is 3 more than -3?"),
            ("Is C++ faster than C?", "Is C faster than C++?"),
            ("温度是-5度吗？", "温度是5度吗？"),
            ("涨了%5吗？", "涨了5吗？"),
            ("三个苹果多少钱？", "五个苹果多少钱？"),
            ("２个苹果多少钱？", "３个苹果多少钱？"),
            ("北京的天气怎么样？", "上海的天气怎么样？"),
            ("“好”是什么意思？", "“坏”是什么意思？"),
            ("iPhone 怎么充电？", "iPad 怎么充电？"),
        ] {
            assert!(!meet(one, other), "{one} / {other}");
        }
    }

    #[test]
    fn what_is_said_in_other_words_may_meet() {
        for (one, other) in [
            ("How do I cancel my order?", "How can I cancel an order?"),
            ("How do I cancel my order?", "how to cancel orders"),
            ("Please tell me who leads France.", "Who leads France?"),
            ("I have 3 cats.", "I have three cats."),
            ("I have 1,000 cats.", "I have 1000 cats."),
            (
                "Is a cat a cat or is a dog a cat?",
                "Is a cat a cat or is a dog a cat?",
            ),
            ("请问怎么退货？", "如何退货"),
            ("是不是可以退货？", "可以退货吗？"),
            ("２个苹果多少钱？", "2个苹果多少钱？"),
        ] {
            assert!(meet(one, other), "{one} / {other}");
        }
    }
}
