//! What stands on pages beside their text: running heads, page numbers, tables of contents.

use std::collections::HashMap;

use super::lines::Line;

/// Lines at the top and at the bottom of a page that may be running heads.
const EDGE_LINES: usize = 2;
/// Pages on which a line stands that is one.
const PAGES: usize = 3;
/// Points within which it stands at the same height.
const HEIGHT_STEP: f32 = 3.0;

/// Takes away the lines that many pages have at the same height, but for their numbers, what browsers
/// print above and below pages, and the lines of tables of contents.
pub(super) fn remove(pages: &mut [Vec<Line>]) {
    remove_prints(pages);
    let mut counts: HashMap<(String, i32), usize> = HashMap::new();
    for page in pages.iter() {
        for at in edges(page) {
            *counts.entry(key(&page[at])).or_default() += 1;
        }
    }
    for page in pages.iter_mut() {
        let repeated: Vec<usize> = edges(page)
            .into_iter()
            .filter(|at| counts.get(&key(&page[*at])).is_some_and(|n| *n >= PAGES))
            .collect();
        let mut at = 0;
        page.retain(|_| {
            at += 1;
            !repeated.contains(&(at - 1))
        });
        remove_contents(page);
    }
}

/// Browsers print the title, the time, the address and the page of so many in the highest and the
/// lowest line. Both together are told by the last three, even on a single page.
fn remove_prints(pages: &mut [Vec<Line>]) {
    let count = pages.len();
    for (number, page) in (1..).zip(pages) {
        // Of a page without a line between them both may be text.
        if page.len() < 3 {
            continue;
        }
        let by_height = |a: &&Line, b: &&Line| a.height.total_cmp(&b.height);
        let ends = (page.iter().max_by(by_height), page.iter().min_by(by_height));
        let (Some(top), Some(bottom)) = ends else {
            continue;
        };
        let both = format!("{} {}", top.text, bottom.text);
        let has_page = names_page(&both, number, count);
        if has_page && both.contains("://") && has_clock(&both) {
            let heights = [top.height, bottom.height];
            page.retain(|line| !heights.contains(&line.height));
        }
    }
}

/// Whether a text has the words 2/3, or 2 of 3, which a date is not.
fn names_page(text: &str, number: usize, count: usize) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (joined, number, count) = (
        format!("{number}/{count}"),
        number.to_string(),
        count.to_string(),
    );
    words.contains(&joined.as_str())
        || words
            .windows(3)
            .any(|w| w == [number.as_str(), "of", count.as_str()])
}

/// Whether a text has a time of the day, such as 9:05.
fn has_clock(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .windows(4)
        .any(|w| w[1] == b':' && [w[0], w[2], w[3]].iter().all(u8::is_ascii_digit))
}

/// The highest and the lowest lines of a page.
fn edges(page: &[Line]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..page.len()).collect();
    order.sort_by(|a, b| page[*b].height.total_cmp(&page[*a].height));
    // Of a page with few lines most are text.
    let edge = EDGE_LINES.min((order.len() + 2) / 4);
    order.drain(edge..order.len() - edge);
    order
}

/// What is the same of a running head on all pages: its words, and where it stands.
fn key(line: &Line) -> (String, i32) {
    let words = line.text.split_whitespace().map(|word| {
        let is_number = word.chars().any(|c| c.is_ascii_digit()) || is_roman(word);
        if is_number { "#" } else { word }
    });
    let height = (line.height / HEIGHT_STEP).round() as i32;
    (words.collect::<Vec<_>>().join(" "), height)
}

fn is_roman(word: &str) -> bool {
    word.chars().all(|c| "ivxlc".contains(c)) || word.chars().all(|c| "IVXLC".contains(c))
}

/// A page of which most lines lead with dots to the number of a page is a table of contents.
fn remove_contents(page: &mut Vec<Line>) {
    let leading = page.iter().filter(|line| has_leader(&line.text)).count();
    if leading * 2 >= page.len() {
        page.clear();
    } else {
        page.retain(|line| !has_leader(&line.text));
    }
}

/// Whether a line ends in dots that lead to a number, or to nothing.
pub(in super::super) fn has_leader(line: &str) -> bool {
    let rest = line.trim_end();
    let rest = rest
        .trim_end_matches(|c: char| c.is_ascii_alphanumeric())
        .trim_end_matches([' ', '|']);
    let tail = rest
        .chars()
        .rev()
        .take_while(|c| matches!(c, '.' | '…' | '·' | ' ' | '|'));
    let dots: usize = tail
        .map(|c| usize::from(c == '.') + 2 * usize::from(matches!(c, '…' | '·')))
        .sum();
    dots >= 5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(height: f32, text: &str) -> Line {
        Line {
            turn: 0,
            start: 0.0,
            end: 100.0,
            height,
            size: 10.0,
            text: text.to_owned(),
        }
    }

    fn texts(pages: &[Vec<Line>]) -> Vec<Vec<&str>> {
        pages
            .iter()
            .map(|page| page.iter().map(|line| line.text.as_str()).collect())
            .collect()
    }

    #[test]
    fn heads_and_numbers_of_pages_are_no_text() {
        let page = |number: &str, text: &str| {
            let head = line(800.0, &format!("Pumps {number} / 9"));
            vec![
                head,
                line(700.0, text),
                line(680.0, "And so on."),
                line(40.0, number),
            ]
        };
        let mut pages = vec![
            page("1", "Oil it."),
            page("2", "Wash it."),
            page("iii", "Dry it."),
        ];
        remove(&mut pages);
        let wanted = ["Oil it.", "Wash it.", "Dry it."].map(|text| vec![text, "And so on."]);
        assert_eq!(texts(&pages), wanted);
    }

    #[test]
    fn what_a_browser_prints_around_a_page_is_no_text() {
        let page = |top: &str, bottom: &str| {
            let text = line(400.0, "Open at 9:05, see https://pumps.example/ 1/1.");
            vec![line(800.0, top), text, line(20.0, bottom)]
        };
        for (top, bottom) in [
            ("11/28/26, 1:22 PM | Pumps", "file:///pumps.html | 1/1"),
            ("Pumps https://pumps.example/", "1 of 1 28.11.26, 13:22"),
        ] {
            let mut pages = vec![page(top, bottom)];
            remove(&mut pages);
            assert_eq!(
                texts(&pages),
                [["Open at 9:05, see https://pumps.example/ 1/1."]]
            );
        }
        let short = vec![
            line(800.0, "1/1 9:05"),
            line(20.0, "https://pumps.example/"),
        ];
        for text in [
            page("Pumps", "Oil them at 9:05."),
            page("11/12/26, 1:22 PM", "https://pumps.example/"),
            short,
        ] {
            let mut pages = vec![text.clone()];
            remove(&mut pages);
            assert_eq!(pages, [text]);
        }
    }

    #[test]
    fn lines_that_two_pages_have_or_that_stand_elsewhere_are_text() {
        let page = |number: u8, height: f32| {
            let step = line(height, &format!("Step {number}"));
            vec![
                step,
                line(
                    300.0,
                    &format!("Text {}.", "and so on ".repeat(usize::from(number))),
                ),
            ]
        };
        let mut pages = vec![page(1, 800.0), page(2, 700.0), page(3, 600.0)];
        pages[2].remove(1);
        let before = pages.clone();
        remove(&mut pages);
        assert_eq!(pages, before);
    }

    #[test]
    fn contents_lead_with_dots() {
        for (text, wanted) in [
            ("1.1 Pumps . . . . . . . . 12", true),
            ("1.1 水泵 ………… 12", true),
            ("Pumps ............ xii", true),
            ("It waits ... and stops.", false),
            ("Version 1.2.3", false),
        ] {
            assert_eq!(has_leader(text), wanted, "{text}");
        }
        let contents = "Oil . . . . . 3";
        let mut pages = vec![vec![line(9.0, "Contents"), line(8.0, contents)]];
        remove(&mut pages);
        assert_eq!(pages, [vec![]]);
    }
}
