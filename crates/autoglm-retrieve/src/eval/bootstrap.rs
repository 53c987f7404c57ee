//! How far a mean may be from the true one.

use serde::Serialize;

/// Resamples: their quantiles move by less than a hundredth of the interval with more.
const RESAMPLES: usize = 2_000;

/// A mean with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean; 0 where there is nothing.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The mean of values and its interval by the percentile bootstrap. The same values always give the
/// same interval.
///
/// # Source
/// Efron, Tibshirani 1993, An Introduction to the Bootstrap, §13.3.
pub fn estimate(values: &[f64]) -> Estimate {
    if values.is_empty() {
        return Estimate {
            mean: 0.0,
            low: 0.0,
            high: 0.0,
        };
    }
    let count = values.len();
    let mut stream = Stream(0);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..count).map(|_| values[stream.below(count)]).sum::<f64>() / count as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    Estimate {
        mean: values.iter().sum::<f64>() / count as f64,
        low: means[RESAMPLES * 25 / 1_000],
        high: means[RESAMPLES * 975 / 1_000 - 1],
    }
}

/// Random numbers that are the same everywhere.
///
/// # Source
/// Steele, Lea, Flood 2014, Fast Splittable Pseudorandom Number Generators, `SplitMix64`.
struct Stream(u64);

impl Stream {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::estimate;

    #[test]
    fn the_interval_of_a_share_is_near_that_of_the_normal_distribution() {
        let values: Vec<f64> = (0..400).map(|n| f64::from(u8::from(n % 4 == 0))).collect();
        let found = estimate(&values);
        assert_eq!(found.mean, 0.25);
        // 1.96 · √(0.25 · 0.75 / 400) = 0.0424.
        assert!((found.low - 0.2076).abs() < 0.006, "{found:?}");
        assert!((found.high - 0.2924).abs() < 0.006, "{found:?}");
        assert_eq!(found, estimate(&values));
    }

    #[test]
    fn nothing_and_equal_values_have_no_width() {
        assert_eq!(estimate(&[]).high, 0.0);
        assert_eq!(
            (estimate(&[0.5; 9]).low, estimate(&[0.5; 9]).high),
            (0.5, 0.5)
        );
    }
}
