//! Lines of a page put together to paragraphs: words that were cut at line ends are whole again.

use std::collections::HashSet;

use super::lines::{Line, SOFT_HYPHEN};
use crate::text::is_unspaced;

/// How much further than the usual distance of lines a paragraph is from the next.
const PARAGRAPH_GAP: f32 = 1.35;
/// Letters that are so much larger or smaller are of another paragraph.
const OTHER_SIZE: f32 = 1.15;
/// The part of the widest line that a line takes that was broken for want of room.
const FULL: f32 = 0.85;

/// Words with a hyphen that stand within lines of the document: cut at a line's end they keep it.
pub(super) fn hyphenated(pages: &[Vec<Line>]) -> HashSet<String> {
    let words = pages.iter().flatten().flat_map(|line| line.text.split(' '));
    let inside = words.filter(|word| word.trim_end_matches('-').contains('-'));
    inside.map(|word| bare(word).to_lowercase()).collect()
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// The paragraphs of lines that stand together.
pub(super) fn paragraphs(lines: &[Line], hyphenated: &HashSet<String>) -> Vec<String> {
    let usual = usual_distance(lines);
    let right = lines.iter().map(|line| line.end).fold(f32::MIN, f32::max);
    let mut found: Vec<String> = Vec::new();
    let mut before: Option<&Line> = None;
    for line in lines {
        let last = before.filter(|before| !is_apart(before, line, usual));
        match (found.last_mut(), last) {
            (Some(text), Some(last)) => {
                let is_full = last.end - last.start >= FULL * (right - last.start);
                join(text, &line.text, is_full, hyphenated);
            }
            _ => found.push(line.text.clone()),
        }
        before = Some(line);
    }
    for text in &mut found {
        text.truncate(text.trim_end_matches(SOFT_HYPHEN).len());
    }
    found
}

/// The distance of most lines from the next, in points.
fn usual_distance(lines: &[Line]) -> f32 {
    let pairs = lines.windows(2).filter(|pair| pair[0].turn == pair[1].turn);
    let mut down: Vec<f32> = pairs.map(|pair| pair[0].height - pair[1].height).collect();
    down.retain(|distance| *distance > 0.0);
    down.sort_by(f32::total_cmp);
    // The lower of the two in the middle: paragraphs may be as short as lines.
    down.get(down.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0.0)
}

fn is_apart(a: &Line, b: &Line, usual: f32) -> bool {
    let ratio = a.size.max(b.size) / a.size.min(b.size).max(f32::MIN_POSITIVE);
    let down = a.height - b.height;
    // A line further up stands in the next column, in which a sentence may go on.
    let is_next_column = down < 0.0 && !ends_sentence(&a.text) && ratio <= OTHER_SIZE;
    a.turn != b.turn
        || ratio > OTHER_SIZE
        || down > usual.max(a.size.max(b.size)) * PARAGRAPH_GAP
        || down < 0.0 && !is_next_column
}

pub(super) fn ends_sentence(text: &str) -> bool {
    let text = text.trim_end_matches(['"', '”', '’', ')', '）', '」']);
    text.ends_with(['.', '!', '?', ':', '。', '！', '？', '：'])
}

/// Puts a line behind another one.
fn join(text: &mut String, line: &str, is_full: bool, hyphenated: &HashSet<String>) {
    if text.ends_with(SOFT_HYPHEN) {
        text.pop();
        text.push_str(line);
        return;
    }
    let last = text.chars().next_back().unwrap_or(' ');
    let first = line.chars().next().unwrap_or(' ');
    let is_chinese = |c: char| is_unspaced(c) || is_full_width(c);
    if is_full && is_chinese(last) && is_chinese(first) {
        text.push_str(line);
        return;
    }
    let head = text
        .trim_end_matches('-')
        .rsplit(' ')
        .next()
        .unwrap_or_default();
    let is_cut = last == '-'
        && first.is_lowercase()
        && head.chars().next_back().is_some_and(char::is_lowercase)
        && !text.ends_with("--");
    if is_cut {
        let tail = line.split(' ').next().unwrap_or_default();
        let whole = format!("{head}-{tail}");
        // Addresses are cut behind their own hyphens.
        if !head.contains('/') && !hyphenated.contains(&bare(&whole).to_lowercase()) {
            text.pop();
        }
    } else {
        text.push('\n');
    }
    text.push_str(line);
}

/// Marks of Chinese texts that are as wide as its characters.
fn is_full_width(c: char) -> bool {
    matches!(u32::from(c), 0x3001..=0x301f | 0xff01..=0xff5e)
        || matches!(c, '“' | '”' | '‘' | '’' | '…')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(height: f32, end: f32, text: &str) -> Line {
        Line {
            turn: 0,
            start: 0.0,
            end,
            height,
            size: 10.0,
            text: text.to_owned(),
        }
    }

    fn check(lines: &[(f32, f32, &str)], wanted: &[&str]) {
        let lines: Vec<Line> = lines.iter().map(|(h, e, t)| line(*h, *e, t)).collect();
        let known = hyphenated(std::slice::from_ref(&lines));
        assert_eq!(paragraphs(&lines, &known), wanted);
    }

    #[test]
    fn words_that_were_cut_are_whole_and_hyphens_of_words_stay() {
        check(
            &[
                (90.0, 100.0, "Oil the ma-"),
                (78.0, 100.0, "chine with a well-"),
            ],
            &["Oil the machine with a well-"],
        );
        check(
            &[
                (90.0, 100.0, "See https://a.example/pump-"),
                (78.0, 40.0, "manual."),
            ],
            &["See https://a.example/pump-manual."],
        );
        check(
            &[
                (90.0, 100.0, "A well-known pump is a well-"),
                (78.0, 40.0, "known pump. See -"),
                (66.0, 40.0, "v and --"),
                (54.0, 40.0, "x"),
            ],
            &["A well-known pump is a well-known pump. See -\nv and --\nx"],
        );
    }

    #[test]
    fn a_soft_hyphen_cuts_whatever_stands_around_it() {
        check(
            &[
                (90.0, 100.0, "Effi\u{ad}"),
                (78.0, 100.0, "ciency of PUMP\u{ad}"),
                (66.0, 40.0, "-2 is A\u{ad}"),
                (30.0, 40.0, "Apart"),
            ],
            &["Efficiency of PUMP-2 is A", "Apart"],
        );
    }

    #[test]
    fn chinese_lines_are_one_where_they_were_broken_for_want_of_room() {
        check(
            &[
                (90.0, 100.0, "水泵每个月加一"),
                (78.0, 30.0, "次油。"),
                (66.0, 90.0, "阀门"),
            ],
            &["水泵每个月加一次油。\n阀门"],
        );
    }

    #[test]
    fn gaps_and_columns_part_paragraphs() {
        check(
            &[
                (90.0, 100.0, "One."),
                (78.0, 100.0, "Two"),
                (50.0, 100.0, "three and"),
                (90.0, 200.0, "four."),
                (200.0, 200.0, "Five."),
            ],
            &["One.\nTwo", "three and\nfour.", "Five."],
        );
    }
}
