//! The measures for open answers. Formulas stand in `docs/evaluation.md`.

use autoglm_spec::Output;
use serde_json::Value;

use super::closed::mean;
use super::gold::Sorted;
use super::interval::wilson_interval;
use super::report::OpenQuality;
use crate::words::{answer_words, shared_words, words};

pub(super) fn quality(output: &Output, sorted: &Sorted<'_>) -> OpenQuality {
    let pairs: Vec<(&str, &str)> = sorted
        .usable
        .iter()
        .map(|(row, gold)| {
            let answer = row.verdict.as_ref().map_or("", |v| v.answer.as_str());
            (answer, gold.as_str())
        })
        .collect();
    let is_right = |(answer, gold): &&(&str, &str)| match output {
        Output::Json { .. } => same_json(answer, gold),
        Output::Labels { .. } | Output::Text { .. } | Output::Code { .. } => {
            exact_match(answer, gold)
        }
    };
    let right = pairs.iter().filter(is_right).count();
    let of = |measure: fn(&str, &str) -> f64| {
        let values: Vec<f64> = pairs.iter().map(|(a, g)| measure(a, g)).collect();
        mean(&values)
    };
    let confidences = sorted
        .usable
        .iter()
        .filter_map(|(row, _)| row.verdict.as_ref());
    let confidences: Vec<f64> = confidences.map(|v| f64::from(v.confidence)).collect();
    OpenQuality {
        exact_match: right as f64 / pairs.len() as f64,
        exact_match_interval: wilson_interval(right, pairs.len()),
        token_f1: of(token_f1),
        rouge_l: of(rouge_l),
        mean_confidence: mean(&confidences),
    }
}

/// Whether two JSON texts hold the same value; fields may stand in any order.
fn same_json(answer: &str, gold: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    value(answer).is_some() && value(answer) == value(gold)
}

/// Whether an answer is the right one but for case, punctuation, articles and blanks.
///
/// # Source
/// Rajpurkar et al. 2016, `SQuAD`, the published evaluation script; characters of scripts that do
/// not separate words count as words.
pub fn exact_match(answer: &str, gold: &str) -> bool {
    answer_words(answer) == answer_words(gold)
}

/// The harmonic mean of precision and recall over the words that answer and right answer share,
/// as often as both have them; 1 where both have none.
///
/// # Source
/// As for [`exact_match`].
pub fn token_f1(answer: &str, gold: &str) -> f64 {
    let (answer, gold) = (answer_words(answer), answer_words(gold));
    if answer.is_empty() || gold.is_empty() {
        return f64::from(u8::from(answer == gold));
    }
    let shared = shared_words(&answer, &gold);
    harmonic(shared, answer.len(), gold.len())
}

/// The harmonic mean of precision and recall over the longest common subsequence of words; 0
/// where one has none.
///
/// # Source
/// Lin 2004, ROUGE, section 3.1 with β = 1.
pub fn rouge_l(answer: &str, gold: &str) -> f64 {
    let (answer, gold) = (words(answer), words(gold));
    harmonic(common_length(&answer, &gold), answer.len(), gold.len())
}

fn harmonic(shared: usize, answer: usize, gold: usize) -> f64 {
    if answer + gold == 0 {
        return 0.0;
    }
    2.0 * shared as f64 / (answer + gold) as f64
}

/// Length of the longest common subsequence, one row of the table at a time.
fn common_length(a: &[String], b: &[String]) -> usize {
    let mut lengths = vec![0; b.len() + 1];
    for left in a {
        let mut diagonal = 0;
        for (place, right) in b.iter().enumerate() {
            let above = lengths[place + 1];
            lengths[place + 1] = if left == right {
                diagonal + 1
            } else {
                above.max(lengths[place])
            };
            diagonal = above;
        }
    }
    lengths[b.len()]
}
