//! Progressive validation: every labelled row is answered before it is learnt.

use serde::Serialize;

use super::features::Featurizer;
use super::learner::{Learner, Lesson, Observation, Shape};
use super::{BITS, SEED};

/// Learns rows of texts one by one and counts what it would have answered before each.
#[derive(Debug, Clone)]
pub struct Validation {
    featurizer: Featurizer,
    learner: Learner,
    buckets: Vec<u32>,
    rows: u64,
    right: u64,
    loss: f64,
    next_point: u64,
    curve: Vec<ValidationPoint>,
}

/// What a progressive validation came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValidationReport {
    /// Rows.
    pub rows: u64,
    /// Share of rows that were answered right before they were learnt.
    pub accuracy: f64,
    /// Mean negative logarithm of the right label's probability.
    pub log_loss: f64,
    /// Weights that are not 0.
    pub weights: usize,
    /// The same after 100, 200, 400, … rows.
    pub curve: Vec<ValidationPoint>,
}

/// A point of the learning curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ValidationPoint {
    /// Rows so far.
    pub rows: u64,
    /// Share of right answers so far.
    pub accuracy: f64,
    /// Mean loss so far.
    pub log_loss: f64,
}

/// Rows of the first point of the curve; the next has twice as many.
const FIRST_POINT_ROWS: u64 = 100;

impl Validation {
    /// A validation of a learner of words alone.
    ///
    /// # Panics
    /// When there are fewer than two labels.
    pub fn new(labels: usize) -> Self {
        let featurizer = Featurizer::new(BITS, SEED);
        Self {
            featurizer,
            learner: Learner::new(Shape::words(labels, featurizer.buckets())),
            buckets: Vec::new(),
            rows: 0,
            right: 0,
            loss: 0.0,
            next_point: FIRST_POINT_ROWS,
            curve: Vec::new(),
        }
    }

    /// Answers a row of texts, one a field, and learns its label.
    ///
    /// # Panics
    /// When there is no such label.
    pub fn push<'t>(&mut self, texts: impl Iterator<Item = &'t str>, label: usize) {
        self.buckets.clear();
        for (field, text) in texts.enumerate() {
            self.featurizer.text(field, text, &mut self.buckets);
        }
        let seen = Observation {
            buckets: &self.buckets,
            ..Observation::default()
        };
        let probabilities = self.learner.fit_partial(&seen, Lesson::Is(label));
        let right = probabilities[label];
        let others = probabilities.iter().enumerate();
        let beaten = others
            .filter(|(other, _)| *other != label)
            .all(|(_, p)| *p < right);
        self.rows += 1;
        self.right += u64::from(beaten);
        self.loss -= f64::from(right.max(f32::EPSILON)).ln();
        if self.rows == self.next_point {
            self.next_point *= 2;
            self.curve.push(self.point());
        }
    }

    fn point(&self) -> ValidationPoint {
        let rows = self.rows.max(1) as f64;
        ValidationPoint {
            rows: self.rows,
            accuracy: self.right as f64 / rows,
            log_loss: self.loss / rows,
        }
    }

    /// What it came to so far.
    pub fn report(&self) -> ValidationReport {
        let now = self.point();
        ValidationReport {
            rows: self.rows,
            accuracy: now.accuracy,
            log_loss: now.log_loss,
            weights: self.learner.weights(),
            curve: self.curve.clone(),
        }
    }
}
