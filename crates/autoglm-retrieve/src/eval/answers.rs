//! How good answers are, and what they rest on.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Asked, Estimate, estimate};
use crate::answer::Answer;
use crate::text::{is_unspaced, terms};

/// A question with what was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered<'a> {
    /// The question.
    pub asked: &'a Asked,
    /// The answer.
    pub answer: Answer,
}

/// How good answers are. Where nothing was answered, what is measured of answers is 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerReport {
    /// Questions.
    pub questions: usize,
    /// The share of questions that were refused.
    pub refused: Estimate,
    /// The share of questions whose answer is a right one, word for word.
    pub exact_match: Estimate,
    /// The overlap of words with the nearest right answer; a refusal has none.
    pub f1: Estimate,
    /// The same over the questions that were answered.
    pub f1_answered: Estimate,
    /// The share of citations whose number is that of a source.
    pub citations_resolved: Estimate,
    /// The share of citations whose passage has every word of the sentence that cites it.
    pub citations_bear_out: Estimate,
    /// The share of citations of the passage that the question is about.
    pub citation_precision: Estimate,
    /// The share of answered questions of which an answer cites the passage they are about.
    pub citation_recall: Estimate,
}

/// How good answers are that rest on nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClosedBookReport {
    /// Questions.
    pub questions: usize,
    /// The share of questions whose answer is a right one, word for word.
    pub exact_match: Estimate,
    /// The overlap of words with the nearest right answer.
    pub f1: Estimate,
}

/// Measures what was said to questions without any document.
pub fn measure_closed_book(said: &[(&Asked, String)]) -> ClosedBookReport {
    let scores = |score: &dyn Fn(&str, &str) -> f64| {
        let best = said.iter().map(|(asked, text)| nearest(asked, text, score));
        estimate(&best.collect::<Vec<f64>>())
    };
    ClosedBookReport {
        questions: said.len(),
        exact_match: scores(&exact_match),
        f1: scores(&token_f1),
    }
}

/// Measures answers.
pub fn measure_answers(answered: &[Answered<'_>]) -> AnswerReport {
    let given: Vec<&Answered<'_>> = answered
        .iter()
        .filter(|answered| answered.answer.refused.is_none())
        .collect();
    let share = |values: Vec<bool>| {
        let values: Vec<f64> = values.into_iter().map(|v| f64::from(u8::from(v))).collect();
        estimate(&values)
    };
    let scores = |score: &dyn Fn(&str, &str) -> f64| -> Vec<f64> {
        answered
            .iter()
            .map(|answered| best(answered, score))
            .collect()
    };
    let f1_answered: Vec<f64> = given
        .iter()
        .map(|answered| best(answered, &token_f1))
        .collect();
    let citations: Vec<Cited> = given.iter().flat_map(|answered| cited(answered)).collect();
    let of_citations = |value: fn(&Cited) -> bool| share(citations.iter().map(value).collect());
    let is_cited = |answered: &&Answered<'_>| cited(answered).iter().any(|cited| cited.is_gold);
    AnswerReport {
        questions: answered.len(),
        refused: share(
            answered
                .iter()
                .map(|a| a.answer.refused.is_some())
                .collect(),
        ),
        exact_match: estimate(&scores(&exact_match)),
        f1: estimate(&scores(&token_f1)),
        f1_answered: estimate(&f1_answered),
        citations_resolved: of_citations(|cited| cited.resolves),
        citations_bear_out: of_citations(|cited| cited.bears_out),
        citation_precision: of_citations(|cited| cited.is_gold),
        citation_recall: share(given.iter().map(is_cited).collect()),
    }
}

/// What is to be said of a citation.
#[derive(Clone, Copy)]
struct Cited {
    resolves: bool,
    bears_out: bool,
    is_gold: bool,
}

fn cited(answered: &Answered<'_>) -> Vec<Cited> {
    let Answer {
        sentences, sources, ..
    } = &answered.answer;
    let shown = sentences.iter().filter(|sentence| sentence.supported);
    let cited = shown.filter_map(|sentence| {
        let citation = sentence.citation.as_ref()?;
        let source = sources.get(citation.number - 1);
        let source = source.filter(|source| source.passage.id == citation.passage);
        let words = source
            .map(|source| terms(&source.passage.with_titles()))
            .unwrap_or_default();
        Some(Cited {
            resolves: source.is_some(),
            bears_out: crate::answer::is_borne_out(
                &sentence.text,
                &answered.asked.question,
                &words,
            ),
            is_gold: source.is_some_and(|source| {
                source.passage.record.as_deref() == Some(answered.asked.passage.as_str())
            }),
        })
    });
    cited.collect()
}

/// The score of an answer against the right one that it is nearest to.
fn best(answered: &Answered<'_>, score: &dyn Fn(&str, &str) -> f64) -> f64 {
    if answered.answer.refused.is_some() {
        return 0.0;
    }
    nearest(answered.asked, &without_citations(&answered.answer), score)
}

/// The score of a text against the right answer that it is nearest to.
fn nearest(asked: &Asked, text: &str, score: &dyn Fn(&str, &str) -> f64) -> f64 {
    let scores = asked.answers.iter().map(|right| score(text, right));
    scores.fold(0.0, f64::max)
}

fn without_citations(answer: &Answer) -> String {
    let shown = answer
        .sentences
        .iter()
        .filter(|sentence| sentence.supported);
    shown
        .map(|sentence| sentence.text.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether an answer is the right one but for case, punctuation and articles: 1 or 0.
pub fn exact_match(answer: &str, right: &str) -> f64 {
    f64::from(u8::from(tokens(answer) == tokens(right)))
}

/// The harmonic mean of the parts of an answer's and of the right one's words that the other has.
///
/// # Source
/// Rajpurkar et al. 2016, `SQuAD`, §6.1; Chinese characters count as words.
pub fn token_f1(answer: &str, right: &str) -> f64 {
    let (answer, right) = (tokens(answer), tokens(right));
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for token in &right {
        *left.entry(token).or_default() += 1;
    }
    let mut shared = 0;
    for token in &answer {
        if let Some(count) = left.get_mut(token.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    if shared == 0 {
        return f64::from(u8::from(answer == right));
    }
    2.0 * f64::from(shared) / (answer.len() + right.len()) as f64
}

/// Words without articles, and Chinese characters.
fn tokens(text: &str) -> Vec<String> {
    let is_token = |term: &String| {
        let is_pair = term.chars().next().is_some_and(is_unspaced) && term.chars().nth(1).is_some();
        !is_pair && !["a", "an", "the"].contains(&term.as_str())
    };
    terms(text).into_iter().filter(is_token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_as_squad_compares_them() {
        assert_eq!(exact_match("The Denver Broncos.", "denver broncos"), 1.0);
        assert_eq!(exact_match("Denver", "Denver Broncos"), 0.0);
        assert!((token_f1("the Denver team", "Denver Broncos") - 0.5).abs() < 1e-12);
        assert_eq!(token_f1("水泵", "水泵房"), 0.8);
        assert_eq!((token_f1("x", "y"), token_f1("", "")), (0.0, 1.0));
        assert!((token_f1("a b b", "b c") - 0.5).abs() < 1e-12);
    }

    #[test]
    fn what_rests_on_nothing_is_measured_by_its_words() {
        let asked = Asked {
            question: "How often?".to_owned(),
            answers: vec!["monthly".to_owned(), "every month".to_owned()],
            passage: "0".to_owned(),
        };
        let said = [
            (&asked, "Every month.".to_owned()),
            (&asked, "every year".to_owned()),
            (&asked, String::new()),
        ];
        let report = measure_closed_book(&said);
        assert_eq!(report.questions, 3);
        assert!((report.exact_match.mean - 1.0 / 3.0).abs() < 1e-12);
        assert!((report.f1.mean - 0.5).abs() < 1e-12);
    }
}
