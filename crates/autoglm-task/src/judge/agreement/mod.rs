//! Several samples of one open answer: which of them say the same, which answer wins, and whether
//! more samples are needed. `docs/agreement.md` has the formulas and what they bring.

mod code;
mod meaning;
mod number;
mod stopping;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use autoglm_spec::{Alternative, EngineError, Output, Stopped, TaskKind, TaskSpec, Vote};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use meaning::{EMBEDDED_COSINE, Embedded, SharedWords, Similar, clusters, entropy};
pub use number::{Number, answer_number};
pub use stopping::{
    BETA_CONFIDENCE, Ballot, MOST_SAMPLES, SAMPLE_TEMPERATURE, SCATTERED_SAMPLES, SamplingPlan,
    StopRule, VOTE_CONFIDENCE, beta_lead, leader, leader_stays, repeats,
};

use super::{open_confidence, usable_text};
use crate::row::Sample;
use crate::words::answer_words;
use meaning::numbered;

/// Up to so many tokens an answer is compared by its words, beyond by its meaning: about twenty
/// words, a phrase or a short sentence.
const SHORT_TOKENS: usize = 32;

/// By what two answers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// By the number that they come to.
    Number,
    /// By their JSON value.
    Json,
    /// By their code, layout and comments aside.
    Code,
    /// By their words, case, punctuation and articles aside.
    Words,
    /// By what they say, as far as a measure of nearness can tell.
    Meaning,
}

impl Compare {
    /// What suits a task: its form of output, or whether it asks for a number.
    pub fn of(spec: &TaskSpec) -> Self {
        match &spec.output {
            Output::Json { .. } => Self::Json,
            Output::Code { .. } => Self::Code,
            Output::Labels { .. } => Self::Words,
            Output::Text { .. } if wants_number(spec) => Self::Number,
            Output::Text { max_tokens } if *max_tokens <= SHORT_TOKENS => Self::Words,
            Output::Text { .. } => Self::Meaning,
        }
    }
}

/// Whether a task's answers are numbers: its examples' are, or it has none and asks for one.
fn wants_number(spec: &TaskSpec) -> bool {
    let texts = matches!(spec.kind, TaskKind::Summarisation | TaskKind::Translation);
    if texts || spec.kind == TaskKind::Rewriting {
        return false;
    }
    if !spec.examples.is_empty() {
        return spec
            .examples
            .iter()
            .all(|example| is_number(&example.output));
    }
    let said = spec.instruction.to_lowercase();
    let phrases = NUMBER_PHRASES.iter();
    phrases
        .map(|phrase| said.match_indices(phrase))
        .any(|mut found| {
            found.any(|(at, phrase)| stands_alone(&said[..at], phrase, &said[at + phrase.len()..]))
        })
}

/// What asks for a number.
const NUMBER_PHRASES: [&str; 13] = [
    "how many",
    "how much",
    "####",
    "the number",
    "a number",
    "calculate",
    "compute",
    "arithmetic",
    "多少",
    "计算",
    "求出",
    "数字",
    "几个",
];

/// Whether a phrase is no part of a longer word, such as `compute` of computer, 计算 of 计算机 and
/// 数字 of 数字化: Chinese does not set words apart, so that what makes them longer is listed.
fn stands_alone(before: &str, phrase: &str, after: &str) -> bool {
    let (before, next) = (before.chars().next_back(), after.chars().next());
    let continued = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    match phrase {
        "计算" => {
            let is_kind = before.is_some_and(|c| "云子缘".contains(c));
            !is_kind && !next.is_some_and(|c| "机器科语法资".contains(c))
        }
        "数字" => !next.is_some_and(|c| "化人货经媒孪签营产".contains(c)),
        "####" | "多少" | "求出" | "几个" => true,
        _ => !continued(before) && !continued(next),
    }
}

/// Whether an answer is a number, or ends with one that is announced.
fn is_number(answer: &str) -> bool {
    let announced = number::announced(&answer.to_lowercase()).is_some_and(|part| part.len() < 24);
    let short = answer.trim().len() < 24 && !answer.trim().contains(char::is_whitespace);
    (announced || short) && answer_number(answer).is_some()
}

/// How the answers of one task are compared and counted.
#[derive(Debug, Clone)]
pub struct Agreement {
    output: Output,
    compare: Compare,
    similar: Arc<dyn Similar>,
}

/// Samples that have been counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// What a stopping rule looks at.
    pub ballot: Ballot,
    /// The group of each sample, in the ballot's order; none where it cannot be used.
    groups: Vec<Option<usize>>,
    /// Each sample's answer, or why it cannot be used.
    answers: Vec<Result<String, String>>,
    first_text: String,
}

impl Agreement {
    /// Answers of this form are compared so; by shared words where by meaning.
    pub fn new(output: &Output, compare: Compare) -> Self {
        Self {
            output: output.clone(),
            compare,
            similar: Arc::new(SharedWords),
        }
    }

    /// The same with another measure of nearness.
    #[must_use]
    pub fn with_similar(self, similar: Arc<dyn Similar>) -> Self {
        Self { similar, ..self }
    }

    /// By what answers are compared.
    pub fn compare(&self) -> Compare {
        self.compare
    }

    /// Sorts samples into groups that say the same.
    ///
    /// # Errors
    /// When texts cannot be compared by meaning.
    pub fn count(&self, samples: &[Sample]) -> Result<Counted, EngineError> {
        let usable = |sample: &Sample| usable_text(&self.output, &sample.text, sample.finish);
        let answers: Vec<Result<String, String>> = samples.iter().map(usable).collect();
        let texts: Vec<&str> = answers.iter().flatten().map(String::as_str).collect();
        let mut numbers = self.groups(&texts)?.into_iter();
        let of_answer =
            |answer: &Result<String, String>| answer.as_ref().ok().and_then(|_| numbers.next());
        let groups: Vec<Option<usize>> = answers.iter().map(of_answer).collect();
        let found = groups.iter().flatten().max().map_or(0, |last| last + 1);
        let first_usable = samples.first().filter(|_| answers[0].is_ok());
        let size = |group| groups.iter().filter(|g| **g == Some(group)).count();
        Ok(Counted {
            ballot: Ballot {
                counts: (0..found).map(size).collect(),
                samples: samples.len(),
                first_probability: first_usable.map_or(0.0, Sample::probability),
            },
            groups,
            answers,
            first_text: samples
                .first()
                .map(|sample| sample.text.clone())
                .unwrap_or_default(),
        })
    }

    fn groups(&self, texts: &[&str]) -> Result<Vec<usize>, EngineError> {
        match self.compare {
            Compare::Meaning => clusters(texts, self.similar.as_ref()),
            Compare::Number | Compare::Json | Compare::Code | Compare::Words => {
                let values: Vec<String> = texts.iter().map(|text| self.value(text)).collect();
                Ok(numbered(&values))
            }
        }
    }

    /// Whether an answer is the right one, by the task's comparison.
    ///
    /// # Errors
    /// As for [`count`](Self::count).
    pub fn same(&self, answer: &str, gold: &str) -> Result<bool, EngineError> {
        Ok(self.groups(&[answer, gold])? == [0, 0])
    }

    /// A text that is equal for answers that are the same; for meanings the text itself.
    fn value(&self, text: &str) -> String {
        match (self.compare, &self.output) {
            (Compare::Number, _) => match answer_number(text) {
                Some(number) => number.text(),
                None => words_value(text),
            },
            (Compare::Json, _) => match serde_json::from_str(text) {
                Ok(value) => canonical(&value).to_string(),
                Err(_) => text.trim().to_owned(),
            },
            (Compare::Code, Output::Code { language, .. }) => {
                code::normalised(text, language.as_deref())
            }
            (Compare::Code, _) => code::normalised(text, None),
            (Compare::Words, _) => words_value(text),
            (Compare::Meaning, _) => text.to_owned(),
        }
    }
}

impl Counted {
    /// The winner's answer, confidence and the vote; an error where no sample can be used.
    ///
    /// The confidence is `(a − 1 + g) / n`: of n samples a gave the answer, and the first of these
    /// counts as much as its tokens were probable (g, the mean over the a samples). With one sample
    /// it is its tokens' probability.
    ///
    /// # Errors
    /// What is wrong with the first sample.
    pub fn verdict(
        &self,
        samples: &[Sample],
        stopped: Stopped,
    ) -> Result<(String, f32, Vote), String> {
        let Some(winner) = leader(&self.ballot.counts) else {
            return Err(self.unusable().unwrap_or("there is no sample").to_owned());
        };
        let members = || {
            self.groups
                .iter()
                .zip(samples)
                .filter(|(g, _)| **g == Some(winner))
        };
        let agreed = self.ballot.counts[winner];
        let sure = members().map(|(_, s)| f64::from(open_confidence(s.mean_logprob, s.tokens)));
        let sure = sure.sum::<f64>() / agreed as f64;
        let confidence = ((agreed - 1) as f64 + sure) / samples.len() as f64;
        let alternatives = self.alternatives(winner);
        let answer = alternatives.first().map(|a| a.answer.clone());
        let vote = Vote {
            samples: samples.len(),
            agreed,
            stopped,
            entropy: entropy(&self.ballot.counts) as f32,
            alternatives,
            unusable: self.answers.iter().filter(|answer| answer.is_err()).count(),
            repaired: samples.iter().any(|sample| sample.repair),
        };
        let confidence = (confidence as f32).min(super::OPEN_CONFIDENCE_LIMIT);
        Ok((answer.unwrap_or_default(), confidence, vote))
    }

    /// The answers that were given, the winner first, then by their shares.
    pub fn alternatives(&self, winner: usize) -> Vec<Alternative> {
        let usable: usize = self.ballot.counts.iter().sum();
        let mut places: Vec<usize> = (0..self.ballot.counts.len()).collect();
        places.sort_by_key(|&place| {
            (
                place != winner,
                std::cmp::Reverse(self.ballot.counts[place]),
            )
        });
        let alternative = |place: usize| {
            let first = self.groups.iter().position(|group| *group == Some(place));
            let answer = first.and_then(|first| self.answers[first].clone().ok());
            Alternative {
                answer: answer.unwrap_or_default(),
                share: self.ballot.counts[place] as f32 / usable as f32,
            }
        };
        places.into_iter().map(alternative).collect()
    }

    /// The first sample as it was generated.
    pub fn first_text(&self) -> &str {
        &self.first_text
    }

    /// Why no sample can be used; none where one can.
    pub fn unusable(&self) -> Option<&str> {
        let first = self.answers.first()?;
        let none = self.ballot.counts.is_empty();
        first.as_ref().err().filter(|_| none).map(String::as_str)
    }
}

/// Words without articles and punctuation, from the announced answer where one is; a text of
/// signs alone without its blanks.
fn words_value(text: &str) -> String {
    let lower = text.to_lowercase();
    // An announced answer ends with its line.
    let announced = number::announced(&lower).and_then(|part| part.trim().lines().next());
    let told = announced.unwrap_or(&lower);
    let words = answer_words(told);
    if words.is_empty() {
        return told.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    words.join(" ")
}

/// A JSON value with sorted keys and with numbers that are whole as integers.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            let pair = |name: &String| (name.clone(), canonical(&fields[name]));
            Value::Object(names.into_iter().map(pair).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        Value::Number(number) => match number.as_f64() {
            // Above 2⁵³ not every integer is an f64.
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => Value::from(float as i64),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}
