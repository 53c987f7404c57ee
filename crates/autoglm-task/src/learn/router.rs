//! Which of several strategies suits which record: a gating network that learns through soft
//! branches, and goes over to a hard one for a record when it is sure of it.

use super::learner::{Learner, Observation, Shape};

/// Probability from which an expert answers alone.
const SURE: f32 = 0.9;

/// Rows before which none does.
const LEAST_ROWS: u64 = 50;

/// Which experts a record goes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Branches {
    /// How probable it is of each that it is the best; they add up to 1.
    pub(crate) probabilities: Vec<f32>,
    /// The one that the record goes to alone, where the router is sure.
    pub(crate) only: Option<usize>,
}

impl Branches {
    /// How much the answer of each counts: the probabilities, or 1 for the only one.
    pub(crate) fn weights(&self) -> Vec<f32> {
        match self.only {
            None => self.probabilities.clone(),
            Some(only) => {
                let is_only = |place: usize| f32::from(u8::from(place == only));
                (0..self.probabilities.len()).map(is_only).collect()
            }
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
pub(super) struct Router {
    learner: Learner,
}

impl Router {
    /// A router between experts, which are equally likely at first.
    ///
    /// # Panics
    /// When there are fewer than two experts.
    pub(super) fn new(experts: usize, buckets: usize) -> Self {
        Self {
            learner: Learner::new(Shape::between_experts(experts, buckets)),
        }
    }

    /// Which experts a record goes to.
    ///
    /// # Panics
    /// When the observation does not have the router's shape.
    pub(super) fn branches(&self, seen: &Observation<'_>) -> Branches {
        let probabilities = self.learner.predict(seen);
        let best = probabilities.iter().copied().fold(0.0, f32::max);
        let is_hard = self.learner.rows() >= LEAST_ROWS && best >= SURE;
        let first = probabilities.iter().position(|p| *p == best);
        Branches {
            only: first.filter(|_| is_hard),
            probabilities,
        }
    }

    /// Learns from how good each expert's answer to a record was: the probability that it gave to
    /// the right answer.
    ///
    /// # Panics
    /// When there is not one number for each expert, or the observation does not have the
    /// router's shape.
    pub(super) fn learn(&mut self, seen: &Observation<'_>, merits: &[f32]) {
        self.learner.fit_with(seen, |branches| {
            assert_eq!(
                merits.len(),
                branches.len(),
                "want one merit for each expert"
            );
            gradients(branches, merits)
        });
    }
}

/// Gradients of `−ln Σ pₖ mₖ` by the scores: `pₖ − pₖ mₖ / Σ p m`; none where no expert had any
/// merit.
fn gradients(branches: &[f32], merits: &[f32]) -> Vec<f32> {
    let products = branches.iter().zip(merits).map(|(p, m)| p * m);
    let mixture: f32 = products.clone().sum();
    if mixture <= 0.0 {
        return vec![0.0; branches.len()];
    }
    let shares = products.zip(branches);
    shares.map(|(product, p)| p - product / mixture).collect()
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
        let mut router = Router::new(2, BUCKETS);
        let (mut first, mut right, mut sure) = (0, 0, 0);
        for place in 0..1_500 {
            let (buckets, expert) = record(place);
            let mut merits = [0.1, 0.1];
            merits[expert] = 0.9;
            first += usize::from(expert == 0);
            if place >= 1_000 {
                let branches = router.branches(&seen(&buckets));
                right += usize::from(branches.weights()[expert] > 0.5);
                sure += usize::from(branches.only == Some(expert));
            }
            router.learn(&seen(&buckets), &merits);
        }
        assert!(
            (600..900).contains(&first),
            "{first} of 1,500 are the first's"
        );
        assert_eq!(right, 500);
        assert!(sure > 350, "{sure} of 500");
        let unseen = (5_000..5_200).map(record);
        for (buckets, expert) in unseen {
            assert!(router.branches(&seen(&buckets)).weights()[expert] > 0.5);
        }
    }

    #[test]
    fn experts_of_equal_merit_stay_equally_likely_and_soft() {
        let mut router = Router::new(3, BUCKETS);
        for place in 0..500 {
            let merit = (place % 3) as f32 / 2.0;
            router.learn(&seen(&record(place).0), &[merit; 3]);
        }
        let branches = router.branches(&seen(&[7]));
        assert_eq!(branches.only, None);
        for branch in branches.weights() {
            assert!((branch - 1.0 / 3.0).abs() < 1e-5);
        }
    }

    #[test]
    fn a_record_of_which_the_router_is_not_sure_stays_soft_beside_others_that_are_hard() {
        let mut router = Router::new(2, BUCKETS);
        for place in 0..1_500 {
            let (buckets, expert) = record(place);
            let mut merits = [0.1, 0.1];
            merits[expert] = 0.9;
            router.learn(&seen(&buckets), &merits);
        }
        let (known, expert) = record(7_000);
        let known = router.branches(&seen(&known));
        assert_eq!(known.only, Some(expert));
        let unknown = router.branches(&seen(&[3, 4]));
        assert_eq!(unknown.only, None, "{unknown:?}");
        assert_eq!(unknown.weights(), unknown.probabilities);
    }

    #[test]
    fn gradients_are_those_of_the_mixture() {
        let scores = [0.3f32, -0.2, 0.5];
        let merits = [0.2f32, 0.9, 0.4];
        let loss = |scores: &[f32]| {
            let exps: Vec<f64> = scores.iter().map(|s| f64::from(*s).exp()).collect();
            let sum: f64 = exps.iter().sum();
            let mixed = exps.iter().zip(merits).map(|(e, m)| e / sum * f64::from(m));
            -mixed.sum::<f64>().ln()
        };
        let mut branches = scores;
        super::super::learner::softmax(&mut branches);
        let found = gradients(&branches, &merits);
        for place in 0..3 {
            let (mut up, mut down) = (scores, scores);
            up[place] += 1e-2;
            down[place] -= 1e-2;
            let wanted = (loss(&up) - loss(&down)) / 2e-2;
            assert!((f64::from(found[place]) - wanted).abs() < 1e-3);
        }
    }
}
