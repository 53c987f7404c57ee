//! When to stop sampling: whether the answer that leads can still be overtaken.

use autoglm_spec::Stopped;
use serde::{Deserialize, Serialize};

/// How sure the look ahead to the limit must be that the leader stays. Chosen on training rows
/// (`docs/agreement.md`): 0.95 takes half as many samples again and answers no better.
pub const VOTE_CONFIDENCE: f64 = 0.9;

/// How sure the comparison of the two leading answers must be, as in Aggarwal et al. 2023,
/// section 4.
pub const BETA_CONFIDENCE: f64 = 0.95;

/// So many samples that all differ end the vote: the first then stands as well as any other.
/// Chosen on training rows (`docs/agreement.md`).
pub const SCATTERED_SAMPLES: usize = 3;

/// The most samples of a record that may be asked for.
pub const MOST_SAMPLES: usize = 100;

/// The temperature of samples where the task says none, as in Wang et al. 2022, section 3.1.
pub const SAMPLE_TEMPERATURE: f32 = 0.7;

/// When sampling ends before the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopRule {
    /// When the leading answer would still lead at the limit ([`leader_stays`]), or samples have
    /// nothing in common.
    Adaptive,
    /// When the two leading answers are far enough apart ([`beta_lead`]), or samples have nothing
    /// in common.
    Beta,
    /// Never.
    Fixed,
}

/// How many samples a record gets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SamplingPlan {
    /// Samples at most; with 1 there is no vote.
    pub samples: usize,
    /// When fewer do.
    pub stop: StopRule,
    /// From which probability of its whole text on the first answer stands alone; where none is
    /// given, from where on [`repeats`] says that it would win.
    pub sure: Option<f32>,
    /// Whether a chat model is asked once more, with what is wrong, where samples disagree or
    /// none can be used.
    pub repair: bool,
}

impl Default for SamplingPlan {
    /// One sample, and no vote.
    fn default() -> Self {
        Self {
            samples: 1,
            stop: StopRule::Adaptive,
            sure: None,
            repair: false,
        }
    }
}

impl SamplingPlan {
    /// Why no further sample is needed; none where one is.
    pub fn decide(&self, ballot: &Ballot) -> Option<Stopped> {
        if ballot.samples >= self.samples {
            return (ballot.samples > 0).then_some(Stopped::Limit);
        }
        if self.stop == StopRule::Fixed || ballot.samples == 0 {
            return None;
        }
        if self.is_decided(ballot) {
            let alone = ballot.samples == 1;
            return Some(if alone {
                Stopped::Single
            } else {
                Stopped::Decided
            });
        }
        let differ = ballot.counts.iter().all(|&count| count == 1);
        (differ && ballot.counts.len() >= SCATTERED_SAMPLES).then_some(Stopped::Scattered)
    }

    /// Whether every record gets as many samples as every other.
    pub fn is_fixed(&self) -> bool {
        self.stop == StopRule::Fixed || self.samples == 1
    }

    /// How many further samples are needed before the vote can be over, whatever they say: they
    /// may be taken together. 0 where it is over.
    pub fn fewest_more(&self, ballot: &Ballot) -> usize {
        if self.decide(ballot).is_some() {
            return 0;
        }
        // Nothing ends a vote sooner than samples that all agree, with the leader or with the
        // first answer, or that all differ.
        let leader = leader(&ballot.counts).unwrap_or(0);
        let ends = |more: usize, place: Option<usize>| {
            let mut then = ballot.clone();
            then.samples += more;
            match place.and_then(|place| then.counts.get_mut(place)) {
                Some(count) => *count += more,
                None if place.is_some() => then.counts.push(more),
                None => then.counts.extend(vec![1; more]),
            }
            self.decide(&then).is_some()
        };
        let soonest = |more: &usize| {
            let places = [Some(leader), Some(0), None];
            places.into_iter().any(|place| ends(*more, place))
        };
        (1..=self.samples).find(soonest).unwrap_or(1)
    }

    fn is_decided(&self, ballot: &Ballot) -> bool {
        let Some(leader) = leader(&ballot.counts) else {
            return false;
        };
        let rivals = ballot.counts.iter().enumerate();
        let rivals = rivals.filter(|(place, _)| *place != leader);
        let second = rivals.map(|(_, &count)| count).max().unwrap_or(0);
        let first = ballot.counts[leader];
        let left = self.samples - ballot.samples;
        if self.is_known(ballot, leader, second, left) {
            return true;
        }
        match self.stop {
            StopRule::Fixed => false,
            // A single sample says nothing of how much samples differ.
            _ if ballot.samples == 1 => false,
            StopRule::Adaptive => leader_stays(&ballot.counts, left) >= VOTE_CONFIDENCE,
            StopRule::Beta => beta_lead(first, second) >= BETA_CONFIDENCE,
        }
    }

    /// Whether the probability of the first answer's text alone says that it wins.
    fn is_known(&self, ballot: &Ballot, leader: usize, second: usize, left: usize) -> bool {
        // Only of the first sample it is known how often it comes again.
        if leader != 0 {
            return false;
        }
        if let Some(sure) = self.sure {
            return ballot.samples == 1 && ballot.first_probability >= f64::from(sure);
        }
        let ahead = ballot.counts[0].saturating_sub(second);
        repeats(ballot.first_probability, ahead, left) >= VOTE_CONFIDENCE
    }
}

/// What the samples so far have said.
#[derive(Debug, Clone, PartialEq)]
pub struct Ballot {
    /// How many gave each answer, in the order in which answers first came up.
    pub counts: Vec<usize>,
    /// All samples, those that cannot be used included.
    pub samples: usize,
    /// The probability of the first sample's whole text; 0 where it is not known, or the sample
    /// cannot be used.
    pub first_probability: f64,
}

/// The answer with the most votes, of equal ones the first that came up.
pub fn leader(counts: &[usize]) -> Option<usize> {
    let places = 0..counts.len();
    places.reduce(|best, place| {
        if counts[place] > counts[best] {
            place
        } else {
            best
        }
    })
}

/// The probability that the more frequent of two answers is the more probable one:
/// `P(p > 1/2)` with `p ~ Beta(first + 1, second + 1)`.
///
/// For whole numbers it is a sum of binomial probabilities, `Σ_{j ≤ first} C(n, j) / 2ⁿ` with
/// `n = first + second + 1`.
///
/// # Source
/// Aggarwal et al. 2023, Let's Sample Step by Step, section 3, the Beta rule.
pub fn beta_lead(first: usize, second: usize) -> f64 {
    let n = first + second + 1;
    let mut term = 0.5f64.powi(n as i32);
    let mut sum = 0.0;
    for j in 0..=first {
        sum += term;
        term *= (n - j) as f64 / (j + 1) as f64;
    }
    sum
}

/// The probability that an answer which is `ahead` of the next stays in front, where each of `left`
/// further samples repeats it with probability `p` at least and else goes to the next.
///
/// The first sample takes the most likely token each time; at a temperature of 1 or below, a
/// further sample is the same text with at least the probability that the model gives it, and
/// other texts may give the same answer. So this is a lower bound that needs no second sample.
pub fn repeats(p: f64, ahead: usize, left: usize) -> f64 {
    let p = p.clamp(0.0, 1.0);
    // C(left, x) pˣ (1 − p)^(left − x), with x repeats and ahead + x against left − x.
    let mut ways = 1.0;
    let mut sum = 0.0;
    for x in 0..=left {
        if ahead + 2 * x >= left {
            sum += ways * p.powi(x as i32) * (1.0 - p).powi((left - x) as i32);
        }
        ways *= (left - x) as f64 / (x + 1) as f64;
    }
    sum
}

/// The probability that the leading answer still leads after `left` further samples.
///
/// The answers' probabilities have a Dirichlet posterior with one pseudo-count an answer, and one
/// for an answer that has not come up yet; further samples are drawn from it (a Pólya urn). Ties
/// go to the answer that came up first, as in the vote itself. All answers that have not come up
/// count as a single rival, so the probability is a lower bound.
///
/// # Source
/// The Dirichlet posterior is that of Aggarwal et al. 2023, appendix; that it looks ahead to the
/// limit instead of to infinity is ours. Computed exactly: with `w(x; α) = Γ(x+α) / (x! Γ(α))`, the
/// probability of further counts x is `Π w(xᵢ; αᵢ) / w(left; Σα)`, and those in which the leader
/// stays are summed by convolution.
pub fn leader_stays(counts: &[usize], left: usize) -> f64 {
    let Some(leader) = leader(counts) else {
        return 0.0;
    };
    let all: usize = counts.iter().sum::<usize>() + counts.len() + 1;
    let ways = |count: usize| weights(count + 1, left);
    let of_leader = ways(counts[leader]);
    let stays = (0..=left).map(|gain| {
        let lead = counts[leader] + gain;
        let mut others = vec![1.0];
        for (place, &count) in counts.iter().enumerate().filter(|(i, _)| *i != leader) {
            // An answer that came up before the leader wins a tie.
            let most = if place < leader { lead - 1 } else { lead };
            others = convolved(&others, &ways(count), most.saturating_sub(count), left);
        }
        others = convolved(&others, &ways(0), lead, left);
        of_leader[gain] * others.get(left - gain).copied().unwrap_or(0.0)
    });
    stays.sum::<f64>() / weights(all, left)[left]
}

/// `Γ(x+α) / (x! Γ(α))` for x from 0 to `most`.
fn weights(alpha: usize, most: usize) -> Vec<f64> {
    let mut weight = 1.0;
    let mut all = vec![weight];
    for x in 0..most {
        weight *= (x + alpha) as f64 / (x + 1) as f64;
        all.push(weight);
    }
    all
}

/// The convolution of `sums` with the first `most + 1` of `weights`, up to `limit`.
fn convolved(sums: &[f64], weights: &[f64], most: usize, limit: usize) -> Vec<f64> {
    let mut out = vec![0.0; limit + 1];
    for (x, sum) in sums.iter().enumerate() {
        for (y, weight) in weights.iter().take(most + 1).enumerate() {
            if let Some(cell) = out.get_mut(x + y) {
                *cell += sum * weight;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The Pólya urn drawn in every possible way.
    fn leader_stays_by_enumeration(counts: &[usize], urn: &mut Vec<usize>, left: usize) -> f64 {
        if left == 0 {
            // The last place of the urn is the answer that had not come up.
            let ended: Vec<usize> = (0..urn.len()).map(|i| urn[i] - 1).collect();
            return f64::from(u8::from(super::leader(&ended) == super::leader(counts)));
        }
        let all: usize = urn.iter().sum();
        let mut sum = 0.0;
        for place in 0..urn.len() {
            let share = urn[place] as f64 / all as f64;
            urn[place] += 1;
            sum += share * leader_stays_by_enumeration(counts, urn, left - 1);
            urn[place] -= 1;
        }
        sum
    }

    proptest! {
        #[test]
        fn the_leaders_chance_is_that_of_the_urn(
            counts in prop::collection::vec(1usize..5, 1..4),
            left in 0usize..6,
        ) {
            let mut urn: Vec<usize> = counts.iter().map(|count| count + 1).collect();
            urn.push(1);
            let wanted = leader_stays_by_enumeration(&counts, &mut urn, left);
            let got = leader_stays(&counts, left);
            prop_assert!((got - wanted).abs() < 1e-12, "{got} is not {wanted}");
        }

        #[test]
        fn the_beta_rule_is_the_integral_of_the_density(first in 0usize..20, second in 0usize..20) {
            let density = |p: f64| p.powi(first as i32) * (1.0 - p).powi(second as i32);
            let steps = 20_000;
            let (mut above, mut all) = (0.0, 0.0);
            for step in 0..steps {
                let p = (f64::from(step) + 0.5) / f64::from(steps);
                all += density(p);
                above += if p > 0.5 { density(p) } else { 0.0 };
            }
            prop_assert!((beta_lead(first, second) - above / all).abs() < 1e-6);
        }

        #[test]
        fn no_vote_ends_before_the_samples_that_are_taken_together(
            counts in prop::collection::vec(1usize..4, 1..4),
            unusable in 0usize..2,
            samples in 1usize..12,
            beta in any::<bool>(),
            first_probability in 0.0f64..1.0,
        ) {
            let plan = SamplingPlan {
                samples,
                stop: if beta { StopRule::Beta } else { StopRule::Adaptive },
                ..SamplingPlan::default()
            };
            let start = Ballot { samples: counts.iter().sum::<usize>() + unusable, counts, first_probability };
            let together = plan.fewest_more(&start);
            prop_assert!(start.samples + together <= samples.max(start.samples));
            let mut open = vec![start];
            for _ in 1..together {
                let mut next = Vec::new();
                for ballot in &open {
                    for place in 0..=ballot.counts.len() {
                        let mut one = ballot.clone();
                        one.samples += 1;
                        match one.counts.get_mut(place) {
                            Some(count) => *count += 1,
                            None => one.counts.push(1),
                        }
                        prop_assert_eq!(plan.decide(&one), None, "{:?}", one);
                        next.push(one);
                    }
                    // A sample that cannot be used.
                    next.push(Ballot { samples: ballot.samples + 1, ..ballot.clone() });
                }
                next.truncate(2000);
                open = next;
            }
        }

        #[test]
        fn the_first_answers_chance_is_that_of_all_ways_to_go_on(
            p in 0.0f64..=1.0,
            ahead in 0usize..4,
            left in 0usize..8,
        ) {
            let wanted: f64 = (0..1u32 << left)
                .map(|way| {
                    let repeated = way.count_ones() as usize;
                    let stays = ahead + repeated >= left - repeated;
                    let chance = p.powi(repeated as i32) * (1.0 - p).powi((left - repeated) as i32);
                    if stays { chance } else { 0.0 }
                })
                .sum();
            prop_assert!((repeats(p, ahead, left) - wanted).abs() < 1e-12);
        }

        #[test]
        fn one_more_vote_for_the_leader_never_makes_it_less_sure(
            counts in prop::collection::vec(1usize..6, 1..5),
            left in 1usize..10,
        ) {
            let mut more = counts.clone();
            more[leader(&counts).unwrap()] += 1;
            prop_assert!(leader_stays(&more, left - 1) >= leader_stays(&counts, left) - 1e-12);
        }
    }

    /// Counts, the first answer's probability, and what the look ahead and the Beta rule say.
    type Case = (&'static [usize], f64, Option<Stopped>, Option<Stopped>);

    fn ballot(counts: &[usize], first_probability: f64) -> Ballot {
        Ballot {
            counts: counts.to_vec(),
            samples: counts.iter().sum(),
            first_probability,
        }
    }

    #[test]
    fn rules_stop_where_their_papers_say() {
        let plan = SamplingPlan {
            samples: 10,
            ..SamplingPlan::default()
        };
        let beta = SamplingPlan {
            stop: StopRule::Beta,
            ..plan
        };
        let fixed = SamplingPlan {
            stop: StopRule::Fixed,
            ..plan
        };
        let cases: [Case; 11] = [
            (&[1], 0.61, Some(Stopped::Single), Some(Stopped::Single)),
            (&[1], 0.59, None, None),
            (&[2], 0.4, Some(Stopped::Decided), None),
            (&[4], 0.4, Some(Stopped::Decided), Some(Stopped::Decided)),
            (&[2, 1], 0.4, None, None),
            (&[3, 1], 0.4, Some(Stopped::Decided), None),
            (&[3, 2], 0.4, None, None),
            (&[1, 1], 0.4, None, None),
            (
                &[1, 1, 1],
                0.4,
                Some(Stopped::Scattered),
                Some(Stopped::Scattered),
            ),
            (&[2, 1, 1], 0.4, None, None),
            (&[6, 2], 0.4, Some(Stopped::Decided), Some(Stopped::Decided)),
        ];
        for (counts, probability, adaptive, by_beta) in cases {
            let ballot = ballot(counts, probability);
            assert_eq!(plan.decide(&ballot), adaptive, "{counts:?}");
            assert_eq!(beta.decide(&ballot), by_beta, "{counts:?}");
            assert_eq!(fixed.decide(&ballot), None, "{counts:?}");
        }
        let strict = SamplingPlan {
            sure: Some(0.8),
            ..plan
        };
        assert_eq!(strict.decide(&ballot(&[1], 0.79)), None);
        assert_eq!(strict.decide(&ballot(&[1], 0.81)), Some(Stopped::Single));
        assert_eq!(fixed.decide(&ballot(&[10], 0.9)), Some(Stopped::Limit));
        assert_eq!(plan.decide(&ballot(&[5, 5], 0.1)), Some(Stopped::Limit));
    }

    #[test]
    fn samples_that_cannot_be_used_count_against_the_limit_only() {
        let plan = SamplingPlan {
            samples: 3,
            ..SamplingPlan::default()
        };
        let unusable = |samples| Ballot {
            counts: Vec::new(),
            samples,
            first_probability: 0.0,
        };
        assert_eq!(plan.decide(&unusable(1)), None);
        assert_eq!(plan.decide(&unusable(3)), Some(Stopped::Limit));
    }
}
