//! The measures for open answers. Formulas stand in `docs/evaluation.md`.

use std::collections::BTreeMap;

use autoglm_spec::Output;
use serde_json::Value;

use super::closed::mean;
use super::gold::Sorted;
use super::interval::wilson_interval;
use super::report::OpenQuality;

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
pub(super) fn same_json(answer: &str, gold: &str) -> bool {
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
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for word in &gold {
        *left.entry(word).or_default() += 1;
    }
    let mut shared = 0;
    for word in &answer {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
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

/// Words as question answering compares them: punctuation is deleted, articles are left out.
fn answer_words(text: &str) -> Vec<String> {
    let bare: String = text
        .chars()
        .filter(|c| c.is_alphanumeric() || c.is_whitespace())
        .collect();
    let mut words = words(&bare);
    words.retain(|word| !matches!(word.as_str(), "a" | "an" | "the"));
    words
}

/// Runs of letters and digits in lower case; each character of Chinese, Japanese kana and the
/// like alone.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut run = String::new();
    for c in text.to_lowercase().chars() {
        if c.is_alphanumeric() && !stands_alone(c) {
            run.push(c);
            continue;
        }
        if !run.is_empty() {
            words.push(std::mem::take(&mut run));
        }
        if c.is_alphanumeric() {
            words.push(c.to_string());
        }
    }
    if !run.is_empty() {
        words.push(run);
    }
    words
}

/// Whether a character belongs to a script that does not separate words: kana and CJK ideographs.
fn stands_alone(c: char) -> bool {
    matches!(u32::from(c),
        0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}
