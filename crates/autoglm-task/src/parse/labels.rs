//! Which labels the words name, or which are customary where they name none.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::labels_table::{BOOLEAN, CUSTOMARY, Follow, LEAD_INS, THIRD_WAY};
use super::list::{List, clean, item_at, list_at, list_in};
use super::reading::{Reading, is_han, pattern};

/// Labels with how they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Labels {
    /// The labels' names.
    pub(super) names: Vec<String>,
    /// Where in the text they come from.
    pub(super) span: Range<usize>,
    /// How they were found.
    pub(super) source: Source,
}

/// How labels were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The text announces them, as in `labels: …` or `分为…`; they stand for a classification even
    /// where no verb does.
    Announced,
    /// The text names them in passing.
    Named,
    /// The text asks a question that is answered by yes or no.
    Boolean,
    /// The text names the subject only; these are the usual labels.
    Customary(&'static str),
}

struct Table {
    lead_ins: Vec<(Follow, Regex)>,
    boolean: Vec<Regex>,
    customary: Vec<Regex>,
    third_way: Regex,
    slashed: Regex,
    quoted: Regex,
    or_pair: Regex,
    han_or: Regex,
    colon: Regex,
    or_not: Regex,
    not_a_pair: Regex,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    lead_ins: LEAD_INS
        .iter()
        .map(|(follow, source)| (*follow, pattern(source)))
        .collect(),
    boolean: BOOLEAN.iter().map(|source| pattern(source)).collect(),
    customary: CUSTOMARY.iter().map(|row| pattern(row.1)).collect(),
    third_way: pattern(THIRD_WAY),
    slashed: pattern(
        r"(?:[\w\p{Han}+\-']+(?: [\w+\-']+)?)(?:\s*[/／|｜]\s*[\w\p{Han}+\-']+(?: [\w+\-']+){0,2})+",
    ),
    quoted: pattern(
        r"[“‘「『`'\x22]([^“”‘’「」『』`'\x22\n]{1,30})[”’」』`'\x22]\s*(?:,|，|、|/|\bor\b|\band\b|,\s*or\b|,\s*and\b|或者?|还是|和|与|\|)\s*[“‘「『`'\x22]",
    ),
    or_pair: pattern(r"\b([a-z][\w\-]*|not [a-z]\w*) or (not [a-z][\w\-]*|[a-z][\w\-]*)"),
    han_or: pattern(r"(\p{Han}{1,6})(?:还是|或者?)(\p{Han}{1,6})"),
    colon: pattern(r"[:：]"),
    or_not: pattern(r"\b(?:if|whether|is|are|does|do|has)\b[^.!?\n]*\bor not\s*(?:[?.!,]|$)"),
    not_a_pair: pattern(
        r"^(?:the|a|an|this|these|that|in|on|of|to|one|two|more|less|he|she|it|they|for|by|with|and|at)$",
    ),
});

/// The labels that the text names or asks for, or `None`.
pub(super) fn named(reading: &Reading<'_>) -> Option<Labels> {
    let table = &*TABLE;
    let by_lead_in = table
        .lead_ins
        .iter()
        .find_map(|(follow, lead_in)| lead_in_list(reading, *follow, lead_in));
    by_lead_in
        .or_else(|| quoted(reading))
        .or_else(|| slashed(reading))
        .or_else(|| behind_colon(reading))
        .or_else(|| or_pair(reading))
        .or_else(|| boolean(reading))
}

/// The labels that are usual for the subject of the text, or `None`.
pub(super) fn customary(reading: &Reading<'_>) -> Option<Labels> {
    let table = &*TABLE;
    let rows = CUSTOMARY.iter().zip(&table.customary);
    let (row, hit) = rows.into_iter().find_map(|(row, regex)| {
        let hit = regex.find(&reading.folded)?;
        Some((row, hit))
    })?;
    let (subject, _, english, chinese) = row;
    let labels = if reading.chinese() { chinese } else { english };
    let third = table.third_way.is_match(&reading.folded);
    let names = labels
        .iter()
        .filter(|label| third || !label.starts_with('?'))
        .map(|label| label.trim_start_matches('?').to_owned())
        .collect();
    Some(Labels {
        names,
        span: hit.range(),
        source: Source::Customary(subject),
    })
}

fn lead_in_list(reading: &Reading<'_>, follow: Follow, lead_in: &Regex) -> Option<Labels> {
    lead_in.captures_iter(&reading.folded).find_map(|captures| {
        let whole = captures.get(0)?;
        let group = |index| captures.get(index).map(|group| group.range());
        match follow {
            Follow::Announced => {
                list_at(reading, whole.end()).map(|l| of(reading, l, Source::Announced))
            }
            Follow::List => list_at(reading, whole.end()).map(|l| of(reading, l, Source::Named)),
            Follow::OrList => {
                let before = &reading.folded[..whole.start()];
                let list = list_at(reading, whole.end()).filter(|list| list.joined_by_or)?;
                let last = list.items.last()?.clone();
                if &reading.folded[last] == "not" {
                    return None;
                }
                (!before.ends_with(['还', '不', '但'])).then(|| of(reading, list, Source::Named))
            }
            Follow::Group => list_in(reading, group(1)?).map(|l| of(reading, l, Source::Named)),
            Follow::Pair => pair(reading, group(1)?, group(2)?),
            Follow::Numbers => numbers(reading, group(1)?, group(2)?),
        }
    })
}

fn of(reading: &Reading<'_>, list: List, source: Source) -> Labels {
    let span = list.items.first().map_or(0, |item| item.start)
        ..list.items.last().map_or(0, |item| item.end);
    let mut names: Vec<String> = list
        .items
        .into_iter()
        .map(|item| reading.text(item).to_owned())
        .collect();
    if let Some(last) = names
        .last()
        .filter(|last| *last == "not" || *last == "不是")
    {
        let joint = if last == "not" { "not " } else { "非" };
        let negated = format!("{joint}{}", names[0]);
        names.pop();
        names.push(negated);
    }
    if let [first, second] = names.as_mut_slice()
        && let Some(positive) = negated(first, second)
    {
        positive.clone_into(first);
    }
    Labels {
        names,
        span,
        source,
    }
}

/// The end of a first item that a second item negates: `重要` of `邮件重要` and `不重要`.
fn negated<'a>(first: &str, second: &'a str) -> Option<&'a str> {
    let positives = ["不是", "不", "非", "没有", "没", "无"]
        .iter()
        .filter_map(|not| second.strip_prefix(not));
    let mut fitting = positives.filter(|positive| !positive.is_empty());
    fitting.find(|positive| first.ends_with(positive))
}

fn pair(reading: &Reading<'_>, first: Range<usize>, second: Range<usize>) -> Option<Labels> {
    let span = first.start..second.end;
    let names = [first, second].map(|place| {
        let place = clean(&reading.folded, place);
        reading.text(place).to_owned()
    });
    let [a, b] = &names;
    let distinct = a != b && !a.is_empty() && !b.is_empty();
    distinct.then(|| Labels {
        names: names.to_vec(),
        span,
        source: Source::Named,
    })
}

fn numbers(reading: &Reading<'_>, first: Range<usize>, last: Range<usize>) -> Option<Labels> {
    let span = first.start..last.end;
    let low: u32 = reading.text(first).parse().ok()?;
    let high: u32 = reading.text(last).parse().ok()?;
    let sensible = low < 2 && high > low && high <= 10;
    let rating = pattern_rating(reading);
    (sensible && rating).then(|| Labels {
        names: (low..=high).map(|n| n.to_string()).collect(),
        span,
        source: Source::Named,
    })
}

/// Whether a range of numbers in the text can be a rating.
fn pattern_rating(reading: &Reading<'_>) -> bool {
    static RATING: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"\b(?:rate|rating|score|grade|scale|stars?|rank|points?)\b|评分|打分|评级|打|星|分",
        )
    });
    RATING.is_match(&reading.folded)
}

/// Labels in quotes that a separator parts: the list from the first quote on.
fn quoted(reading: &Reading<'_>) -> Option<Labels> {
    let hit = TABLE.quoted.find(&reading.folded)?;
    list_at(reading, hit.start()).map(|list| of(reading, list, Source::Announced))
}

fn slashed(reading: &Reading<'_>) -> Option<Labels> {
    TABLE.slashed.find_iter(&reading.folded).find_map(|hit| {
        let around = &reading.folded[..hit.start()];
        let is_path = around.ends_with([':', '/', '.', '\\']) || hit.as_str().starts_with("and/or");
        let list = list_in(reading, trim_lead(reading, hit.range()))?;
        let letters = list
            .items
            .iter()
            .all(|item| reading.text(item.clone()).chars().any(char::is_alphabetic));
        (!is_path && letters).then(|| of(reading, list, Source::Announced))
    })
}

/// Cuts what stands before the first label of a slashed list: in English the words before the
/// last, unless all parts have as many.
fn trim_lead(reading: &Reading<'_>, span: Range<usize>) -> Range<usize> {
    let content = &reading.folded[span.clone()];
    let mut parts = content.split(['/', '／', '|', '｜']).map(str::trim);
    let first = parts.next().unwrap_or_default();
    let widest = parts.map(|part| part.split(' ').count()).max().unwrap_or(1);
    match first.rfind(' ') {
        Some(space) if widest < 2 => span.start + space + 1..span.end,
        _ => span,
    }
}

/// The last list behind a colon.
fn behind_colon(reading: &Reading<'_>) -> Option<Labels> {
    let colons: Vec<usize> = TABLE
        .colon
        .find_iter(&reading.folded)
        .map(|hit| hit.end())
        .collect();
    colons.into_iter().rev().find_map(|at| {
        let list = list_at(reading, at)?;
        let short = |item: &Range<usize>| reading.text(item.clone()).split(' ').count() <= 3;
        list.items
            .iter()
            .all(short)
            .then(|| of(reading, list, Source::Announced))
    })
}

/// `X or Y` inside a question, `X还是Y`: the words next to the joint.
fn or_pair(reading: &Reading<'_>) -> Option<Labels> {
    let table = &*TABLE;
    if table.or_not.is_match(&reading.folded) {
        return None;
    }
    let english = table
        .or_pair
        .captures_iter(&reading.folded)
        .find_map(|captures| {
            let (first, second) = (captures.get(1)?, captures.get(2)?);
            let word = |text: &str| !table.not_a_pair.is_match(text);
            (word(first.as_str()) && word(second.as_str()) && first.as_str() != "whether")
                .then(|| pair(reading, first.range(), second.range()))?
        });
    english.or_else(|| han_pair(reading))
}

/// `紧急还是普通`: the second item ends with the clause, the first is as long, and where the second
/// is the first negated, it is what is negated.
fn han_pair(reading: &Reading<'_>) -> Option<Labels> {
    let captures = TABLE.han_or.captures(&reading.folded)?;
    let (before, after) = (captures.get(1)?, captures.get(2)?);
    let second = item_at(reading, after.start())?;
    let second_text = &reading.folded[second.clone()];
    let negated = negated(before.as_str(), second_text);
    let wanted = negated
        .unwrap_or(second_text)
        .chars()
        .filter(|&c| is_han(c))
        .count();
    let chars: Vec<usize> = before.as_str().char_indices().map(|(at, _)| at).collect();
    let from = before.start() + chars[chars.len().checked_sub(wanted)?];
    pair(reading, from..before.end(), second)
}

fn boolean(reading: &Reading<'_>) -> Option<Labels> {
    let hit = TABLE
        .boolean
        .iter()
        .find_map(|regex| regex.find(&reading.folded))?;
    let words = if reading.chinese() {
        ["是", "否"]
    } else {
        ["yes", "no"]
    };
    Some(Labels {
        names: words.map(str::to_owned).to_vec(),
        span: hit.range(),
        source: Source::Boolean,
    })
}
