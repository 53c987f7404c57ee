//! Whether a remembered answer is right for a question that is so similar, with an error that is
//! bounded.
//!
//! Each remembered question has a model of its own: its answer is right for a question of
//! similarity `s` with probability `L(s) = 1 / (1 + exp(−γ(s − t)))`, where `t` and `γ` are known
//! only through what was seen of it, pairs of a similarity and whether the answer was right. With
//! `α ≤ E[L(s)]` a lower bound of that probability, the model is asked with probability
//! `τ = 1 − δ / (1 − α)`, so that at most a share `δ` of questions gets a wrong answer.
//!
//! # Source
//! Schroeder et al., "vCache: Verified Semantic Prompt Caching" (arXiv:2502.03771), sections 4.1 and
//! 4.2. There `t` is bounded by a confidence interval; here `t` and `γ` have a posterior on a grid,
//! from which `α = max over ε of (1 − ε) · q_ε` with `q_ε` the ε-quantile of `L(s)`. That needs no
//! limit of many observations, and holds where all of them were right.

use serde::{Deserialize, Serialize};

/// Thresholds: from 0.30 in steps of 0.01. Those above 1 say that no similarity is enough.
const THRESHOLDS: usize = 81;
/// How sharp the threshold is. At 64, two hundredths beside it are a probability of 0.78.
const SLOPES: [f64; 5] = [8.0, 16.0, 32.0, 64.0, 128.0];

/// Observations of one question that are kept; the oldest go first.
pub(super) const MOST_OBSERVATIONS: usize = 96;

/// What was seen of a remembered answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Observation {
    /// How similar the other question was.
    pub(super) similarity: f32,
    /// Whether the answer was right for it.
    pub(super) is_right: bool,
}

/// With which probability the model is to be asked, where at most a share of `error` of the answers
/// may be wrong. Always, as long as nothing was seen.
pub(super) fn explore(observations: &[Observation], similarity: f32, error: f64) -> f64 {
    if observations.is_empty() {
        return 1.0;
    }
    let wrong = 1.0 - right_at_least(observations, f64::from(similarity));
    if wrong <= error {
        return 0.0;
    }
    1.0 - error / wrong
}

/// A lower bound of the probability that the answer is right.
fn right_at_least(observations: &[Observation], similarity: f64) -> f64 {
    let mut cells: Vec<(f64, f64)> = (0..THRESHOLDS)
        .flat_map(|step| SLOPES.map(|slope| (0.30 + 0.01 * step as f64, slope)))
        .map(|(threshold, slope)| {
            let log = observations.iter().map(|seen| {
                let p = logistic(slope * (f64::from(seen.similarity) - threshold));
                let p = if seen.is_right { p } else { 1.0 - p };
                p.max(1e-12).ln()
            });
            (logistic(slope * (similarity - threshold)), log.sum::<f64>())
        })
        .collect();
    let most = cells
        .iter()
        .map(|cell| cell.1)
        .fold(f64::NEG_INFINITY, f64::max);
    for cell in &mut cells {
        cell.1 = (cell.1 - most).exp();
    }
    let total: f64 = cells.iter().map(|cell| cell.1).sum();
    cells.sort_by(|one, other| other.0.total_cmp(&one.0));
    let (mut weight, mut bound) = (0.0, 0.0_f64);
    for (right, mass) in cells {
        weight += mass / total;
        bound = bound.max(weight * right);
    }
    bound
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(similarity: f32, is_right: bool, times: usize) -> Vec<Observation> {
        let one = Observation {
            similarity,
            is_right,
        };
        vec![one; times]
    }

    #[test]
    fn nothing_is_taken_before_something_was_seen() {
        assert_eq!(explore(&[], 1.0, 0.1), 1.0);
    }

    #[test]
    fn what_was_right_often_is_trusted_more_and_more() {
        let after = |times| explore(&seen(0.9, true, times), 0.95, 0.02);
        let shares: Vec<f64> = [1, 4, 16, 64].map(after).to_vec();
        assert!(
            shares.windows(2).all(|pair| pair[1] < pair[0]),
            "{shares:?}"
        );
        assert!(shares[0] > 0.8 && shares[3] < 0.3, "{shares:?}");
    }

    #[test]
    fn what_was_wrong_nearby_is_not_trusted() {
        let mut both = seen(0.97, true, 40);
        both.extend(seen(0.9, false, 40));
        let far = explore(&both, 0.88, 0.01);
        let near = explore(&both, 0.99, 0.01);
        assert!(far > 0.98, "{far}");
        assert!(near < far - 0.3, "{near} {far}");
    }

    /// Answers are right by a model of the same kind that the cache does not know; the share of wrong
    /// ones stays below the bound.
    #[test]
    fn the_share_of_wrong_answers_keeps_the_bound() {
        let mut state = 7_u64;
        // The multiplier of Knuth's MMIX.
        let mut uniform = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        for error in [0.01, 0.05] {
            let (mut asked, mut wrong, mut hits) = (0, 0, 0);
            for _ in 0..60 {
                let (threshold, slope) = (0.7 + 0.35 * uniform(), 20.0 + 60.0 * uniform());
                let mut observations = Vec::new();
                for _ in 0..120 {
                    let similarity = 0.6 + 0.4 * uniform();
                    let is_right = uniform() < logistic(slope * (similarity - threshold));
                    asked += 1;
                    if uniform() < explore(&observations, similarity as f32, error) {
                        let similarity = similarity as f32;
                        observations.push(Observation {
                            similarity,
                            is_right,
                        });
                    } else {
                        hits += 1;
                        wrong += usize::from(!is_right);
                    }
                }
            }
            let share = wrong as f64 / f64::from(asked);
            assert!(share <= error, "{share} of {error}");
            assert!(hits > 0, "{error}");
        }
    }
}
