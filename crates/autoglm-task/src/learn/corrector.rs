//! From a task's feedback to a learner that corrects the model's verdicts.

use std::collections::BTreeMap;

use autoglm_spec::{FeedbackVersion, Field, Learnt, Record, TaskSpec, Verdict};

use super::FeedbackReport;
use super::learner::{Learner, Observation, log, softmax};
use super::lens::Lens;
use super::pins::Pins;
use super::reader::{Reader, Told};
use super::school::School;
use crate::TaskError;
use crate::library::identity;
use crate::store::Feedback;

/// Corrects verdicts by what feedback has taught. The same feedback gives the same corrector: it
/// is made by telling a new learner all rows that are not withdrawn, in their order.
#[derive(Debug, Clone)]
pub struct Corrector {
    reader: Reader,
    learner: Learner,
    pins: Pins,
    /// How far answers follow the learner rather than the model alone.
    share: f32,
    version: FeedbackVersion,
}

impl Corrector {
    /// The corrector that a task's feedback makes, with what it came to; none without feedback
    /// that is not withdrawn.
    ///
    /// `vectors` are the records' vectors by the rows' numbers, where a model makes some.
    ///
    /// # Errors
    /// When the task has no labels.
    pub fn learn(
        spec: &TaskSpec,
        feedback: &[Feedback],
        vectors: &BTreeMap<i64, Vec<f32>>,
    ) -> Result<Option<(Self, FeedbackReport)>, TaskError> {
        let live: Vec<&Feedback> = feedback.iter().filter(|row| row.is_live()).collect();
        let Some(last) = live.last() else {
            return Ok(None);
        };
        // What is withdrawn leaves no trace, its vectors included.
        let seen = live.iter().filter_map(|row| vectors.get(&row.id));
        let reader = Reader::new(spec, Lens::over(seen))?;
        let told = live.iter().filter_map(|row| reader.told(row, vectors));
        let told: Vec<Told> = told.collect();
        let mut school = School::new(Learner::new(reader.shape()));
        school.teach(&told);
        let corrector = Self {
            pins: pins(&reader, &live),
            reader,
            share: school.share(),
            version: FeedbackVersion {
                last: last.id,
                rows: live.len() as u64,
            },
            learner: school.learner,
        };
        let report = FeedbackReport {
            version: corrector.version,
            withdrawn: (feedback.len() - live.len()) as u64,
            unusable: (live.len() - told.len()) as u64,
            without_opinion: told.iter().filter(|row| row.opinion.is_none()).count() as u64,
            share: corrector.share,
            weights: corrector.learner.weights(),
            curve: school.curve,
            suspicious: school.suspicious,
            drift: school.drift,
            pinned: corrector.pins.len() as u64,
            overruled: corrector.pins.overruled().to_vec(),
        };
        Ok(Some((corrector, report)))
    }

    /// The feedback that takes part.
    pub fn version(&self) -> FeedbackVersion {
        self.version
    }

    /// Whether records' vectors are looked at.
    pub fn uses_vectors(&self) -> bool {
        self.share > 0.0 && self.reader.lens().length() > 0
    }

    /// The fields of records that are looked at.
    pub fn fields(&self) -> &[Field] {
        self.reader.fields()
    }

    /// A verdict that tells all labels' probabilities with the feedback taken into account; others
    /// stay as they are.
    pub fn correct(&self, record: &Record, vector: Option<&[f32]>, verdict: Verdict) -> Verdict {
        let Some(before) = self.reader.opinion(&verdict.distribution) else {
            return verdict;
        };
        let after = if self.share > 0.0 {
            blended(&before, &self.learnt(record, vector, &before), self.share)
        } else {
            before.clone()
        };
        let mut labels: Vec<usize> = (0..after.len()).collect();
        // Stable, so that equal probabilities keep the task's order.
        labels.sort_by(|&a, &b| after[b].total_cmp(&after[a]));
        let probabilities: Vec<f32> = labels.iter().map(|&label| after[label]).collect();
        if !self.pins.is_empty() {
            let identity = identity(self.reader.fields(), record);
            self.pins.settle(&identity, &mut labels);
        }
        let names = self.reader.labels();
        Verdict {
            answer: names[labels[0]].clone(),
            confidence: probabilities[0],
            learnt: Some(Learnt {
                version: self.version,
                before: labels.iter().map(|&label| before[label]).collect(),
            }),
            distribution: (labels.iter().map(|&label| names[label].clone()))
                .zip(probabilities)
                .collect(),
            ..verdict
        }
    }

    /// What the learner says of a record.
    fn learnt(&self, record: &Record, vector: Option<&[f32]>, opinion: &[f32]) -> Vec<f32> {
        let dense = vector.map(|vector| self.reader.lens().see(vector));
        self.learner.predict(&Observation {
            buckets: &self.reader.words(record),
            dense: dense.as_deref().unwrap_or_default(),
            opinion,
        })
    }
}

/// The pinned rows of feedback.
fn pins(reader: &Reader, feedback: &[&Feedback]) -> Pins {
    let mut pins = Pins::new(reader.labels().len());
    for row in feedback.iter().filter(|row| row.pinned) {
        if let Some(lesson) = reader.lesson(row) {
            pins.add(identity(reader.fields(), &row.input), row.id, lesson);
        }
    }
    pins
}

/// `p ∝ model^(1 − share) · learner^share`.
pub(super) fn blended(model: &[f32], learner: &[f32], share: f32) -> Vec<f32> {
    let both = model.iter().zip(learner);
    let mut scores: Vec<f32> = both
        .map(|(model, learner)| (1.0 - share) * log(*model) + share * log(*learner))
        .collect();
    softmax(&mut scores);
    scores
}
