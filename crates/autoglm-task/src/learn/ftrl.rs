//! FTRL-Proximal on one coordinate, and blocks of coordinates with one output a label.

/// How fast coordinates learn, and what holds them back.
///
/// # Source
/// Ad Click Prediction: a View from the Trenches, KDD 2013, algorithm 1: α, β, λ₁ and λ₂.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    /// The step of a coordinate that has seen gradients of 1 in all.
    pub(super) alpha: f32,
    /// What tames the first steps; about the size of a first gradient.
    pub(super) beta: f32,
    /// Gradients that must add up before a weight leaves 0.
    pub(super) l1: f32,
    /// What draws weights back to 0.
    pub(super) l2: f32,
}

/// One weight with what its next step needs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Coordinate {
    /// Sum of gradients, corrected for the steps taken.
    z: f32,
    /// Sum of squared gradients.
    n: f32,
    /// Root of `n`, kept because it is needed twice.
    root: f32,
    pub(super) weight: f32,
}

impl Coordinate {
    /// Takes one gradient in.
    fn step(&mut self, gradient: f32, pace: &Pace) {
        let n = self.n + gradient * gradient;
        let root = n.sqrt();
        let sigma = (root - self.root) * pace.per_alpha;
        self.z += gradient - sigma * self.weight;
        self.n = n;
        self.root = root;
        let beyond = self.z.abs() - pace.l1;
        self.weight = if beyond <= 0.0 {
            0.0
        } else {
            -beyond.copysign(self.z) / (root * pace.per_alpha + pace.floor)
        };
    }
}

/// [`Rates`] as a step wants them: without divisions but the last.
#[derive(Debug, Clone, Copy)]
struct Pace {
    per_alpha: f32,
    l1: f32,
    /// `β/α + λ₂`.
    floor: f32,
}

/// Coordinates in rows of one output each.
#[derive(Debug, Clone)]
pub(super) struct Block {
    outputs: usize,
    coordinates: Vec<Coordinate>,
    pace: Pace,
}

impl Block {
    pub(super) fn new(rows: usize, outputs: usize, rates: Rates) -> Self {
        Self {
            outputs,
            coordinates: vec![Coordinate::default(); rows * outputs],
            pace: Pace {
                per_alpha: 1.0 / rates.alpha,
                l1: rates.l1,
                floor: rates.beta / rates.alpha + rates.l2,
            },
        }
    }

    /// Appends a row and returns its place.
    pub(super) fn grow(&mut self) -> usize {
        let place = self.coordinates.len() / self.outputs;
        let length = self.coordinates.len() + self.outputs;
        self.coordinates.resize(length, Coordinate::default());
        place
    }

    pub(super) fn row(&self, place: usize) -> &[Coordinate] {
        &self.coordinates[place * self.outputs..][..self.outputs]
    }

    /// Adds a row's weights times `value` to the outputs' scores.
    pub(super) fn add(&self, place: usize, value: f32, scores: &mut [f32]) {
        if let [score] = scores {
            *score += self.coordinates[place].weight * value;
            return;
        }
        for (score, coordinate) in scores.iter_mut().zip(self.row(place)) {
            *score += coordinate.weight * value;
        }
    }

    /// Takes the gradients of a row in, one an output, for an input of `value`.
    pub(super) fn step(&mut self, place: usize, value: f32, gradients: &[f32]) {
        if let [gradient] = gradients {
            self.coordinates[place].step(gradient * value, &self.pace);
            return;
        }
        let row = &mut self.coordinates[place * self.outputs..][..self.outputs];
        for (coordinate, gradient) in row.iter_mut().zip(gradients) {
            coordinate.step(gradient * value, &self.pace);
        }
    }

    /// Weights that are not 0.
    pub(super) fn weights(&self) -> usize {
        self.coordinates.iter().filter(|c| c.weight != 0.0).count()
    }
}
