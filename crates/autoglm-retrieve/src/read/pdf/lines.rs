//! Lines of a page: runs that stand beside each other, with blanks where there are gaps.

use unicode_normalization::char::decompose_compatible;

use super::page::Run;
use crate::text::is_unspaced;

/// Parts of a letter's size. Runs within `SAME_HEIGHT` of each other are on one line, raised numbers of
/// notes among them.
const SAME_HEIGHT: f32 = 0.45;
/// A gap that is a blank between words; blanks themselves are 0.2 to 0.3 wide, letters that are set
/// closer or wider than usual are less than 0.1 away from where they should be.
const WORD_GAP: f32 = 0.15;
/// A gap between Chinese characters that is one, which are set apart to fill lines.
const WIDE_GAP: f32 = 0.6;
/// A gap that is one between cells of a table.
const CELL_GAP: f32 = 3.0;
/// How far a run may reach back into the one before it and still go on with its line: marks of Chinese
/// texts are set half as wide as they are.
const OVERLAP: f32 = 0.7;
const HYPHENS: [char; 3] = ['-', '\u{2010}', '\u{2011}'];
/// Shows where a word may be cut, and is only seen at the end of a line.
pub(super) const SOFT_HYPHEN: char = '\u{ad}';

/// A line of a page.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) turn: u8,
    pub(super) start: f32,
    pub(super) end: f32,
    pub(super) height: f32,
    pub(super) size: f32,
    pub(super) text: String,
}

/// The lines of a page in the order in which they are drawn.
pub(super) fn lines(runs: &[Run]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut last: Option<&Run> = None;
    for run in runs {
        if last.is_some_and(|last| is_drawn_twice(last, run)) {
            continue;
        }
        match lines.last_mut().filter(|line| goes_on(line, run)) {
            Some(line) => append(line, run),
            None => lines.push(Line {
                turn: run.turn,
                start: run.start,
                end: run.end,
                height: run.height,
                size: run.size,
                text: run.text.clone(),
            }),
        }
        last = Some(run);
    }
    for line in &mut lines {
        line.text = plain(&line.text);
    }
    lines.retain(|line| !line.text.is_empty());
    lines
}

/// Bold letters are drawn twice by some programs, a little apart.
fn is_drawn_twice(last: &Run, run: &Run) -> bool {
    let near = |a: f32, b: f32| (a - b).abs() < 0.1 * run.size;
    last.text == run.text
        && !run.text.trim().is_empty()
        && last.turn == run.turn
        && near(last.start, run.start)
        && near(last.height, run.height)
}

fn goes_on(line: &Line, run: &Run) -> bool {
    let size = line.size.max(run.size);
    line.turn == run.turn
        && (line.height - run.height).abs() <= SAME_HEIGHT * size
        && run.start >= line.end - OVERLAP * size
}

fn append(line: &mut Line, run: &Run) {
    let gap = (run.start - line.end) / line.size.max(run.size).max(f32::MIN_POSITIVE);
    let before = line.text.chars().next_back().unwrap_or(' ');
    let after = run.text.chars().next().unwrap_or(' ');
    let least = if is_unspaced(before) && is_unspaced(after) {
        WIDE_GAP
    } else {
        WORD_GAP
    };
    if gap > CELL_GAP {
        line.text.push_str(" | ");
    } else if gap > least && before != ' ' && after != ' ' {
        line.text.push(' ');
    }
    if run.size > line.size {
        // A line that begins with a raised number is as high as what follows.
        (line.size, line.height) = (run.size, run.height);
    }
    line.text.push_str(&run.text);
    line.end = line.end.max(run.end);
}

/// A line as people would type it: letters that fonts draw as one are two, Chinese characters are not
/// the radicals that look like them, hyphens are those of keyboards, and blanks are one each. A soft
/// hyphen stays at the end, where it shows that a word is cut; some programs draw another one behind.
fn plain(text: &str) -> String {
    let text = text.trim_end();
    let is_cut = |text: &&str| text.ends_with(SOFT_HYPHEN);
    let text = text.strip_suffix(HYPHENS).filter(is_cut).unwrap_or(text);
    let mut plain = String::with_capacity(text.len());
    for (place, c) in text.char_indices() {
        match c {
            SOFT_HYPHEN if place + c.len_utf8() == text.len() => plain.push(c),
            '\u{2010}' | '\u{2011}' => plain.push('-'),
            SOFT_HYPHEN | '\u{200b}' | '\u{feff}' => {}
            '\u{fb00}'..='\u{fb06}' | '\u{2f00}'..='\u{2fd5}' => {
                decompose_compatible(c, |part| plain.push(part));
            }
            _ if c.is_whitespace() || c.is_control() => {
                if !plain.ends_with(' ') {
                    plain.push(' ');
                }
            }
            _ => plain.push(c),
        }
    }
    plain.trim().to_owned()
}
