//! The measures for open answers. Formulas stand in `docs/evaluation.md`.

use autoglm_spec::EngineError;

use super::closed::mean;
use super::confidence::Claim;
use super::gold::Sorted;
use super::interval::wilson_interval;
use super::report::OpenQuality;
use super::samples::{self, Sampled};
use crate::judge::agreement::{Agreement, SamplingPlan};
use crate::row::Row;
use crate::words::{answer_words, shared_words, words};

/// The measures, and each row's confidence and whether it is right by the task's comparison.
pub(super) fn quality(
    sorted: &Sorted<'_>,
    agreement: &Agreement,
    plan: SamplingPlan,
) -> Result<(OpenQuality, Vec<Claim>), EngineError> {
    let pairs: Vec<(&str, &str)> = sorted
        .usable
        .iter()
        .map(|(row, gold)| {
            let answer = row.verdict.as_ref().map_or("", |v| v.answer.as_str());
            (answer, gold.as_str())
        })
        .collect();
    let equal = pairs.iter().filter(|(a, g)| exact_match(a, g)).count();
    let claims = claims(sorted, agreement)?;
    let same = claims.iter().filter(|claim| claim.right).count();
    let of = |measure: fn(&str, &str) -> f64| {
        let values: Vec<f64> = pairs.iter().map(|(a, g)| measure(a, g)).collect();
        mean(&values)
    };
    let confidences = claims.iter().filter_map(|claim| claim.confidence);
    let confidences: Vec<f64> = confidences.map(f64::from).collect();
    let quality = OpenQuality {
        exact_match: equal as f64 / pairs.len() as f64,
        exact_match_interval: wilson_interval(equal, pairs.len()),
        compare: agreement.compare(),
        same_value: same as f64 / pairs.len() as f64,
        same_value_interval: wilson_interval(same, pairs.len()),
        samples: samples::quality(&sampled(sorted), agreement, plan)?,
        token_f1: of(token_f1),
        rouge_l: of(rouge_l),
        mean_confidence: mean(&confidences),
    };
    Ok((quality, claims))
}

fn claims(sorted: &Sorted<'_>, agreement: &Agreement) -> Result<Vec<Claim>, EngineError> {
    let claim = |(row, gold): &(&Row, String)| {
        let answer = row.verdict.as_ref().map(|verdict| verdict.answer.as_str());
        let same = answer
            .map(|answer| agreement.same(answer, gold))
            .transpose()?;
        Ok(Claim {
            confidence: row.verdict.as_ref().map(|verdict| verdict.confidence),
            right: same.unwrap_or(false),
            abstained: row.abstained.is_some(),
        })
    };
    sorted.usable.iter().map(claim).collect()
}

/// The samples of the rows that have any.
fn sampled(sorted: &Sorted<'_>) -> Vec<Sampled> {
    let of_row = |(row, gold): &(&Row, String)| {
        Some(Sampled {
            samples: row.raw.as_ref()?.samples(),
            gold: gold.clone(),
        })
    };
    sorted.usable.iter().filter_map(of_row).collect()
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
