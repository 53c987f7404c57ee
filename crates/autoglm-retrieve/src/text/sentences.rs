//! Sentences of texts.

use std::ops::Range;

use super::words::is_unspaced;

/// Words with a full stop that ends no sentence.
const ABBREVIATIONS: &[&str] = &[
    "dr", "mr", "mrs", "ms", "prof", "st", "vs", "etc", "e.g", "i.e", "fig", "no", "vol", "jr",
    "sr", "cf", "al", "approx",
];

/// The byte ranges of a text's sentences, without the blanks around them. A blank line ends a
/// sentence, too.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let mut end = at + c.len_utf8();
        let ends = match c {
            '。' | '！' | '？' | '；' | '…' => true,
            '.' | '!' | '?' => ends_before(&text[end..]) && !is_abbreviated(&text[start..at], c),
            '\n' => text[end..].starts_with('\n') || text[end..].starts_with("\r\n"),
            _ => false,
        };
        if !ends {
            continue;
        }
        while let Some((at, closing)) = characters.next_if(|(_, c)| is_closing(*c)) {
            end = at + closing.len_utf8();
        }
        push_trimmed(text, start..end, &mut found);
        start = end;
    }
    push_trimmed(text, start..text.len(), &mut found);
    found
}

/// Whether what stands behind a full stop lets it end a sentence.
fn ends_before(rest: &str) -> bool {
    let mut rest = rest.trim_start_matches(is_closing).chars();
    rest.next()
        .is_none_or(|c| c.is_whitespace() || is_unspaced(c))
}

fn is_abbreviated(before: &str, stop: char) -> bool {
    let word = before
        .rsplit(|c: char| c.is_whitespace() || c == '(')
        .next()
        .unwrap_or_default();
    let is_initial = word.len() == 1 && word.chars().all(char::is_uppercase);
    stop == '.' && (is_initial || ABBREVIATIONS.contains(&word.to_lowercase().as_str()))
}

fn is_closing(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | ')' | ']' | '”' | '’' | '」' | '』' | '）' | '】' | '》'
    )
}

fn push_trimmed(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let part = &text[range.clone()];
    let trimmed = part.trim();
    if !trimmed.is_empty() {
        let start = range.start + (part.len() - part.trim_start().len());
        found.push(start..start + trimmed.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sentences;

    fn check(text: &str, wanted: &[&str]) {
        let found: Vec<&str> = sentences(text).into_iter().map(|r| &text[r]).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn sentences_end_at_stops_and_blank_lines() {
        check("One. Two! Three?", &["One.", "Two!", "Three?"]);
        check(
            "今天下雨。“走吧！”他说。",
            &["今天下雨。", "“走吧！”", "他说。"],
        );
        check("a heading\n\nand text", &["a heading", "and text"]);
        check("one line\nand its next", &["one line\nand its next"]);
    }

    #[test]
    fn numbers_and_abbreviations_end_no_sentence() {
        check(
            "It costs 3.5 as Dr. A. Smith says.",
            &["It costs 3.5 as Dr. A. Smith says."],
        );
        check(
            "See e.g. the first. Then go.",
            &["See e.g. the first.", "Then go."],
        );
    }

    proptest! {
        #[test]
        fn only_blanks_stand_between_sentences(text in "[ab。.!? \n中\"’]{0,40}") {
            let mut last = 0;
            for range in sentences(&text) {
                prop_assert!(text[last..range.start].trim().is_empty());
                prop_assert!(!text[range.clone()].trim().is_empty());
                last = range.end;
            }
            prop_assert!(text[last..].trim().is_empty());
        }
    }
}
