//! Quotes, brackets and separators in running text.

use std::ops::Range;

use super::reading::is_han;

const QUOTES: &[(char, char)] = &[
    ('"', '"'),
    ('“', '”'),
    ('‘', '’'),
    ('\'', '\''),
    ('「', '」'),
    ('『', '』'),
    ('《', '》'),
    ('【', '】'),
    ('`', '`'),
    ('«', '»'),
    ('”', '”'),
    ('„', '“'),
];
/// Brackets that open.
pub(super) const OPENING: &[char] = &['(', '（', '[', '{'];
const CLOSING: &[char] = &[')', '）', ']', '}'];
const ENDS: &[char] = &['!', '?', '。', '！', '？', '\u{1}', '—', '…', '→'];

/// What may part items, the outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    Pause,
    Pipe,
    Semicolon,
    Slash,
    Comma,
}

/// A separator at its place.
pub(super) type Mark = (Separator, Range<usize>);

/// Where the sentence or the bracket that a list stands in ends.
pub(super) fn segment_end(text: &str, start: usize) -> usize {
    let mut depth = 0usize;
    let mut closing_quote = None;
    let mut previous = ' ';
    let numbered = text[start..].trim_start().starts_with("1.");
    for (offset, c) in text[start..].char_indices() {
        let at = start + offset;
        let next = text[at + c.len_utf8()..].chars().next();
        if let Some(quote) = closing_quote {
            if c == quote {
                closing_quote = None;
            }
        } else if let Some(quote) = opening_quote(c, previous, &text[at + c.len_utf8()..]) {
            closing_quote = Some(quote);
        } else if OPENING.contains(&c) {
            depth += 1;
        } else if CLOSING.contains(&c) {
            if depth == 0 {
                return at;
            }
            depth -= 1;
        } else if ends_segment(c, next) && !(numbered && c == '.' && previous.is_ascii_digit()) {
            return at;
        }
        previous = c;
    }
    text.len()
}

fn ends_segment(c: char, next: Option<char>) -> bool {
    ENDS.contains(&c)
        || c == '\n'
        || matches!(c, ':' | '：') && next != Some('/')
        || c == '.' && next.is_none_or(char::is_whitespace)
}

/// The quote that closes what a character opens: an apostrophe inside a word opens nothing, nor
/// does a mark that nothing closes.
pub(super) fn opening_quote(c: char, previous: char, rest: &str) -> Option<char> {
    let (_, close) = QUOTES.iter().find(|(open, _)| *open == c)?;
    if matches!(c, '\'' | '’') && previous.is_alphanumeric() && !is_han(previous) {
        return None;
    }
    let length = rest.find(*close)?;
    (length <= 60 && !rest[..length].contains('\n')).then_some(*close)
}

/// The separators outside quotes and brackets.
pub(super) fn marks_in(text: &str, segment: Range<usize>) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let mut depth = 0usize;
    let mut closing_quote = None;
    let mut previous = ' ';
    for (offset, c) in text[segment.clone()].char_indices() {
        let at = segment.start + offset;
        let span = at..at + c.len_utf8();
        if let Some(quote) = closing_quote {
            if c == quote {
                closing_quote = None;
            }
        } else if let Some(quote) = opening_quote(c, previous, &text[span.end..segment.end]) {
            closing_quote = Some(quote);
        } else if OPENING.contains(&c) {
            depth += 1;
        } else if CLOSING.contains(&c) {
            depth = depth.saturating_sub(1);
        } else if depth == 0
            && let Some(separator) = separator_of(c, &text[span.end..])
        {
            marks.push((separator, span));
        }
        previous = c;
    }
    marks
}

fn separator_of(c: char, rest: &str) -> Option<Separator> {
    match c {
        '、' => Some(Separator::Pause),
        '|' | '｜' => Some(Separator::Pipe),
        ';' | '；' => Some(Separator::Semicolon),
        '/' | '／' => Some(Separator::Slash),
        '，' => Some(Separator::Comma),
        // A comma inside a number parts nothing.
        ',' if !rest.starts_with("000") => Some(Separator::Comma),
        _ => None,
    }
}

/// What stands in quotes, the quotes included.
pub(super) fn quoted_spans(content: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut skip_to = 0;
    let mut previous = ' ';
    for (at, c) in content.char_indices() {
        let rest = &content[at + c.len_utf8()..];
        if at >= skip_to
            && let Some(close) = opening_quote(c, previous, rest)
        {
            let end = at + c.len_utf8() + rest.find(close).unwrap_or(rest.len());
            spans.push(at..end + close.len_utf8());
            skip_to = end + close.len_utf8();
        }
        previous = c;
    }
    spans
}
