//! How far a measured share may be from the true one.

/// The 0.975 quantile of the normal distribution, for 95 % between both sides.
const Z_95: f64 = 1.959_963_984_540_054;

/// The 95 % interval of a share of `right` among `all` by Wilson's score method; `[0, 1]` where
/// there is nothing.
///
/// It never leaves [0, 1] and keeps its coverage for few rows and for shares near 0 and 1, where
/// the usual p ± 1.96·√(p(1−p)/n) is far too narrow.
///
/// # Source
/// Wilson 1927; Brown, Cai, `DasGupta` 2001, Interval Estimation for a Binomial Proportion, §3.1.
pub fn wilson_interval(right: usize, all: usize) -> [f64; 2] {
    if all == 0 {
        return [0.0, 1.0];
    }
    let n = all as f64;
    let p = right as f64 / n;
    let z2 = Z_95 * Z_95;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}
