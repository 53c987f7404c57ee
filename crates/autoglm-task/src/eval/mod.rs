//! How good a task's answers are on records whose right answers are known.

mod closed;
mod examples;
mod gold;
mod interval;
mod open;
mod render;
mod report;
#[cfg(test)]
mod tests;

use std::time::Duration;

use autoglm_spec::{Calibration, Output, TaskSpec};

use crate::TaskError;
use crate::judge::{Judge, Prior};
use crate::row::Row;
use closed::{Answer, Closed};
use gold::Sorted;

pub(crate) use gold::{gold_text, known as known_label};

pub use examples::{Draw, draw_examples};
pub use interval::wilson_interval;
pub use open::{exact_match, rouge_l, token_f1};
pub use render::table;
pub use report::{
    ClosedQuality, LabelQuality, Majority, MeanScores, OpenQuality, Quality, Report, Scores,
    UnknownGold,
};

/// What is evaluated.
#[derive(Debug, Clone, Copy)]
pub struct Evaluation<'a> {
    /// The task.
    pub spec: &'a TaskSpec,
    /// The model's name.
    pub model: &'a str,
    /// The field that holds the right answer; where none is given, the first of `label`,
    /// `answer`, `output` that a record has and the task does not read.
    pub gold_field: Option<&'a str>,
    /// How long the answers took.
    pub elapsed: Duration,
}

impl Evaluation<'_> {
    /// Compares the rows' answers to the right ones.
    ///
    /// Rows without an answer count as wrong. Rows without a right answer, or with one that is no
    /// label of the task, are left out and counted.
    ///
    /// # Errors
    /// When no row has a right answer.
    pub fn of(&self, rows: &[Row]) -> Result<Report, TaskError> {
        let sorted = gold::sort(self.spec, self.gold_field, rows);
        if sorted.usable.is_empty() {
            return Err(TaskError::NothingToEvaluate {
                rows: rows.len(),
                reason: sorted.reason(self.gold_field),
            });
        }
        let quality = match &self.spec.output {
            Output::Labels { labels } => {
                let names: Vec<String> = labels.iter().map(|label| label.name.clone()).collect();
                Quality::Closed(self.closed(&names, &sorted))
            }
            Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => {
                Quality::Open(open::quality(&self.spec.output, &sorted))
            }
        };
        let seconds = self.elapsed.as_secs_f64();
        Ok(Report {
            task: self.spec.name.clone(),
            model: self.model.to_owned(),
            examples: self.spec.examples.len(),
            rows: sorted.usable.len(),
            errors: sorted
                .usable
                .iter()
                .filter(|(row, _)| row.verdict.is_none())
                .count(),
            without_gold: sorted.without_gold,
            unknown_gold: sorted.unknown_gold.clone(),
            seconds,
            records_per_second: if seconds > 0.0 {
                rows.len() as f64 / seconds
            } else {
                0.0
            },
            quality,
        })
    }

    fn closed(&self, names: &[String], sorted: &Sorted<'_>) -> ClosedQuality {
        let raw_judge = Judge::new(&self.spec.output, Prior::none());
        let answers = |judge: Option<&Judge>| -> Vec<Answer> {
            let usable = sorted.usable.iter();
            usable
                .map(|(row, gold)| {
                    let again = judge.and_then(|j| row.raw.as_ref().map(|raw| j.verdict(raw)));
                    let verdict = match again {
                        Some(verdict) => verdict.ok(),
                        None => row.verdict.clone(),
                    };
                    Answer::new(names, gold, verdict.as_ref())
                })
                .collect()
        };
        let calibration = sorted
            .usable
            .iter()
            .find_map(|(row, _)| row.verdict.as_ref().map(|v| v.calibration))
            .unwrap_or(Calibration::None);
        let given = Closed::new(names, answers(None));
        let uncalibrated = Closed::new(names, answers(Some(&raw_judge)));
        given.quality(calibration, uncalibrated.scores())
    }
}
