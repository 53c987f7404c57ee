//! How much of what a question asks stands in passages: whether an answer can be expected at all.

use crate::RetrieveError;
use crate::search::Ranked;
use crate::store::Store;
use crate::text::{content_words, is_unspaced};

/// Letters at the front of a word that are its own; what follows inflects it.
const STEM_CHARS: usize = 5;
/// Endings that inflect short words, and bytes that must be left of one.
const ENDINGS: [&str; 4] = ["ing", "ed", "es", "s"];
const LEAST_BYTES: usize = 3;

/// The largest part of a question's words that one passage has, each word counting as much as it is
/// rare in the collection; from 0 to 1.
///
/// # Errors
/// A store that fails.
pub fn coverage(store: &dyn Store, question: &str, found: &[Ranked]) -> Result<f64, RetrieveError> {
    let words = asked(question);
    let counts = store.frequencies(&words)?;
    let all = store.about()?.passages as f64;
    let weights: Vec<f64> = counts
        .into_iter()
        .map(|count| (1.0 + all / (count as f64 + 0.5)).ln())
        .collect();
    let total: f64 = weights.iter().sum();
    let covered = found.iter().map(|ranked| {
        let own = stems(&ranked.passage.with_titles());
        let both = words.iter().zip(&weights);
        both.filter(|(word, _)| own.contains(&stem(word)))
            .map(|(_, weight)| weight)
            .sum::<f64>()
    });
    Ok(if total > 0.0 {
        covered.fold(0.0, f64::max) / total
    } else {
        0.0
    })
}

/// The words that a question is about; of Chinese the pairs alone, which say more than characters.
fn asked(question: &str) -> Vec<String> {
    let words = content_words(question);
    let says_more = |word: &String| {
        let mut characters = word.chars();
        !characters.next().is_some_and(is_unspaced) || characters.next().is_some()
    };
    if words.iter().any(says_more) {
        words.into_iter().filter(says_more).collect()
    } else {
        words
    }
}

/// The stems of a text's words.
pub(super) fn stems(text: &str) -> std::collections::HashSet<String> {
    crate::text::terms(text)
        .iter()
        .map(|word| stem(word))
        .collect()
}

/// The beginning of a word without the endings that inflect it, by which its forms are the same.
pub(super) fn stem(word: &str) -> String {
    let ending = ENDINGS
        .iter()
        .find(|ending| word.len() >= ending.len() + LEAST_BYTES && word.ends_with(**ending));
    let word = &word[..word.len() - ending.map_or(0, |ending| ending.len())];
    word.chars().take(STEM_CHARS).collect()
}
