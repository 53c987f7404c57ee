//! How well texts match the words of another one.

use std::collections::{BTreeMap, BTreeSet};

use crate::words::stands_alone;

/// How fast further occurrences of a word count less.
const SATURATION: f64 = 1.2;
/// How far long texts are held against their words.
const LENGTH_SHARE: f64 = 0.75;

/// Texts by their terms.
///
/// # Source
/// Robertson, Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond, section 3.4,
/// with the inverse document frequency of Lucene, `ln(1 + (N − n + ½)/(n + ½))`, which is above 0.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// The texts of each term, by their places, with how often it occurs there.
    postings: BTreeMap<String, Vec<(usize, f64)>>,
    lengths: Vec<f64>,
    mean_length: f64,
    sets: Vec<BTreeSet<String>>,
}

impl Index {
    /// Indexes texts, each as its terms.
    pub(super) fn new(texts: Vec<Vec<String>>) -> Self {
        let lengths: Vec<f64> = texts.iter().map(|terms| terms.len() as f64).collect();
        let mut postings: BTreeMap<String, Vec<(usize, f64)>> = BTreeMap::new();
        for (place, terms) in texts.iter().enumerate() {
            let mut counts: BTreeMap<&String, f64> = BTreeMap::new();
            for term in terms {
                *counts.entry(term).or_default() += 1.0;
            }
            for (term, count) in counts {
                let places = postings.entry(term.clone()).or_default();
                places.push((place, count));
            }
        }
        Self {
            mean_length: lengths.iter().sum::<f64>() / lengths.len().max(1) as f64,
            postings,
            lengths,
            sets: texts.into_iter().map(BTreeSet::from_iter).collect(),
        }
    }

    /// How well each text matches; 0 where it shares no term.
    pub(super) fn scores(&self, terms: &[String]) -> Vec<f64> {
        let mut scores = vec![0.0; self.lengths.len()];
        let all = self.lengths.len() as f64;
        for term in BTreeSet::from_iter(terms) {
            let places = self.postings.get(term).map_or(&[][..], Vec::as_slice);
            let with = places.len() as f64;
            let rarity = (1.0 + (all - with + 0.5) / (with + 0.5)).ln();
            for &(place, count) in places {
                let length = self.lengths[place] / self.mean_length;
                let held = SATURATION * (1.0 - LENGTH_SHARE + LENGTH_SHARE * length);
                scores[place] += rarity * count * (SATURATION + 1.0) / (count + held);
            }
        }
        scores
    }

    /// The share of the terms of two texts that both have (Jaccard).
    pub(super) fn likeness(&self, a: usize, b: usize) -> f64 {
        let (a, b) = (&self.sets[a], &self.sets[b]);
        let shared = a.intersection(b).count();
        let all = a.len() + b.len() - shared;
        if all == 0 {
            return 1.0;
        }
        shared as f64 / all as f64
    }
}

/// The terms of a text: runs of letters and digits in lower case; of scripts without blanks between
/// words every two neighbours, and a character that stands alone.
pub(super) fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut run = Run::default();
    for c in text.chars().flat_map(char::to_lowercase) {
        let is_letter = c.is_alphanumeric();
        let is_wide = is_letter && stands_alone(c);
        if !is_letter || is_wide != run.is_wide {
            run.end(&mut terms);
            run.is_wide = is_wide;
        }
        if is_letter {
            run.text.push(c);
        }
    }
    run.end(&mut terms);
    terms
}

/// Letters of one sort behind each other.
#[derive(Default)]
struct Run {
    text: String,
    is_wide: bool,
}

impl Run {
    fn end(&mut self, terms: &mut Vec<String>) {
        let text = std::mem::take(&mut self.text);
        let letters: Vec<char> = text.chars().collect();
        if self.is_wide && letters.len() > 1 {
            terms.extend(letters.windows(2).map(String::from_iter));
        } else if !text.is_empty() {
            terms.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_terms_and_so_are_two_chinese_characters() {
        assert_eq!(terms("The Café, No. 7!"), ["the", "café", "no", "7"]);
        assert_eq!(terms("质量很好，棒"), ["质量", "量很", "很好", "棒"]);
        assert_eq!(terms("用USB充电"), ["用", "usb", "充电"]);
        assert_eq!(terms("…！"), Vec::<String>::new());
    }

    /// The formula, a text at a time.
    fn by_hand(texts: &[Vec<String>], query: &[&str], place: usize) -> f64 {
        let n = texts.len() as f64;
        let mean = texts.iter().map(Vec::len).sum::<usize>() as f64 / n;
        let of_term = |term: &&str| {
            let has = |text: &&Vec<String>| text.iter().any(|t| t == term);
            let with = texts.iter().filter(has).count() as f64;
            let count = texts[place].iter().filter(|t| t == term).count() as f64;
            let idf = (1.0 + (n - with + 0.5) / (with + 0.5)).ln();
            let length = texts[place].len() as f64 / mean;
            idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length))
        };
        query.iter().map(of_term).sum()
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        let texts = [
            "a red fox",
            "a red red hen and a fox",
            "nothing here",
            "a hen",
        ];
        let texts: Vec<Vec<String>> = texts.iter().map(|text| terms(text)).collect();
        let index = Index::new(texts.clone());
        // A term counts once however often it is asked for.
        let found = index.scores(&terms("red fox red"));
        for (place, score) in found.iter().enumerate() {
            let wanted = by_hand(&texts, &["red", "fox"], place);
            assert!((score - wanted).abs() < 1e-12, "{place}: {score} {wanted}");
        }
        assert_eq!(found[2], 0.0);
        assert!(Index::new(Vec::new()).scores(&terms("red")).is_empty());
    }

    #[test]
    fn likeness_is_one_for_the_same_words_and_none_for_others() {
        let texts = ["red fox", "fox red", "a hen", ""];
        let index = Index::new(texts.iter().map(|text| terms(text)).collect());
        assert_eq!(index.likeness(0, 1), 1.0);
        assert_eq!(index.likeness(0, 2), 0.0);
        assert_eq!(index.likeness(3, 3), 1.0);
    }
}
