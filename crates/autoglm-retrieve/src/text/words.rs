//! Words of texts: of Chinese, which puts no blanks between them, single characters and pairs.

/// English words that say nothing of what a text is about.
const FUNCTION_WORDS: &[&str] = &[
    "a", "about", "all", "also", "an", "and", "any", "are", "as", "at", "be", "been", "between",
    "but", "by", "can", "could", "did", "do", "does", "during", "each", "for", "from", "had",
    "has", "have", "he", "her", "his", "how", "i", "if", "in", "into", "is", "it", "its", "may",
    "me", "might", "more", "most", "my", "no", "not", "of", "on", "only", "or", "other", "our",
    "over", "s", "she", "should", "so", "some", "such", "t", "than", "that", "the", "their",
    "them", "then", "there", "these", "they", "this", "those", "through", "to", "under", "up",
    "us", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom", "whose",
    "often", "many", "much", "why", "will", "with", "would", "you", "your", "am", "being",
];

/// Chinese characters and words that say nothing of what a text is about.
const FUNCTION_CHARACTERS: &[&str] = &[
    "的", "了", "是", "在", "和", "与", "及", "或", "也", "都", "就", "而", "被", "把", "从", "到",
    "对", "为", "以", "于", "之", "其", "这", "那", "哪", "些", "个", "么", "什", "谁", "吗", "呢",
    "吧", "啊", "着", "过", "得", "地", "什么", "哪些", "哪个", "怎么", "怎样", "如何", "多少",
    "为什", "是什", "的是", "了什", "在哪", "哪里", "么是",
];

/// Whether a character belongs to a script that puts no blanks between words.
pub fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xac00..=0xd7af
        | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}

pub(super) fn is_function_word(word: &str) -> bool {
    FUNCTION_WORDS.contains(&word)
}

/// The terms by which a text is found, in lower case: its words, and of Chinese each character and
/// each pair of neighbours. Pairs come near to words without a dictionary, and characters find what
/// pairs cut wrongly; both together find more than the words of a dictionary do
/// (`docs/knowledge.md`).
pub fn terms(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    each_term(text, &mut |term| found.push(term.to_owned()));
    found
}

/// Calls `f` with each of the [`terms`] of a text.
pub(crate) fn each_term(text: &str, f: &mut dyn FnMut(&str)) {
    let mut word = String::new();
    let mut before: Option<char> = None;
    let mut at_line_end = false;
    for c in text.chars() {
        // A line ends in the middle of a Chinese word as well as behind it.
        at_line_end = c == '\n' || at_line_end && c.is_whitespace();
        if before.is_some() && (at_line_end || c == '\r') {
            continue;
        }
        if is_unspaced(c) {
            flush(&mut word, f);
            if let Some(before) = before {
                f(&String::from_iter([before, c]));
            }
            f(c.encode_utf8(&mut [0; 4]));
            before = Some(c);
            continue;
        }
        before = None;
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        } else if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else {
            flush(&mut word, f);
        }
    }
    flush(&mut word, f);
}

fn flush(word: &mut String, f: &mut dyn FnMut(&str)) {
    if !word.is_empty() {
        f(word);
        word.clear();
    }
}

/// The different terms of a text that say what it is about; all its terms where none does.
pub fn content_words(text: &str) -> Vec<String> {
    let mut all = terms(text);
    let mut seen = std::collections::HashSet::new();
    all.retain(|term| seen.insert(term.clone()));
    let says_something =
        |term: &String| !is_function_word(term) && !FUNCTION_CHARACTERS.contains(&term.as_str());
    if all.iter().any(says_something) {
        all.retain(says_something);
    }
    all
}

/// The words that names in source code are put together of, where a name has several:
/// `parseTaskFile` gives `parse`, `task` and `file`.
pub fn identifier_parts(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let parts = humps(name);
        if parts.len() > 1 {
            found.extend(parts.into_iter().map(str::to_lowercase));
        }
    }
    found
}

/// A name cut before each capital that follows a small letter, or that a small letter follows.
fn humps(name: &str) -> Vec<&str> {
    let bytes = name.as_bytes();
    let mut parts = Vec::new();
    let mut start = 0;
    for at in 1..bytes.len() {
        let is_end = bytes[at].is_ascii_uppercase()
            && (bytes[at - 1].is_ascii_lowercase()
                || bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase));
        if is_end {
            parts.push(&name[start..at]);
            start = at;
        }
    }
    if start < name.len() {
        parts.push(&name[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_words_and_of_chinese_characters_and_pairs() {
        assert_eq!(
            terms("Read-ahead, 3 Times"),
            ["read", "ahead", "3", "times"]
        );
        assert_eq!(
            terms("写前日志"),
            ["写", "写前", "前", "前日", "日", "日志", "志"]
        );
        assert_eq!(terms("用WAL写"), ["用", "wal", "写"]);
        assert_eq!(terms("日\r\n    志"), ["日", "日志", "志"]);
        assert_eq!(terms("日 志\na"), ["日", "志", "a"]);
        assert_eq!(terms(" …"), [""; 0]);
    }

    #[test]
    fn content_words_leave_out_what_says_nothing_unless_there_is_nothing_else() {
        assert_eq!(
            content_words("What is the WAL of the store?"),
            ["wal", "store"]
        );
        assert_eq!(
            content_words("to be or not to be"),
            ["to", "be", "or", "not"]
        );
        assert!(!content_words("什么是日志？").contains(&"什么".to_owned()));
    }

    #[test]
    fn names_of_code_have_parts() {
        assert_eq!(
            identifier_parts("parseTaskFile(HTTPServer, plain)"),
            ["parse", "task", "file", "http", "server"]
        );
        assert_eq!(identifier_parts("snake_case x"), [""; 0]);
    }
}
