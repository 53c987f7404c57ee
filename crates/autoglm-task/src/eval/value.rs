//! Labelled records, and what an answer to one of them is worth.

use std::fmt;

use autoglm_spec::{Output, Record, TaskSpec, Verdict};
use serde::{Deserialize, Serialize};

use super::gold;
use super::open::{exact_match, same_json, token_f1};
use crate::row::Row;

/// Words of right answers on average up to which texts are compared as wholes.
const SHORT_ANSWER_WORDS: usize = 5;

/// A record with its right answer as the task names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// The record.
    pub record: Record,
    /// The right answer.
    pub gold: String,
}

/// The records whose right answer is known and which have the task's fields.
pub fn labelled(
    spec: &TaskSpec,
    gold_field: Option<&str>,
    records: impl IntoIterator<Item = Record>,
) -> Vec<Labelled> {
    let usable = |record: Record| {
        let whole = spec.fields.iter().all(|f| record.contains_key(&f.name));
        let text = gold::gold_text(spec, gold_field, &record).filter(|_| whole)?;
        let gold = gold::known_answer(spec, &text)?;
        Some(Labelled { record, gold })
    };
    records.into_iter().filter_map(usable).collect()
}

/// What the rows' answers are worth, each with its row's place; rows without a known right answer
/// are left out.
pub fn row_values(
    spec: &TaskSpec,
    gold_field: Option<&str>,
    rows: &[Row],
) -> (Measure, Vec<(u64, f64)>) {
    let sorted = gold::sort(spec, gold_field, rows);
    let golds = sorted.usable.iter().map(|(_, gold)| gold.as_str());
    let measure = Measure::of(&spec.output, golds);
    let value = |(row, gold): &(&Row, String)| {
        let worth = measure.value(row.verdict.as_ref(), gold);
        (row.index, worth)
    };
    (measure, sorted.usable.iter().map(value).collect())
}

/// What an answer is worth: 1 is right, 0 wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The right label.
    Accuracy,
    /// The same JSON value.
    SameJson,
    /// The same words.
    ExactMatch,
    /// How many words are shared.
    TokenF1,
}

impl Measure {
    /// The measure for a task with these right answers: texts of few words are right or wrong,
    /// longer ones are compared word by word.
    pub fn of<'a>(output: &Output, golds: impl IntoIterator<Item = &'a str>) -> Self {
        match output {
            Output::Labels { .. } => Self::Accuracy,
            Output::Json { .. } => Self::SameJson,
            Output::Text { .. } | Output::Code { .. } => {
                let lengths: Vec<usize> = golds
                    .into_iter()
                    .map(|gold| gold.split_whitespace().count())
                    .collect();
                let words: usize = lengths.iter().sum();
                if words <= SHORT_ANSWER_WORDS * lengths.len() {
                    Self::ExactMatch
                } else {
                    Self::TokenF1
                }
            }
        }
    }

    /// What an answer is worth; 0 where there is none.
    pub fn value(self, verdict: Option<&Verdict>, gold: &str) -> f64 {
        let Some(verdict) = verdict else {
            return 0.0;
        };
        let right = |is_right: bool| f64::from(u8::from(is_right));
        match self {
            Self::Accuracy => right(verdict.answer == gold),
            Self::SameJson => right(same_json(&verdict.answer, gold)),
            Self::ExactMatch => right(exact_match(&verdict.answer, gold)),
            Self::TokenF1 => token_f1(&verdict.answer, gold),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accuracy => "accuracy",
            Self::SameJson => "same JSON",
            Self::ExactMatch => "exact match",
            Self::TokenF1 => "token F1",
        })
    }
}
