//! Notices when a stream of right and wrong answers is no longer what it was.

/// Buckets of one size before two of them become one of twice the size: more would make the
/// places where the window can be cut finer, at more memory.
const BUCKETS_PER_SIZE: usize = 5;

/// The window is looked at after so many values, which costs most of the time.
const CLOCK: u64 = 8;

/// Values that either side of a cut must hold: of fewer, the bound says nothing.
const LEAST_SIDE: f64 = 8.0;

/// An adaptive window: it grows while its mean is steady, and drops its older part where the
/// newer has another mean.
///
/// Memory and time are logarithmic in the window's length, for it is kept as sums over buckets
/// whose sizes are powers of two.
///
/// # Source
/// Bifet and Gavaldà 2007, Learning from Time-Changing Data with Adaptive Windowing, ADWIN2 with
/// the bound of section 3.1 for small windows.
#[derive(Debug, Clone)]
pub(super) struct Adwin {
    /// How likely a false alarm may be at each look.
    delta: f64,
    /// Sums of buckets of `2^place` values, the newest first.
    sizes: Vec<Vec<Sum>>,
    seen: u64,
}

/// Where the mean changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    /// Mean before it.
    pub(super) before: f64,
    /// Mean since.
    pub(super) after: f64,
    /// Values since.
    pub(super) since: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: f64,
    total: f64,
    /// Sum of squared distances from the mean.
    scatter: f64,
}

impl Sum {
    fn with(self, other: Self) -> Self {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let apart = self.mean() - other.mean();
        Self {
            count,
            total: self.total + other.total,
            scatter: self.scatter
                + other.scatter
                + apart * apart * self.count * other.count / count,
        }
    }

    fn mean(self) -> f64 {
        self.total / self.count.max(1.0)
    }
}

impl Adwin {
    /// A window whose looks raise a false alarm with probability `delta` at most.
    ///
    /// # Panics
    /// When `delta` is not between 0 and 1.
    pub(super) fn new(delta: f64) -> Self {
        assert!(
            delta > 0.0 && delta < 1.0,
            "want 0 < delta < 1, not {delta}"
        );
        Self {
            delta,
            sizes: Vec::new(),
            seen: 0,
        }
    }

    /// Takes a value in [0, 1] in; tells of a change where the window drops its older part.
    pub(super) fn push(&mut self, value: f64) -> Option<Change> {
        self.seen += 1;
        self.insert(Sum {
            count: 1.0,
            total: value,
            scatter: 0.0,
        });
        if !self.seen.is_multiple_of(CLOCK) {
            return None;
        }
        let change = self.cut()?;
        // All that is older goes at once, so that one change is told once.
        while self.whole().count as u64 > change.since {
            self.drop_oldest();
        }
        Some(change)
    }

    fn insert(&mut self, value: Sum) {
        let mut carried = value;
        for place in 0.. {
            if place == self.sizes.len() {
                self.sizes.push(Vec::new());
            }
            let buckets = &mut self.sizes[place];
            buckets.insert(0, carried);
            if buckets.len() <= BUCKETS_PER_SIZE {
                return;
            }
            let oldest = buckets.pop().unwrap_or_default();
            carried = buckets.pop().unwrap_or_default().with(oldest);
        }
    }

    fn whole(&self) -> Sum {
        let all = self.sizes.iter().flatten();
        all.fold(Sum::default(), |sum, bucket| sum.with(*bucket))
    }

    /// The place where the means of both sides differ most beyond what chance allows.
    fn cut(&self) -> Option<Change> {
        let whole = self.whole();
        let mut older = Sum::default();
        let mut most: Option<(f64, Change)> = None;
        let oldest_first = self.sizes.iter().rev().flat_map(|size| size.iter().rev());
        for bucket in oldest_first {
            older = older.with(*bucket);
            let newer = Sum {
                count: whole.count - older.count,
                total: whole.total - older.total,
                scatter: 0.0,
            };
            if older.count < LEAST_SIDE || newer.count < LEAST_SIDE {
                continue;
            }
            let apart = (older.mean() - newer.mean()).abs();
            let excess = apart - self.bound(whole, older, newer);
            if excess > most.map_or(0.0, |(excess, _)| excess) {
                let change = Change {
                    before: older.mean(),
                    after: newer.mean(),
                    since: newer.count as u64,
                };
                most = Some((excess, change));
            }
        }
        most.map(|(_, change)| change)
    }

    /// `√(2/m · σ² · ln(2/δ′)) + 2/(3m) · ln(2/δ′)` with the harmonic mean `m` of both counts and
    /// `δ′ = δ / ln n`.
    fn bound(&self, whole: Sum, older: Sum, newer: Sum) -> f64 {
        let harmonic = 1.0 / (1.0 / older.count + 1.0 / newer.count);
        let variance = whole.scatter / whole.count;
        let log = (2.0 * whole.count.ln() / self.delta).ln();
        (2.0 / harmonic * variance * log).sqrt() + 2.0 / (3.0 * harmonic) * log
    }

    fn drop_oldest(&mut self) {
        if let Some(buckets) = self.sizes.last_mut() {
            buckets.pop();
            if buckets.is_empty() {
                self.sizes.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values 0 and 1 with a mean that a counter spreads evenly but without a pattern of its own.
    fn stream(mean: impl Fn(u64) -> f64, values: u64, seed: u64) -> Vec<f64> {
        let uniform = |place| super::super::hash::fold(seed, place) as f64 / u64::MAX as f64;
        (0..values)
            .map(|place| f64::from(u8::from(uniform(place) < mean(place))))
            .collect()
    }

    #[test]
    fn a_steady_stream_raises_no_alarm() {
        for seed in 0..20 {
            let mut window = Adwin::new(0.002);
            for value in stream(|_| 0.3, 5_000, seed) {
                assert_eq!(window.push(value), None);
            }
            assert_eq!(window.whole().count, 5_000.0);
        }
    }

    #[test]
    fn a_jump_is_noticed_soon_and_once_and_the_window_keeps_what_came_after() {
        for seed in 0..20 {
            let mut window = Adwin::new(0.002);
            let values = stream(|place| if place < 500 { 0.2 } else { 0.7 }, 700, seed);
            let found: Vec<(usize, Change)> = values
                .into_iter()
                .enumerate()
                .filter_map(|(place, value)| Some((place, window.push(value)?)))
                .collect();
            let [(place, change)] = found[..] else {
                panic!("one change is told once: {found:?}");
            };
            assert!((500..560).contains(&place), "noticed at {place}");
            assert!(change.before < 0.3 && change.after > 0.45, "{change:?}");
            assert!(change.since < 100, "{change:?}");
            let kept = window.whole();
            assert!((150.0..=260.0).contains(&kept.count), "{} kept", kept.count);
            assert!(kept.mean() > 0.6, "mean {}", kept.mean());
        }
    }

    #[test]
    fn sums_are_those_of_all_values_in_the_window() {
        let values = stream(|_| 0.4, 1_000, 3);
        let mut window = Adwin::new(0.002);
        for value in &values {
            window.push(*value);
        }
        let mean = values.iter().sum::<f64>() / 1_000.0;
        let scatter: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        assert!((window.whole().mean() - mean).abs() < 1e-9);
        assert!((window.whole().scatter - scatter).abs() < 1e-6);
    }
}
