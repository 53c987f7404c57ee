//! How much of what a question asks stands in passages: whether an answer can be expected at all.

use std::collections::HashSet;

use crate::RetrieveError;
use crate::search::Ranked;
use crate::store::Store;
use crate::text::{content_words, is_unspaced, terms};

/// Letters at the front of a word that are its own; what follows inflects it.
const STEM_CHARS: usize = 5;
/// Endings that inflect short words, and bytes that must be left of one.
const ENDINGS: [&str; 4] = ["ing", "ed", "es", "s"];
const LEAST_BYTES: usize = 3;
/// Passages of other texts that every collection is thought to stand among, and in how many of them
/// a word is that says something. A few passages tell little of how rare a word is: that a word is in
/// none of five does not make it rarer than one that is in two, and that it is in none of a thousand
/// does.
const OTHER_PASSAGES: f64 = 100.0;
const OTHERS_WITH_A_WORD: f64 = 1.0;
/// Behind these words stands what kind of thing is asked for: "what colour", "which city".
const ASKING: [&str; 2] = ["what", "which"];

/// The part of a question's words that each passage has, each word counting as much as it is rare;
/// from 0 to 1. A word for the kind of thing that is asked for counts only where it is there: an
/// answer is red, and need not say that this is a colour.
///
/// # Errors
/// A store that fails.
pub fn coverage(
    store: &dyn Store,
    question: &str,
    found: &[Ranked],
) -> Result<Vec<f64>, RetrieveError> {
    let wanted = Wanted::of(store, question)?;
    let shares = found.iter().map(|ranked| wanted.share_of(ranked));
    Ok(shares.collect())
}

/// What a question asks for.
pub(super) struct Wanted {
    /// Its words, with how rare each is.
    words: Vec<(String, f64)>,
    kinds: HashSet<String>,
}

impl Wanted {
    pub(super) fn of(store: &dyn Store, question: &str) -> Result<Self, RetrieveError> {
        let words = asked(question);
        let weights = weights(store, &words)?;
        Ok(Self {
            words: words.into_iter().zip(weights).collect(),
            kinds: kinds(question),
        })
    }

    /// The part of it that a passage has with its headings; see [`coverage`].
    pub(super) fn share_of(&self, ranked: &Ranked) -> f64 {
        self.share_in(&ranked.passage.with_titles())
    }

    /// The part of it that a text has.
    pub(super) fn share_in(&self, text: &str) -> f64 {
        let own = stems(text);
        let (mut covered, mut all) = (0.0, 0.0);
        for (word, weight) in &self.words {
            if own.contains(&stem(word)) {
                covered += weight;
                all += weight;
            } else if !self.kinds.contains(word) {
                all += weight;
            }
        }
        if all > 0.0 { covered / all } else { 0.0 }
    }
}

/// How rare each word is, as a logarithm.
fn weights(store: &dyn Store, words: &[String]) -> Result<Vec<f64>, RetrieveError> {
    let counts = store.frequencies(words)?;
    let all = store.about()?.passages as f64 + OTHER_PASSAGES;
    let weight = |count: usize| (1.0 + all / (count as f64 + OTHERS_WITH_A_WORD + 0.5)).ln();
    Ok(counts.into_iter().map(weight).collect())
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

/// The words that say what kind of thing is asked for.
fn kinds(question: &str) -> HashSet<String> {
    let terms = terms(question);
    let pairs = terms.windows(2);
    pairs
        .filter(|pair| ASKING.contains(&pair[0].as_str()))
        .map(|pair| pair[1].clone())
        .collect()
}

/// The stems of a text's words.
pub(super) fn stems(text: &str) -> HashSet<String> {
    terms(text).iter().map(|word| stem(word)).collect()
}

/// The beginning of a word without the endings that inflect it, by which its forms are the same:
/// `close`, `closes` and `closed`, `study` and `studies`, `stop` and `stopped`.
pub(super) fn stem(word: &str) -> String {
    let ending = ENDINGS
        .iter()
        .find(|ending| word.len() >= ending.len() + LEAST_BYTES && word.ends_with(**ending));
    let mut stem = &word[..word.len() - ending.map_or(0, |ending| ending.len())];
    if stem.len() > LEAST_BYTES {
        stem = stem.strip_suffix(['e', 'i', 'y']).unwrap_or(stem);
    }
    if ending.is_some() && stem.len() > LEAST_BYTES && ends_twice(stem) {
        stem = &stem[..stem.len() - 1];
    }
    stem.chars().take(STEM_CHARS).collect()
}

/// Whether a word ends in the same ASCII letter twice.
fn ends_twice(word: &str) -> bool {
    matches!(word.as_bytes(), [.., a, b] if a == b && a.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for forms in [
            &["close", "closes", "closed", "closing"][..],
            &["study", "studies", "studied", "studying"],
            &["stop", "stops", "stopped", "stopping"],
            &["member", "members", "membership"],
        ] {
            let stems: HashSet<String> = forms.iter().map(|form| stem(form)).collect();
            assert_eq!(stems.len(), 1, "{forms:?}: {stems:?}");
        }
        assert_ne!(stem("oil"), stem("oak"));
        assert_eq!(stem("水泵"), "水泵");
    }

    #[test]
    fn kinds_stand_behind_what_and_which() {
        let kinds = kinds("What colour is it, and in which city does the pump stand?");
        assert_eq!(kinds, ["colour", "city"].map(str::to_owned).into());
    }
}
