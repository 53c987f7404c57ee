//! Which source each sentence of an answer rests on.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::compose::is_heading;
use super::coverage::{Wanted, stem, stems};
use super::support::Support;
use crate::passage::{PassageId, Place};
use crate::search::Ranked;
use crate::text::{content_words, sentences, terms};

/// Terms from which on a sentence may go round in circles.
const CIRCLE_TERMS: usize = 16;
/// From so many sentences on that are marks of items and nothing else a model numbers items, and has none.
const COUNTED: usize = 3;
/// What ends the mark of an item.
const MARK_ENDS: [char; 4] = ['.', ')', '）', '、'];
/// What ends a number that is a sentence.
const ENDS: [char; 2] = ['.', '。'];

/// A sentence of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sentence {
    /// The sentence, without marks of citations.
    pub text: String,
    /// What it rests on; none where no source has any of its words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub citation: Option<Citation>,
    /// How far its source bears it out.
    pub support: Support,
    /// Whether that is far enough.
    pub supported: bool,
}

/// A place in a source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Citation {
    /// The number of the source, from 1.
    pub number: usize,
    /// The passage.
    pub passage: PassageId,
    /// Its document.
    pub document: String,
    /// The headings above it.
    pub titles: Vec<String>,
    /// Where the passage is.
    pub place: Place,
    /// The sentence of the passage that has most of what was said.
    pub quote: String,
}

/// The sentences of what a model wrote, each with the source that it rests on: the one that the model
/// names, where that has the sentence's words, else the one that has most of them.
pub(super) fn sentences_of(written: &str, sources: &[Ranked], question: &str) -> Vec<Sentence> {
    let own: Vec<HashSet<String>> = sources
        .iter()
        .map(|source| stems(&source.passage.with_titles()))
        .collect();
    let mut found: Vec<Sentence> = Vec::new();
    for sentence in written_sentences(written) {
        let (text, named) = without_marks(sentence);
        if content_words(&text).is_empty() {
            continue;
        }
        let words = said(&text, question);
        let number = is_number(&text).then(|| compact(text.trim_end_matches(ENDS)));
        let overlap = |at: usize| match &number {
            Some(number) if !compact(&sources[at].passage.text).contains(number) => 0.0,
            _ => share(&words, &own[at]),
        };
        let best = (0..sources.len()).fold(None, |best: Option<usize>, at| match best {
            Some(other) if overlap(other) >= overlap(at) => Some(other),
            _ => Some(at),
        });
        let named = named.filter(|at| *at < sources.len());
        let chosen = named.filter(|at| best.is_some_and(|best| overlap(*at) >= overlap(best)));
        let chosen = chosen.or(best).filter(|at| overlap(*at) > 0.0);
        found.push(Sentence {
            support: Support {
                overlap: chosen.map_or(0.0, overlap),
                gain: None,
            },
            citation: chosen.map(|at| citation(at, &sources[at], (&words, &text))),
            text,
            supported: false,
        });
    }
    found
}

/// The sentences of what a model wrote. Unlike in documents, a line ends one, too; and a line that
/// repeats how a document is headed in the prompt says nothing.
fn written_sentences(written: &str) -> impl Iterator<Item = &str> {
    let lines = written.lines().filter(|line| !is_heading(line));
    lines.flat_map(|line| sentences(line).into_iter().map(move |range| &line[range]))
}

/// The stems that a sentence says beyond what the question said; all of them where it says no more.
fn said(text: &str, question: &str) -> HashSet<String> {
    let all: HashSet<String> = content_words(text).iter().map(|word| stem(word)).collect();
    let asked = stems(question);
    let new: HashSet<String> = all.difference(&asked).cloned().collect();
    if new.is_empty() { all } else { new }
}

fn share(words: &HashSet<String>, own: &HashSet<String>) -> f64 {
    words.intersection(own).count() as f64 / words.len().max(1) as f64
}

/// The place in a source of a sentence that says these words beyond its question. They count twice,
/// so that a sentence that repeats the question is not quoted for one that answers it; of two with as
/// many, the one is quoted that has more of the whole.
fn citation(at: usize, source: &Ranked, (new, text): (&HashSet<String>, &str)) -> Citation {
    let passage = &source.passage;
    let all = stems(text);
    let mut best = (0, passage.text.trim());
    for range in sentences(&passage.text) {
        let sentence = &passage.text[range];
        let own = stems(sentence);
        let shared = |words: &HashSet<String>| words.intersection(&own).count();
        let weight = shared(new) + shared(&all);
        if weight > best.0 {
            best = (weight, sentence);
        }
    }
    Citation {
        number: at + 1,
        passage: passage.id,
        document: passage.document.clone(),
        titles: passage.titles.clone(),
        place: passage.place,
        quote: best.1.to_owned(),
    }
}

/// The sentence of the sources that has most of what is asked for, with its headings, and at least so
/// much: of several the one that has most by itself, and of those the first. One that asks is no
/// answer.
pub(super) fn quoted(wanted: &Wanted, sources: &[Ranked], least: f64) -> Option<Sentence> {
    let mut best: Option<((f64, f64), Sentence)> = None;
    for (at, source) in sources.iter().enumerate() {
        let passage = &source.passage;
        let titles = passage.titles.join(" ");
        for range in sentences(&passage.text) {
            let text = passage.text[range].trim();
            // Headings may have all of the question: of sentences under them the nearest counts.
            let share = wanted.share_in(&format!("{titles}\n{text}"));
            let own = wanted.share_in(text);
            let is_enough = own > 0.0 && share >= least;
            let asks = asks(text);
            let is_better = best.as_ref().is_none_or(|(other, _)| (share, own) > *other);
            if asks || !is_enough || !is_better {
                continue;
            }
            let words = stems(text);
            let sentence = Sentence {
                citation: Some(citation(at, source, (&words, text))),
                text: text.split_whitespace().collect::<Vec<_>>().join(" "),
                support: Support {
                    overlap: 1.0,
                    gain: None,
                },
                supported: true,
            };
            best = Some(((share, own), sentence));
        }
    }
    best.map(|(_, sentence)| sentence)
}

/// Whether a sentence may be an answer: one that asks, goes round in circles, or only announces
/// something is none.
pub(super) fn may_answer(text: &str) -> bool {
    !asks(text) && !goes_round(text) && !text.trim_end().ends_with([':', '：'])
}

fn asks(text: &str) -> bool {
    text.trim_end().ends_with(['?', '？'])
}

/// Whether a model has gone round in circles: it says a few words again and again, or counts.
pub(super) fn goes_round(text: &str) -> bool {
    let all = terms(text);
    let different: HashSet<&String> = all.iter().collect();
    let is_mark = |sentence: &&str| is_number(sentence) && sentence.trim_end().ends_with(MARK_ENDS);
    let numbers = written_sentences(text).filter(is_mark);
    all.len() >= CIRCLE_TERMS && different.len() * 4 <= all.len() || numbers.count() >= COUNTED
}

/// Whether a sentence is a number and nothing else, such as 60 %, 1.1.1 or the mark of an item.
fn is_number(text: &str) -> bool {
    text.contains(char::is_numeric) && !text.contains(char::is_alphabetic)
}

/// A text without its blanks.
fn compact(text: &str) -> String {
    text.split_whitespace().collect()
}

/// A sentence without marks such as `[2]`, and the index of the source that the first one names.
fn without_marks(sentence: &str) -> (String, Option<usize>) {
    let mut text = String::new();
    let mut named = None;
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('[') {
        text.push_str(before);
        match after.split_once(']') {
            Some((number, behind)) if number.parse::<usize>().is_ok_and(|n| n > 0) => {
                named = named.or(number.parse::<usize>().ok().map(|number| number - 1));
                rest = behind;
            }
            _ => {
                text.push('[');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (text.replace(" .", ".").replace(" 。", "。"), named)
}

/// The answer with its citations, each behind the last of the sentences in a row that rest on it.
/// Sentences that nothing bears out are left out.
pub(super) fn render(sentences: &[Sentence]) -> String {
    let mut text = String::new();
    let number = |sentence: &Sentence| sentence.citation.as_ref().map(|citation| citation.number);
    let mut rest = sentences
        .iter()
        .filter(|sentence| sentence.supported)
        .peekable();
    while let Some(sentence) = rest.next() {
        // Behind the marks that end Chinese sentences there is room enough.
        let has_room = |c: char| c.is_whitespace() || "。！？；：…".contains(c);
        if text.chars().next_back().is_some_and(|c| !has_room(c)) {
            text.push(' ');
        }
        text.push_str(&sentence.text);
        let goes_on = rest
            .peek()
            .is_some_and(|next| number(next) == number(sentence));
        if let Some(number) = number(sentence).filter(|_| !goes_on) {
            let _ = write!(text, " [{number}]");
        }
    }
    text
}

/// Whether words of a source are all that a sentence says beyond its question.
pub(crate) fn is_borne_out(sentence: &str, question: &str, source: &[String]) -> bool {
    let own: HashSet<String> = source.iter().map(|word| stem(word)).collect();
    said(sentence, question).is_subset(&own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passage::Within;

    fn sentence(text: &str, number: usize) -> Sentence {
        let place = Place {
            start: 0,
            end: 1,
            within: Within::File,
            line: None,
            page: None,
        };
        Sentence {
            text: text.to_owned(),
            citation: Some(Citation {
                number,
                passage: PassageId(1),
                document: String::new(),
                titles: Vec::new(),
                place,
                quote: String::new(),
            }),
            support: Support {
                overlap: 1.0,
                gain: None,
            },
            supported: true,
        }
    }

    #[test]
    fn sentences_in_a_row_that_rest_on_one_source_name_it_once() {
        let all = [
            sentence("水泵每月加油", 1),
            sentence("阀门用铜钥匙。", 1),
            sentence("Red.", 2),
            sentence("Blue", 2),
            sentence("Green.", 1),
        ];
        assert_eq!(
            render(&all),
            "水泵每月加油 阀门用铜钥匙。 [1] Red. Blue [2] Green. [1]"
        );
    }

    #[test]
    fn what_asks_or_goes_round_in_circles_is_no_answer() {
        for no_answer in ["What is it? ", "什么？", "The command is:", "命令是："] {
            assert!(!may_answer(no_answer), "{no_answer}");
        }
        assert!(may_answer("It is red.") && may_answer("1969"));
        assert!(goes_round(&"10.1.5.1.1".repeat(8)));
        assert!(goes_round(&"and so on ".repeat(10)));
        assert!(goes_round("1.\n2. 3.") && goes_round("1. 1. 1. 2."));
        assert!(
            !goes_round("1. Oil it. 2. Wash it.") && !goes_round("60 %.") && !goes_round("1.5.")
        );
        assert!(!goes_round(
            "Oil the pump every month, and oil the valve every year, or the valve gets stuck."
        ));
    }
}
