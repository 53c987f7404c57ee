//! Bounds of histograms. Those of vLLM's names are vLLM's (`vllm/v1/metrics/buckets.py`), so that
//! quantiles of its dashboards mean the same here.

/// Seconds of a whole request and of its stages.
pub(super) const REQUEST_SECONDS: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];

/// Seconds until the first token.
pub(super) const FIRST_TOKEN_SECONDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];

/// Seconds between tokens.
pub(super) const TOKEN_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
];

/// Answers to one request.
pub(super) const CHOICES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];

/// Seconds of an HTTP request: those that OpenTelemetry advises, and above them what models take.
pub(super) const HTTP_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    30.0, 60.0, 120.0, 300.0, 600.0,
];

/// 1, 2, 5, 10 and so on up to the most tokens that a context holds.
pub(super) fn tokens(most: usize) -> Vec<f64> {
    let decades = (0..).map(|exponent| 10_usize.pow(exponent));
    let bounds = decades.flat_map(|decade| [1, 2, 5].map(|mantissa| mantissa * decade));
    bounds
        .take_while(|&bound| bound <= most.max(1))
        .map(|bound| bound as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_tokens_end_with_the_context() {
        assert_eq!(tokens(100), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(tokens(131_072).last(), Some(&100_000.0));
        assert_eq!(tokens(0), [1.0]);
    }

    #[test]
    fn bounds_rise() {
        let all = [
            REQUEST_SECONDS,
            FIRST_TOKEN_SECONDS,
            TOKEN_SECONDS,
            CHOICES,
            HTTP_SECONDS,
        ];
        for bounds in all {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }
}
