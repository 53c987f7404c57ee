//! Which of several strategies suits which record: a gating network that learns through soft
//! branches, and goes over to hard ones when it is sure.

use super::learner::{Learner, Observation, Shape};

/// How soft branches become hard ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Annealing {
    /// What the temperature is multiplied with at every row, from 1 on.
    pub cooling: f32,
    /// The least temperature.
    pub coldest: f32,
    /// Share of the greatest possible entropy below which branches become hard.
    pub sure: f32,
    /// Rows over which the entropy is averaged; no branch becomes hard before as many.
    pub memory: f32,
}

impl Default for Annealing {
    /// Half the warmth after some 140 rows, hard below a tenth of the entropy over about 50 rows.
    fn default() -> Self {
        Self {
            cooling: 0.995,
            coldest: 0.2,
            sure: 0.1,
            memory: 50.0,
        }
    }
}

/// Learns which of several experts answers which record best.
///
/// The probability of an expert is a softmax over the record's features; what is learnt is the
/// mixture's likelihood, so that an expert is made more likely where it did better than the
/// others, and nothing is learnt where all did equally well.
///
/// # Source
/// Jacobs et al. 1991, Adaptive Mixtures of Local Experts, equation 1.3, for the gradient.
#[derive(Debug, Clone)]
pub struct Router {
    learner: Learner,
    annealing: Annealing,
    temperature: f32,
    /// Mean entropy of recent branches as a share of the greatest possible.
    entropy: f32,
    is_hard: bool,
}

impl Router {
    /// A router between experts, which are equally likely at first.
    ///
    /// # Panics
    /// When there are fewer than two experts.
    pub fn new(experts: usize, buckets: usize, annealing: Annealing) -> Self {
        Self {
            learner: Learner::new(Shape::words(experts, buckets)),
            annealing,
            temperature: 1.0,
            entropy: 1.0,
            is_hard: false,
        }
    }

    /// Whether a record goes to one expert alone.
    pub fn is_hard(&self) -> bool {
        self.is_hard
    }

    /// How much each expert's answer counts for a record; they add up to 1.
    ///
    /// # Panics
    /// When the observation does not have the router's shape.
    pub fn branches(&self, seen: &Observation<'_>) -> Vec<f32> {
        let mut branches = self.learner.predict(seen);
        warm(&mut branches, self.temperature);
        if self.is_hard {
            harden(&mut branches);
        }
        branches
    }

    /// Learns from how good each expert's answer to a record was: the probability that it gave to
    /// the right answer, or 1 and 0. Returns the branches from before.
    ///
    /// # Panics
    /// When there is not one number for each expert, or the observation does not have the
    /// router's shape.
    pub fn learn(&mut self, seen: &Observation<'_>, merits: &[f32]) -> Vec<f32> {
        let before = self.branches(seen);
        assert_eq!(merits.len(), before.len(), "want one merit for each expert");
        let temperature = self.temperature;
        self.learner.fit_with(seen, |cold| {
            let mut branches = cold.to_vec();
            warm(&mut branches, temperature);
            gradients(&branches, merits, temperature)
        });
        self.cool(&before);
        before
    }

    fn cool(&mut self, branches: &[f32]) {
        let annealing = self.annealing;
        self.temperature = (self.temperature * annealing.cooling).max(annealing.coldest);
        let most = (branches.len() as f32).ln();
        let now = branches
            .iter()
            .map(|p| -p * p.max(f32::MIN_POSITIVE).ln())
            .sum::<f32>()
            / most;
        self.entropy += (now - self.entropy) / annealing.memory;
        let has_seen_enough = self.learner.rows() as f32 >= annealing.memory;
        self.is_hard |= has_seen_enough && self.entropy < annealing.sure;
    }
}

/// `p^(1/T)`, made to add up to 1.
fn warm(branches: &mut [f32], temperature: f32) {
    for branch in &mut *branches {
        *branch = branch.max(f32::MIN_POSITIVE).ln() / temperature;
    }
    super::learner::softmax(branches);
}

fn harden(branches: &mut [f32]) {
    let best = branches.iter().copied().fold(0.0, f32::max);
    let first = branches.iter().position(|p| *p == best);
    for (place, branch) in branches.iter_mut().enumerate() {
        *branch = f32::from(u8::from(Some(place) == first));
    }
}

/// Gradients of `−ln Σ pₖ mₖ` by the scores: `(pₖ − pₖ mₖ / Σ p m) / T`; none where no expert had
/// any merit.
fn gradients(branches: &[f32], merits: &[f32], temperature: f32) -> Vec<f32> {
    let products = branches.iter().zip(merits).map(|(p, m)| p * m);
    let mixture: f32 = products.clone().sum();
    if mixture <= 0.0 {
        return vec![0.0; branches.len()];
    }
    let shares = products.zip(branches);
    shares
        .map(|(product, p)| (p - product / mixture) / temperature)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::hash::fold;
    use super::*;

    const BUCKETS: usize = 1 << 12;

    /// A record of one of two sorts, each with words of its own among others that both have, and
    /// the expert that knows it.
    fn record(place: u64) -> (Vec<u32>, usize) {
        let expert = (fold(5, place) >> 63) as usize;
        let word = |slot: u64, words: u64| (fold(place, slot) >> 32) as u32 % words as u32;
        let own = 100 + 50 * expert as u32 + word(0, 20);
        (vec![own, 1000 + word(1, 500), 1000 + word(2, 500)], expert)
    }

    fn seen(buckets: &[u32]) -> Observation<'_> {
        Observation {
            buckets,
            ..Observation::default()
        }
    }

    #[test]
    fn a_router_between_two_half_right_experts_reaches_their_union() {
        let mut router = Router::new(2, BUCKETS, Annealing::default());
        let (mut first, mut right) = (0, 0);
        for place in 0..1_500 {
            let (buckets, expert) = record(place);
            let mut merits = [0.1, 0.1];
            merits[expert] = 0.9;
            first += usize::from(expert == 0);
            let branches = router.learn(&seen(&buckets), &merits);
            if place >= 1_000 {
                right += usize::from(branches[expert] > 0.5);
            }
        }
        assert!(
            (600..900).contains(&first),
            "{first} of 1,500 are the first's"
        );
        assert!(router.is_hard());
        assert_eq!(right, 500);
        let unseen = (5_000..5_200).map(record);
        for (buckets, expert) in unseen {
            assert_eq!(router.branches(&seen(&buckets))[expert], 1.0);
        }
    }

    #[test]
    fn experts_of_equal_merit_stay_equally_likely_and_soft() {
        let mut router = Router::new(3, BUCKETS, Annealing::default());
        for place in 0..500 {
            let merit = (place % 3) as f32 / 2.0;
            router.learn(&seen(&record(place).0), &[merit; 3]);
        }
        assert!(!router.is_hard());
        for branch in router.branches(&seen(&[7])) {
            assert!((branch - 1.0 / 3.0).abs() < 1e-5);
        }
    }

    #[test]
    fn gradients_are_those_of_the_mixture() {
        let scores = [0.3f32, -0.2, 0.5];
        let (merits, temperature) = ([0.2f32, 0.9, 0.4], 0.7f32);
        let loss = |scores: &[f32]| {
            let exps: Vec<f64> = scores
                .iter()
                .map(|s| f64::from(s / temperature).exp())
                .collect();
            let sum: f64 = exps.iter().sum();
            let mixed = exps.iter().zip(merits).map(|(e, m)| e / sum * f64::from(m));
            -mixed.sum::<f64>().ln()
        };
        let mut branches = scores.map(|s| s / temperature);
        super::super::learner::softmax(&mut branches);
        let found = gradients(&branches, &merits, temperature);
        for place in 0..3 {
            let (mut up, mut down) = (scores, scores);
            up[place] += 1e-2;
            down[place] -= 1e-2;
            let wanted = (loss(&up) - loss(&down)) / 2e-2;
            assert!((f64::from(found[place]) - wanted).abs() < 1e-3);
        }
    }
}
