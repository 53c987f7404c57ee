//! What tells the records of a label from all others: its most telling words.

use std::collections::{BTreeMap, BTreeSet};

use autoglm_spec::{Label, TaskSpec};

use super::calls::is_wide;
use crate::eval::Labelled;
use crate::library::record_text;

/// Words that describe a label.
const WORDS: usize = 6;
/// A word must occur in so many records of a label to describe it.
const LEAST_RECORDS: usize = 2;
/// How many standard errors a word's log-odds must be above 0.
const LEAST_Z: f64 = 1.0;

/// A line for each label with the words that tell it from others, such as `Sports: match, coach`;
/// none where the records tell too little.
///
/// # Source
/// Monroe, Colaresi, Quinn 2008, Fightin' Words, §3.5.1: log-odds ratios with a Dirichlet prior,
/// here over the records that contain a word, in units of their standard errors.
pub(super) fn descriptions(
    spec: &TaskSpec,
    labels: &[Label],
    records: &[Labelled],
    colon: &str,
    separator: &str,
) -> Option<String> {
    let counted = Counted::of(spec, records);
    let line = |label: &Label| {
        let words = counted.telling(&label.name);
        (words.len() >= 2).then(|| format!("{}{colon}{}", label.word, words.join(separator)))
    };
    let lines: Vec<String> = labels.iter().filter_map(line).collect();
    (2 * lines.len() > labels.len()).then(|| lines.join("\n"))
}

/// How many records of each label contain a word.
struct Counted {
    by_label: BTreeMap<String, BTreeMap<String, usize>>,
    sizes: BTreeMap<String, usize>,
    all: BTreeMap<String, usize>,
    records: usize,
}

impl Counted {
    fn of(spec: &TaskSpec, records: &[Labelled]) -> Self {
        let mut counted = Self {
            by_label: BTreeMap::new(),
            sizes: BTreeMap::new(),
            all: BTreeMap::new(),
            records: records.len(),
        };
        for labelled in records {
            *counted.sizes.entry(labelled.gold.clone()).or_default() += 1;
            let of_label = counted.by_label.entry(labelled.gold.clone()).or_default();
            for word in words(&record_text(&spec.fields, &labelled.record)) {
                *of_label.entry(word.clone()).or_default() += 1;
                *counted.all.entry(word).or_default() += 1;
            }
        }
        counted
    }

    fn telling(&self, label: &str) -> Vec<String> {
        let (Some(words), Some(&size)) = (self.by_label.get(label), self.sizes.get(label)) else {
            return Vec::new();
        };
        let others = self.records - size;
        let mut scored: Vec<(f64, &String)> = words
            .iter()
            .filter(|(_, count)| **count >= LEAST_RECORDS)
            .map(|(word, &count)| {
                let all = self.all[word];
                (z_score([count, size], [all - count, others]), word)
            })
            .filter(|(z, _)| *z >= LEAST_Z)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let mut kept: Vec<String> = Vec::new();
        for (_, word) in scored {
            // Pairs of Chinese characters overlap.
            let overlaps =
                |other: &String| other.chars().any(|c| !c.is_ascii() && word.contains(c));
            if kept.len() < WORDS && !kept.iter().any(overlaps) {
                kept.push(word.clone());
            }
        }
        kept
    }
}

/// How surely a word is more frequent here than elsewhere, each `[records with it, records]`.
fn z_score(here: [usize; 2], elsewhere: [usize; 2]) -> f64 {
    let odds = |[with, all]: [usize; 2]| {
        let (with, without) = (with as f64 + 0.5, (all - with) as f64 + 0.5);
        ((with / without).ln(), 1.0 / with + 1.0 / without)
    };
    let ((a, a_variance), (b, b_variance)) = (odds(here), odds(elsewhere));
    (a - b) / (a_variance + b_variance).sqrt()
}

/// The words of a text in lower case: runs of at least three letters, and pairs of neighbouring
/// Chinese characters, for words are not set apart there.
pub(super) fn words(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut run = String::new();
    let mut before: Option<char> = None;
    for c in text.to_lowercase().chars().chain([' ']) {
        let wide = c.is_alphabetic() && is_wide(c);
        if c.is_alphabetic() && !wide {
            run.push(c);
        } else if !run.is_empty() {
            let word = std::mem::take(&mut run);
            if word.chars().count() >= 3 {
                found.insert(word);
            }
        }
        if let (true, Some(before)) = (wide, before) {
            found.insert(format!("{before}{c}"));
        }
        before = wide.then_some(c);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scripted::{record, review_task};

    #[test]
    fn words_that_tell_a_label_are_named_and_common_ones_are_not() {
        let row = |text: &str, gold: &str| Labelled {
            record: record(&json!({ "text": text })),
            gold: gold.to_owned(),
        };
        let mut rows = Vec::new();
        for i in 0..10 {
            rows.push(row(
                &format!("great film wonderful story the n{i}"),
                "positive",
            ));
            rows.push(row(&format!("boring film dull story the n{i}"), "negative"));
        }
        let spec = review_task();
        let autoglm_spec::Output::Labels { labels } = &spec.output else {
            panic!("a review task has labels");
        };
        assert_eq!(
            descriptions(&spec, labels, &rows, ": ", ", ").unwrap(),
            "positive: great, wonderful\nnegative: boring, dull"
        );
    }

    #[test]
    fn chinese_words_are_pairs_of_characters() {
        let found: Vec<String> = words("质量很好 ok fine").into_iter().collect();
        assert_eq!(found, ["fine", "很好", "质量", "量很"]);
    }
}
