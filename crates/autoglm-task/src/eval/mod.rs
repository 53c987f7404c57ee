//! How good a task's answers are on records whose right answers are known.

mod closed;
mod confidence;
mod data;
mod examples;
mod gold;
mod interval;
mod odds;
mod open;
mod paired;
mod render;
mod report;
mod samples;
mod summary;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use autoglm_spec::{Calibration, Output, TaskSpec};

use crate::TaskError;
use crate::judge::agreement::{Agreement, Compare, SamplingPlan, Similar};
use crate::judge::{Calibrator, Judge, Prior};
use crate::row::{Raw, Row};
use crate::store::FittedConfidence;
use closed::{Answer, Closed};
use confidence::Claim;
use gold::Sorted;
pub(crate) use gold::{gold_text, known_answer};

pub use data::data_hash;
pub(crate) use examples::ticket;
pub use examples::{Draw, draw_examples};
pub use interval::wilson_interval;
pub use odds::{Odds, nearness};
pub use open::{exact_match, rouge_l, token_f1};
pub use paired::{Compared, Paired};
pub use render::table;
pub use report::{
    ClosedQuality, ConfidenceBin, ConfidenceQuality, Confusion, LabelQuality, Majority, MeanScores,
    OpenQuality, Quality, Report, RiskPoint, RuleQuality, SamplesQuality, Scores, UnknownGold,
};
pub use summary::{Headline, Summary};
pub use value::{Grade, Labelled, Measure, Worth, labelled};

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
    /// How open answers were sampled.
    pub plan: SamplingPlan,
    /// By what open answers are compared to the right ones; what suits the task where nothing is
    /// said.
    pub compare: Option<Compare>,
    /// How near texts are, where they are compared by meaning; by their words where none is given.
    pub similar: Option<&'a Arc<dyn Similar>>,
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
    /// When no row has a right answer, or answers cannot be compared by meaning.
    pub fn of(&self, rows: &[Row]) -> Result<Report, TaskError> {
        let sorted = gold::sort(self.spec, self.gold_field, rows);
        if sorted.usable.is_empty() {
            return Err(TaskError::NothingToEvaluate {
                rows: rows.len(),
                reason: sorted.reason(self.gold_field),
            });
        }
        let (quality, claims) = self.quality(&sorted)?;
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
            confidence: confidence::quality(&claims),
        })
    }

    /// How good each row's answer is, with the row's place; rows without a known right answer are
    /// left out.
    ///
    /// # Errors
    /// When answers cannot be compared by meaning.
    pub fn grades(&self, rows: &[Row]) -> Result<(Measure, BTreeMap<u64, Grade>), TaskError> {
        let sorted = gold::sort(self.spec, self.gold_field, rows);
        let golds = sorted.usable.iter().map(|(_, gold)| gold.as_str());
        let worth = Worth::new(&self.spec.output, self.agreement(), golds);
        let grade = |(row, gold): &(&Row, String)| {
            let grade = worth.grade(row.verdict.as_ref(), gold)?;
            Ok((row.index, grade))
        };
        let grades: Result<_, TaskError> = sorted.usable.iter().map(grade).collect();
        Ok((worth.measure(), grades?))
    }

    /// A calibrator for how sure open answers are, from those whose right answer is known, compared
    /// with the one that corrects them now; none where they are too few. The rows' confidences are
    /// those that nothing has corrected.
    ///
    /// # Errors
    /// When answers cannot be compared by meaning.
    pub fn calibrator(
        &self,
        rows: &[Row],
        now: Option<&Calibrator>,
    ) -> Result<Option<FittedConfidence>, TaskError> {
        let sorted = gold::sort(self.spec, self.gold_field, rows);
        Ok(confidence::fitted(&self.quality(&sorted)?.1, now))
    }

    fn agreement(&self) -> Agreement {
        let compare = self.compare.unwrap_or_else(|| Compare::of(self.spec));
        let agreement = Agreement::new(&self.spec.output, compare);
        match self.similar {
            Some(similar) => agreement.with_similar(Arc::clone(similar)),
            None => agreement,
        }
    }

    fn quality(&self, sorted: &Sorted<'_>) -> Result<(Quality, Vec<Claim>), TaskError> {
        if let Output::Labels { labels } = &self.spec.output {
            let names: Vec<String> = labels.iter().map(|label| label.name.clone()).collect();
            let (closed, claims) = self.closed(&names, sorted);
            return Ok((Quality::Closed(closed), claims));
        }
        let measured = open::quality(sorted, &self.agreement(), self.plan);
        let (open, claims) = measured.map_err(|source| TaskError::Engine { line: 0, source })?;
        Ok((Quality::Open(open), claims))
    }

    fn closed(&self, names: &[String], sorted: &Sorted<'_>) -> (ClosedQuality, Vec<Claim>) {
        let raw_judge = Judge::new(&self.spec.output, Prior::none());
        let answers = |judge: Option<&Judge>| -> Vec<Answer> {
            let usable = sorted.usable.iter();
            usable
                .map(|(row, gold)| {
                    let raw = row.raw.as_ref().filter(|raw| has_scores(raw));
                    let again = judge.and_then(|j| raw.map(|raw| j.verdict(raw)));
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
        let abstained = sorted.usable.iter().map(|(row, _)| row.abstained.is_some());
        let claims = given.claims(abstained);
        (given.quality(calibration, uncalibrated.scores()), claims)
    }
}

/// Whether labels were scored: a judge that labelled records have taught can do without.
fn has_scores(raw: &Raw) -> bool {
    !matches!(raw, Raw::Scores { logprobs } if logprobs.is_empty())
}
