//! Two ways of answering compared on the same records.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::closed::mean;
use super::odds::{Odds, nearness};
use super::value::Grade;
use crate::chance::Chance;

/// Samples with replacement; the error of a bound's own percentile is then about 0.2 points.
const SAMPLES: usize = 10_000;
/// With more records than this allows fewer samples are drawn, so that it takes under a second.
const DRAWS: usize = 50_000_000;
const LEAST_SAMPLES: usize = 1_000;
/// Two-sided, as the one-sided 5 % of the interval.
const MOST_P: f64 = 0.1;

/// What a comparison on the same records finds. Values are in [0, 1], more is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Records that both answered.
    pub rows: usize,
    /// Mean value of the first.
    pub first: f64,
    /// Mean value of the second.
    pub second: f64,
    /// Second less first.
    pub difference: f64,
    /// The difference's 95 % interval by the paired bootstrap.
    pub interval: [f64; 2],
    /// The lower end of its one-sided 95 % interval.
    pub low: f64,
    /// Records on which the first was better.
    pub first_only: usize,
    /// Records on which the second was better.
    pub second_only: usize,
    /// How probable a split of these records at least as uneven is where both are equally good
    /// (two-sided); none where values are other than right and wrong.
    pub p_value: Option<f64>,
}

impl Paired {
    /// Compares values of the same records in the same order.
    ///
    /// The interval is that of the percentiles over samples with replacement of the records'
    /// differences.
    ///
    /// # Panics
    /// If the numbers of values differ.
    ///
    /// # Source
    /// `McNemar` 1947, with the exact binomial distribution; Efron, Tibshirani 1993, An
    /// Introduction to the Bootstrap, §13.3.
    pub fn of(first: &[f64], second: &[f64], seed: u64) -> Self {
        assert_eq!(first.len(), second.len(), "values of different records");
        let pairs = || first.iter().zip(second);
        let differences: Vec<f64> = pairs().map(|(a, b)| b - a).collect();
        let count = |is_it: &dyn Fn(f64) -> bool| differences.iter().filter(|d| is_it(**d)).count();
        let (first_only, second_only) = (count(&|d| d < 0.0), count(&|d| d > 0.0));
        let binary = pairs().all(|(a, b)| is_binary(*a) && is_binary(*b));
        let means = bootstrap_means(&differences, seed);
        let at = |share: f64| quantile(&means, share);
        Self {
            rows: differences.len(),
            first: mean(first),
            second: mean(second),
            difference: mean(&differences),
            interval: [at(0.025), at(0.975)],
            low: at(0.05),
            first_only,
            second_only,
            p_value: binary.then(|| mcnemar(first_only, second_only)),
        }
    }

    /// Whether the second is better: the one-sided 95 % interval of the difference is above 0 and,
    /// for right and wrong answers, the exact test agrees. On few records the bootstrap alone is
    /// too sure: of 20 with four gains and no loss, one sample in ninety has none of the four.
    pub fn is_better(&self) -> bool {
        self.low > 0.0 && self.p_value.is_none_or(|p| p <= MOST_P)
    }
}

/// Answers of two ways to the same records compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// What they are worth by the task's measure.
    #[serde(flatten)]
    pub worth: Paired,
    /// How near the labels' probabilities come to the truth ([`nearness`]); none for open answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearness: Option<Paired>,
}

impl Compared {
    /// Compares answers to the same records in the same order.
    ///
    /// # Panics
    /// If the numbers of answers differ.
    pub fn of(first: &[Grade], second: &[Grade], seed: u64) -> Self {
        let values = |grades: &[Grade]| grades.iter().map(|g| g.value).collect::<Vec<_>>();
        let odds = |grades: &[Grade]| grades.iter().map(|g| g.odds.clone()).collect::<Vec<_>>();
        let (first_odds, second_odds) = (odds(first), odds(second));
        let closed = [&first_odds, &second_odds]
            .iter()
            .all(|odds| odds.iter().any(Option::is_some));
        let near = |odds: &[Option<Odds>]| nearness(odds);
        Self {
            worth: Paired::of(&values(first), &values(second), seed),
            nearness: closed.then(|| Paired::of(&near(&first_odds), &near(&second_odds), seed)),
        }
    }

    /// Whether the second is better: its answers are ([`Paired::is_better`]), or more of them are
    /// right and the labels' probabilities are nearer to the truth with the whole 95 % interval above
    /// 0. Probabilities tell of every record how far a label was from being chosen, where right and
    /// wrong tell of those alone that changed sides: a gain shows on a third of the records.
    pub fn is_better(&self) -> bool {
        let is_nearer = self.nearness.is_some_and(|near| near.interval[0] > 0.0);
        self.worth.is_better() || self.worth.difference > 0.0 && is_nearer
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.worth)?;
        if let Some(near) = self.nearness {
            let [low, high] = near.interval;
            write!(
                f,
                "\nnearness of the labels' probabilities to the truth: {:.4} against {:.4}: {:+.4}, \
                 95 % interval {low:+.4} to {high:+.4}",
                near.second, near.first, near.difference
            )?;
        }
        Ok(())
    }
}

fn is_binary(value: f64) -> bool {
    value == 0.0 || value == 1.0
}

/// Means of samples with replacement, in rising order.
fn bootstrap_means(values: &[f64], seed: u64) -> Vec<f64> {
    if values.is_empty() {
        return vec![0.0];
    }
    let mut chance = Chance::new(seed);
    let samples = (DRAWS / values.len()).clamp(LEAST_SAMPLES, SAMPLES);
    let mut sample = || {
        let sum: f64 = (0..values.len())
            .map(|_| values[chance.below(values.len())])
            .sum();
        sum / values.len() as f64
    };
    let mut means: Vec<f64> = (0..samples).map(|_| sample()).collect();
    means.sort_by(f64::total_cmp);
    means
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len() as f64) as usize;
    sorted[place.min(sorted.len() - 1)]
}

/// Twice the probability of at most the smaller count among all under a fair coin.
fn mcnemar(one: usize, other: usize) -> f64 {
    let (least, all) = (one.min(other), one + other);
    // log C(all, i), so that no count overflows.
    let mut log_ways = 0.0_f64;
    let mut tail = 0.0;
    for i in 0..=least {
        if i > 0 {
            log_ways += ((all - i + 1) as f64 / i as f64).ln();
        }
        tail += (log_ways - all as f64 * std::f64::consts::LN_2).exp();
    }
    (2.0 * tail).min(1.0)
}

impl fmt::Display for Paired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.interval;
        writeln!(
            f,
            "{:.4} against {:.4} on the same {} records: {:+.4}, 95 % interval {low:+.4} to {high:+.4}",
            self.second, self.first, self.rows, self.difference
        )?;
        write!(
            f,
            "better on {} records, worse on {}",
            self.second_only, self.first_only
        )?;
        if let Some(p) = self.p_value {
            write!(f, ", McNemar's exact p = {p:.4}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(ones: usize, zeros: usize) -> Vec<f64> {
        [vec![1.0; ones], vec![0.0; zeros]].concat()
    }

    #[test]
    fn the_exact_test_agrees_with_scipy() {
        // Python: min(1, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)
        for (one, other, wanted) in [
            (1, 9, 0.021_484_375),
            (5, 5, 1.0),
            (0, 3, 0.25),
            (40, 70, 0.005_447_4),
        ] {
            let found = mcnemar(one, other);
            assert!((found - wanted).abs() < 1e-5, "{one} {other}: {found}");
        }
    }

    #[test]
    fn a_clear_gain_is_better_and_chance_is_not() {
        let clear = Paired::of(&values(50, 50), &values(80, 20), 1);
        assert!(clear.is_better());
        assert_eq!((clear.first_only, clear.second_only), (0, 30));
        assert!((clear.difference - 0.3).abs() < 1e-12);
        // The normal approximation of the interval is 0.30 ± 0.09.
        assert!((clear.interval[0] - 0.21).abs() < 0.02, "{clear}");
        assert!((clear.interval[1] - 0.39).abs() < 0.02, "{clear}");
        let mut swapped = values(50, 50);
        swapped.reverse();
        let even = Paired::of(&values(50, 50), &swapped, 1);
        assert!(!even.is_better());
        assert_eq!(even.p_value, Some(1.0));
    }

    #[test]
    fn the_exact_test_must_agree_with_the_interval() {
        let four = Paired::of(&values(16, 4), &values(20, 0), 1);
        assert!(four.low > 0.0 && four.p_value == Some(0.125), "{four}");
        assert!(!four.is_better());
        assert!(Paired::of(&values(15, 5), &values(20, 0), 1).is_better());
        // Shares have no exact test.
        let shares = Paired::of(&[0.4; 20], &[0.5; 20], 1);
        assert!(shares.is_better() && shares.p_value.is_none());
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let (a, b) = (values(10, 20), values(14, 16));
        assert_eq!(Paired::of(&a, &b, 7), Paired::of(&a, &b, 7));
    }

    #[test]
    fn shares_have_no_exact_test() {
        assert_eq!(Paired::of(&[0.5, 0.2], &[0.6, 0.2], 1).p_value, None);
        assert!(!Paired::of(&[], &[], 1).is_better());
    }

    /// Answers to 24 records of two labels: as many right as said, each right label with this
    /// probability, and lower by a hundredth from record to record.
    fn grades(right: usize, probability: f64) -> Vec<Grade> {
        let grade = |place: usize| {
            let gold = if place < right {
                probability
            } else {
                1.0 - probability
            };
            let gold = gold - 0.01 * place as f64;
            Grade {
                value: f64::from(u8::from(place < right)),
                odds: Some(Odds {
                    gold,
                    others: vec![1.0 - gold],
                }),
            }
        };
        (0..24).map(grade).collect()
    }

    #[test]
    fn nearer_probabilities_show_a_gain_that_right_and_wrong_do_not() {
        // Three records more are right, and all probabilities tell labels apart better.
        let compared = Compared::of(&grades(18, 0.55), &grades(21, 0.9), 1);
        assert!(
            !compared.worth.is_better() && compared.is_better(),
            "{compared}"
        );
        assert!(!Compared::of(&grades(21, 0.9), &grades(18, 0.55), 1).is_better());
        let text = compared.to_string();
        assert!(
            text.contains("nearness of the labels' probabilities"),
            "{text}"
        );
    }

    #[test]
    fn nearer_probabilities_alone_are_not_better() {
        // As many are right, and wrong ones are nearly right.
        let mut second = grades(18, 0.9);
        for grade in &mut second[18..] {
            grade.odds = Some(Odds {
                gold: 0.49,
                others: vec![0.51],
            });
        }
        let compared = Compared::of(&grades(18, 0.55), &second, 1);
        assert!(compared.nearness.unwrap().interval[0] > 0.0, "{compared}");
        assert!(compared.worth.difference == 0.0 && !compared.is_better());
    }

    #[test]
    fn open_answers_have_no_probabilities() {
        let open = |value| vec![Grade { value, odds: None }; 30];
        let compared = Compared::of(&open(0.0), &open(1.0), 1);
        assert!(compared.nearness.is_none() && compared.is_better());
    }

    #[test]
    fn what_was_stored_before_probabilities_were_compared_is_still_read() {
        let worth = Paired::of(&values(15, 5), &values(20, 0), 1);
        let stored = serde_json::to_string(&worth).unwrap();
        let read: Compared = serde_json::from_str(&stored).unwrap();
        assert_eq!(
            read,
            Compared {
                worth,
                nearness: None
            }
        );
        let again: Compared = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }
}
