//! Whether a batch of feedback contradicts what was expected far more often than batches before
//! it did.

/// How improbable a batch must be before it is called suspicious: one of a thousand honest ones.
const CHANCE: f64 = 1e-3;

/// How much more often a batch must disagree than those before it: some batches are harder than
/// others, which no coin toss knows.
const LEAST_RISE: f64 = 0.2;

/// Rows before a batch of which fewer tell nothing of what is usual.
const LEAST_HISTORY: u64 = 30;

/// Rows of which a batch must have as many: fewer wrong ones happen to anyone.
const LEAST_BATCH: u64 = 5;

/// Answers and how many of them disagreed with what was expected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) disagreed: u64,
}

impl Tally {
    pub(super) fn rate(self) -> f64 {
        self.disagreed as f64 / self.rows.max(1) as f64
    }

    pub(super) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.disagreed += other.disagreed;
    }

    /// The probability that a batch like those before it disagrees at least as often, where that
    /// is suspicious.
    pub(super) fn suspicion(self, history: Self) -> Option<f64> {
        if history.rows < LEAST_HISTORY || self.rows < LEAST_BATCH {
            return None;
        }
        let chance = upper_tail(self, history);
        let rise = self.rate() - history.rate();
        (chance < CHANCE && rise > LEAST_RISE).then_some(chance)
    }
}

/// `P(X ≥ k)` for X beta-binomial with the posterior of the history under an even prior.
fn upper_tail(batch: Tally, history: Tally) -> f64 {
    let (n, k) = (batch.rows, batch.disagreed);
    let a = history.disagreed as f64 + 1.0;
    let b = (history.rows - history.disagreed) as f64 + 1.0;
    // P(0), and then each from the one before it, as logarithms.
    let mut log: f64 = (0..n)
        .map(|i| ((b + i as f64) / (a + b + i as f64)).ln())
        .sum();
    let mut tail = 0.0;
    for x in 0..=n {
        if x >= k {
            tail += log.exp();
        }
        let (done, left) = (x as f64, n.saturating_sub(x) as f64);
        log += (left * (a + done) / ((done + 1.0) * (b + left - 1.0))).ln();
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(rows: u64, disagreed: u64) -> Tally {
        Tally { rows, disagreed }
    }

    #[test]
    fn the_tail_is_that_of_a_draw_without_knowledge_and_of_a_known_coin() {
        // Without a history every count is as likely as any other.
        assert!((upper_tail(tally(9, 7), tally(0, 0)) - 0.3).abs() < 1e-12);
        // With a very long one it is the binomial's: P(X ≥ 8), n = 10, p = 1/2.
        let known = upper_tail(tally(10, 8), tally(2_000_000_000, 1_000_000_000));
        assert!((known - 56.0 / 1024.0).abs() < 1e-6, "{known}");
    }

    #[test]
    fn a_wrong_batch_is_suspicious_and_an_honest_one_is_not() {
        let history = tally(100, 30);
        assert!(tally(20, 18).suspicion(history).is_some());
        assert_eq!(tally(20, 9).suspicion(history), None);
        // Significant among very many rows, and too little to matter.
        assert_eq!(tally(5_000, 1_900).suspicion(tally(5_000, 1_500)), None);
    }

    #[test]
    fn little_evidence_makes_nothing_suspicious() {
        // By the tail alone both would be: 1 in 5,001, and 1 in 6,545.
        assert_eq!(tally(5_000, 5_000).suspicion(Tally::default()), None);
        assert!(tally(5_000, 5_000).suspicion(tally(30, 15)).is_some());
        assert_eq!(tally(4, 4).suspicion(tally(40, 0)), None);
        assert!(tally(5, 5).suspicion(tally(40, 0)).is_some());
    }
}
