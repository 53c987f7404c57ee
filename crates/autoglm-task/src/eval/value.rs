//! Labelled records, and what an answer to one of them is worth.

use std::fmt;

use autoglm_spec::{Output, Record, TaskSpec, Verdict};
use serde::{Deserialize, Serialize};

use super::odds::Odds;
use super::open::token_f1;
use crate::TaskError;
use crate::judge::agreement::{Agreement, Compare};
use crate::library::example_of;

/// Words of right answers on average up to which texts are compared as wholes.
const SHORT_ANSWER_WORDS: usize = 5;

/// A record with its right answer as the task names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// The record: the fields that the task reads, without the one that holds the right answer.
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
        let example = example_of(spec, gold_field, &record).ok()?;
        Some(Labelled {
            record: example.input,
            gold: example.output,
        })
    };
    records.into_iter().filter_map(usable).collect()
}

/// What an answer is worth: 1 is right, 0 wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The right label.
    Accuracy,
    /// The same answer by the task's comparison.
    Same(Compare),
    /// How many words are shared.
    TokenF1,
}

/// How good one answer is.
#[derive(Debug, Clone, PartialEq)]
pub struct Grade {
    /// What it is worth by the task's measure.
    pub value: f64,
    /// What probabilities the labels were given; none where there is no answer, or an open one.
    pub odds: Option<Odds>,
}

/// What the answers to one task are worth.
#[derive(Debug, Clone)]
pub struct Worth {
    measure: Measure,
    agreement: Agreement,
}

impl Worth {
    /// What answers are worth beside these right ones: numbers, JSON and code are right or wrong by
    /// the task's comparison, and so are texts of few words; longer ones are compared word by word.
    pub fn new<'a>(
        output: &Output,
        agreement: Agreement,
        golds: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let compare = agreement.compare();
        let by_words = matches!(compare, Compare::Words | Compare::Meaning);
        let measure = match output {
            Output::Labels { .. } => Measure::Accuracy,
            _ if by_words && !are_short(golds) => Measure::TokenF1,
            _ => Measure::Same(compare),
        };
        Self { measure, agreement }
    }

    /// What is measured.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// What an answer is worth; 0 where there is none.
    ///
    /// # Errors
    /// When texts cannot be compared by meaning.
    pub fn of(&self, verdict: Option<&Verdict>, gold: &str) -> Result<f64, TaskError> {
        let Some(verdict) = verdict else {
            return Ok(0.0);
        };
        let right = match self.measure {
            Measure::TokenF1 => return Ok(token_f1(&verdict.answer, gold)),
            Measure::Accuracy => Ok(verdict.answer == gold),
            Measure::Same(_) => self.agreement.same(&verdict.answer, gold),
        };
        let right = right.map_err(|source| TaskError::Engine { line: 0, source })?;
        Ok(f64::from(u8::from(right)))
    }

    /// What an answer is worth, and what probabilities it gives to the labels.
    ///
    /// # Errors
    /// As for [`Worth::of`].
    pub fn grade(&self, verdict: Option<&Verdict>, gold: &str) -> Result<Grade, TaskError> {
        Ok(Grade {
            value: self.of(verdict, gold)?,
            odds: verdict.and_then(|verdict| Odds::of(&verdict.distribution, gold)),
        })
    }
}

/// Whether right answers have few words on average.
fn are_short<'a>(golds: impl IntoIterator<Item = &'a str>) -> bool {
    let lengths: Vec<usize> = golds
        .into_iter()
        .map(|gold| gold.split_whitespace().count())
        .collect();
    let words: usize = lengths.iter().sum();
    words <= SHORT_ANSWER_WORDS * lengths.len()
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accuracy => "accuracy",
            Self::Same(Compare::Number) => "same number",
            Self::Same(Compare::Json) => "same JSON",
            Self::Same(Compare::Code) => "same code",
            Self::Same(Compare::Words) => "same words",
            Self::Same(Compare::Meaning) => "same meaning",
            Self::TokenF1 => "token F1",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scripted::{record, review_task};

    fn verdict(answer: &str) -> Verdict {
        Verdict {
            answer: answer.to_owned(),
            confidence: 0.5,
            distribution: Vec::new(),
            calibration: autoglm_spec::Calibration::None,
            vote: None,
            learnt: None,
        }
    }

    #[test]
    fn labelled_records_do_not_hold_their_right_answer() {
        let records = [
            json!({"text": "a", "label": "Positive", "id": 7}),
            json!({"text": "b", "label": "no label of the task"}),
            json!({"label": "positive"}),
        ];
        let found = labelled(&review_task(), None, records.iter().map(record));
        assert_eq!(
            found,
            [Labelled {
                record: record(&json!({"text": "a"})),
                gold: "positive".to_owned(),
            }]
        );
    }

    #[test]
    fn open_answers_are_right_by_the_task_s_comparison() {
        let output = Output::Text { max_tokens: 200 };
        let worth = |compare, gold: &str, answer: &str| {
            let worth = Worth::new(&output, Agreement::new(&output, compare), [gold]);
            let value = worth.of(Some(&verdict(answer)), gold).unwrap();
            (worth.measure().to_string(), value)
        };
        let solution = "Two and two are four, as everybody knows. #### 4";
        for (answer, value) in [("so it is 4.0", 1.0), ("so it is 5", 0.0)] {
            let found = worth(Compare::Number, solution, answer);
            assert_eq!(found, ("same number".to_owned(), value));
        }
        let short = worth(Compare::Words, "Paris", "The answer is Paris.");
        assert_eq!(short, ("same words".to_owned(), 1.0));
        let long = worth(
            Compare::Meaning,
            "one two three four five six",
            "one two three",
        );
        assert_eq!(long.0, "token F1");
        assert!((long.1 - 2.0 / 3.0).abs() < 1e-12);
        let words = Agreement::new(&output, Compare::Words);
        assert_eq!(
            Worth::new(&output, words, ["a"]).of(None, "a").unwrap(),
            0.0
        );
    }
}
