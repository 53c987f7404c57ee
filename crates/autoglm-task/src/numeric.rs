//! Probabilities from log-probabilities.

/// The logarithm of the sum of exponentials; −∞ of nothing.
pub(crate) fn log_sum_exp(logs: &[f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return top;
    }
    let sum: f64 = logs.iter().map(|log| (log - top).exp()).sum();
    top + sum.ln()
}

/// Log-probabilities that add up to 1 from those that need not. Where all are −∞, every one is
/// equal.
pub(crate) fn log_softmax(logs: &[f64]) -> Vec<f64> {
    let total = log_sum_exp(logs);
    if !total.is_finite() {
        return vec![-(logs.len() as f64).ln(); logs.len()];
    }
    logs.iter().map(|log| log - total).collect()
}

/// Probabilities from log-probabilities up to a constant. Where all are −∞, every one is equal.
pub(crate) fn softmax(logs: &[f64]) -> Vec<f64> {
    log_softmax(logs).into_iter().map(f64::exp).collect()
}

/// The place of the largest value, the first of several; none of nothing.
pub(crate) fn place_of_max(values: &[f64]) -> Option<usize> {
    let better = |best: usize, next: usize| {
        if values[next] > values[best] {
            next
        } else {
            best
        }
    };
    (0..values.len()).reduce(better)
}

#[cfg(test)]
mod tests {
    use super::{log_softmax, place_of_max, softmax};

    #[test]
    fn probabilities_add_up_to_one_whatever_the_size_of_the_logs() {
        for logs in [[-1e4, -1e4 - 1.0], [700.0, 800.0], [0.0, 0.0]] {
            assert!((softmax(&logs).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        assert_eq!(softmax(&[f64::NEG_INFINITY; 4]), vec![0.25; 4]);
    }

    #[test]
    fn logs_of_probabilities_are_the_logs_of_what_softmax_gives() {
        let logs = [0.5, -2.0, 3.0];
        for (log, p) in log_softmax(&logs).iter().zip(softmax(&logs)) {
            assert!((log.exp() - p).abs() < 1e-15);
        }
    }

    #[test]
    fn the_first_of_equal_values_is_the_largest() {
        assert_eq!(place_of_max(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(place_of_max(&[]), None);
    }
}
