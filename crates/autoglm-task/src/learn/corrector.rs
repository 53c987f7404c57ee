//! From a task's feedback to a learner that corrects the model's verdicts.

use std::collections::BTreeMap;

use autoglm_spec::{FeedbackVersion, Field, Learnt, Output, Record, TaskSpec, Verdict};

use super::features::Featurizer;
use super::learner::{Learner, Lesson, Observation, Shape};
use super::lens::Lens;
use super::school::School;
use super::{BITS, FeedbackReport, SEED};
use crate::TaskError;
use crate::store::{Feedback, Judgement};

/// The least probability that a label's log-probability is taken of; the difference of two labels
/// is bounded by it.
const LEAST_PROBABILITY: f32 = 1e-6;

/// Corrects verdicts by what feedback has taught. The same feedback gives the same corrector: it
/// is made by telling a new learner all rows that are not withdrawn, in their order.
#[derive(Debug, Clone)]
pub struct Corrector {
    pub(super) reader: Reader,
    pub(super) learner: Learner,
    /// How far answers follow the learner rather than the model alone.
    pub(super) share: f32,
    version: FeedbackVersion,
}

impl Corrector {
    /// The corrector that a task's feedback makes, with what it came to; none without feedback.
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
        // What is withdrawn leaves no trace, its vectors included.
        let seen = live.iter().filter_map(|row| vectors.get(&row.id));
        let reader = Reader::new(spec, Lens::over(seen))?;
        let lessons: Vec<Told> = live
            .iter()
            .filter_map(|row| reader.told(row, vectors))
            .collect();
        let Some(last) = lessons.last() else {
            return Ok(None);
        };
        let version = FeedbackVersion {
            last: last.id,
            rows: lessons.len() as u64,
        };
        let withdrawn = (feedback.len() - live.len()) as u64;
        let learner = Learner::new(reader.shape());
        let school = School::new(learner, &reader.labels);
        let (learner, report) = school.teach(&lessons, version, withdrawn);
        let corrector = Self {
            reader,
            learner,
            share: report.share,
            version,
        };
        Ok(Some((corrector, report)))
    }

    /// The feedback that takes part.
    pub fn version(&self) -> FeedbackVersion {
        self.version
    }

    /// Whether records' vectors are looked at.
    pub fn uses_vectors(&self) -> bool {
        self.reader.lens.length() > 0
    }

    /// The fields of records that are looked at.
    pub fn fields(&self) -> &[Field] {
        &self.reader.fields
    }

    /// A verdict on labels with the feedback taken into account; others stay as they are.
    pub fn correct(&self, record: &Record, vector: Option<&[f32]>, verdict: Verdict) -> Verdict {
        if verdict.distribution.is_empty() {
            return verdict;
        }
        let opinion = self.reader.opinion(&verdict.distribution);
        let mut buckets = Vec::new();
        self.reader.words(record, &mut buckets);
        let dense = vector.map(|vector| self.reader.lens.see(vector));
        let learnt = self.learner.predict(&Observation {
            buckets: &buckets,
            dense: dense.as_deref().unwrap_or_default(),
            opinions: &[&opinion],
        });
        let blend = blended(&opinion, &learnt, self.share);
        self.reader.verdict(&blend, self.version, &verdict)
    }
}

/// `p ∝ model^(1 − share) · learner^share`.
pub(super) fn blended(opinion: &[f32], learnt: &[f32], share: f32) -> Vec<f32> {
    let scores = opinion
        .iter()
        .zip(learnt)
        .map(|(model, learnt)| (1.0 - share) * model + share * learnt.max(LEAST_PROBABILITY).ln());
    let mut scores: Vec<f32> = scores.collect();
    super::learner::softmax(&mut scores);
    scores
}

/// A row of feedback as a learner is told it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) id: i64,
    pub(super) batch: i64,
    pub(super) lesson: Lesson,
    pub(super) buckets: Vec<u32>,
    pub(super) dense: Vec<f32>,
    /// What the model said, as log-probabilities; even where that is not known.
    pub(super) opinion: Vec<f32>,
    pub(super) is_opinion_known: bool,
    pub(super) pinned: bool,
}

/// How records and opinions of a task become what a learner sees.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) labels: Vec<String>,
    fields: Vec<Field>,
    featurizer: Featurizer,
    lens: Lens,
}

impl Reader {
    fn new(spec: &TaskSpec, lens: Lens) -> Result<Self, TaskError> {
        let Output::Labels { labels } = &spec.output else {
            return Err(TaskError::NoLabels {
                operation: "feedback",
                task: spec.name.clone(),
            });
        };
        Ok(Self {
            labels: labels.iter().map(|label| label.name.clone()).collect(),
            fields: spec.fields.clone(),
            featurizer: Featurizer::new(BITS, SEED),
            lens,
        })
    }

    fn shape(&self) -> Shape {
        Shape::beside_a_model(
            self.labels.len(),
            self.featurizer.buckets(),
            self.lens.length(),
        )
    }

    fn words(&self, record: &Record, buckets: &mut Vec<u32>) {
        self.featurizer.record(&self.fields, record, buckets);
    }

    /// Log-probabilities in the labels' order.
    fn opinion(&self, distribution: &[(String, f32)]) -> Vec<f32> {
        let of_label = |label: &String| {
            let found = distribution.iter().find(|(name, _)| name == label);
            found.map_or(0.0, |(_, p)| *p).max(LEAST_PROBABILITY).ln()
        };
        self.labels.iter().map(of_label).collect()
    }

    /// A row of feedback; none where it speaks of a label that the task no longer has.
    fn told(&self, row: &Feedback, vectors: &BTreeMap<i64, Vec<f32>>) -> Option<Told> {
        let place = |label: &str| self.labels.iter().position(|name| name == label);
        let lesson = match &row.judgement {
            Judgement::Correct(label) => Lesson::Is(place(label)?),
            Judgement::Good => Lesson::Is(place(row.given.as_deref()?)?),
            Judgement::Bad => Lesson::IsNot(place(row.given.as_deref()?)?),
        };
        let mut buckets = Vec::new();
        self.words(&row.input, &mut buckets);
        let even = || vec![-(self.labels.len() as f32).ln(); self.labels.len()];
        let opinion = row.opinion.as_ref().map(|opinion| self.opinion(opinion));
        Some(Told {
            id: row.id,
            batch: row.batch,
            lesson,
            buckets,
            dense: vectors
                .get(&row.id)
                .map(|vector| self.lens.see(vector))
                .unwrap_or_default(),
            is_opinion_known: opinion.is_some(),
            opinion: opinion.unwrap_or_else(even),
            pinned: row.pinned,
        })
    }

    fn verdict(&self, blend: &[f32], version: FeedbackVersion, old: &Verdict) -> Verdict {
        let names = self.labels.iter().cloned();
        let mut distribution: Vec<(String, f32)> = names.zip(blend.iter().copied()).collect();
        // Stable, so that equal probabilities keep the task's order.
        distribution.sort_by(|a, b| b.1.total_cmp(&a.1));
        let before = |name: &String| {
            let found = old.distribution.iter().find(|(old, _)| old == name);
            found.map_or(0.0, |(_, p)| *p)
        };
        let before = distribution.iter().map(|(name, _)| before(name)).collect();
        let (answer, confidence) = distribution.first().cloned().unwrap_or_default();
        Verdict {
            answer,
            confidence,
            distribution,
            learnt: Some(Learnt { version, before }),
            ..old.clone()
        }
    }
}
