//! How records, opinions and rows of feedback become what a learner sees.

use std::collections::BTreeMap;

use autoglm_spec::{Field, Output, Record, TaskSpec};

use super::features::Featurizer;
use super::learner::{Lesson, Observation, Shape};
use super::lens::Lens;
use super::{BITS, SEED};
use crate::TaskError;
use crate::store::{Feedback, Judgement};

/// A row of feedback as a learner is told it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) id: i64,
    pub(super) batch: i64,
    pub(super) lesson: Lesson,
    buckets: Vec<u32>,
    dense: Vec<f32>,
    /// The labels' probabilities by the model, where it was asked.
    pub(super) opinion: Option<Vec<f32>>,
}

impl Told {
    /// What the learner sees of the row's record.
    pub(super) fn seen(&self) -> Observation<'_> {
        Observation {
            buckets: &self.buckets,
            dense: &self.dense,
            opinion: self.opinion.as_deref().unwrap_or_default(),
        }
    }
}

/// Reads what a task's records and feedback say.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    labels: Vec<String>,
    fields: Vec<Field>,
    featurizer: Featurizer,
    lens: Lens,
}

impl Reader {
    pub(super) fn new(spec: &TaskSpec, lens: Lens) -> Result<Self, TaskError> {
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

    pub(super) fn labels(&self) -> &[String] {
        &self.labels
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(super) fn lens(&self) -> &Lens {
        &self.lens
    }

    pub(super) fn shape(&self) -> Shape {
        Shape::beside_a_model(
            self.labels.len(),
            self.featurizer.buckets(),
            self.lens.length(),
        )
    }

    /// The buckets of a record's words.
    pub(super) fn words(&self, record: &Record) -> Vec<u32> {
        let mut buckets = Vec::new();
        self.featurizer.record(&self.fields, record, &mut buckets);
        buckets
    }

    /// Probabilities in the labels' order; none where a label has none.
    pub(super) fn opinion(&self, distribution: &[(String, f32)]) -> Option<Vec<f32>> {
        let of_label = |label: &String| {
            let found = distribution.iter().find(|(name, _)| name == label);
            found.map(|(_, probability)| *probability)
        };
        self.labels.iter().map(of_label).collect()
    }

    /// What a row of feedback says; none where it speaks of a label that the task does not have.
    pub(super) fn lesson(&self, row: &Feedback) -> Option<Lesson> {
        let place = |label: &str| self.labels.iter().position(|name| name == label);
        match &row.judgement {
            Judgement::Correct(label) => place(label).map(Lesson::Is),
            Judgement::Good => place(row.given.as_deref()?).map(Lesson::Is),
            Judgement::Bad => place(row.given.as_deref()?).map(Lesson::IsNot),
        }
    }

    /// A row of feedback; none where it has no lesson.
    pub(super) fn told(&self, row: &Feedback, vectors: &BTreeMap<i64, Vec<f32>>) -> Option<Told> {
        let vector = vectors.get(&row.id);
        let opinion = row.opinion.as_ref();
        Some(Told {
            id: row.id,
            batch: row.batch,
            lesson: self.lesson(row)?,
            buckets: self.words(&row.input),
            dense: vector.map_or_else(Vec::new, |vector| self.lens.see(vector)),
            opinion: opinion.and_then(|opinion| self.opinion(opinion)),
        })
    }
}
