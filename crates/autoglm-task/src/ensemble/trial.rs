//! How many examples of a label a prompt should have.

/// How a number of examples of each label did.
pub(super) struct Trial {
    shots: usize,
    /// The mean log loss.
    loss: f64,
    /// Its standard error.
    error: f64,
}

impl Trial {
    /// What came of the losses of some rows.
    pub(super) fn new(shots: usize, losses: &[f64]) -> Self {
        let count = losses.len().max(2) as f64;
        let loss = losses.iter().sum::<f64>() / count;
        let squares: f64 = losses.iter().map(|l| (l - loss).powi(2)).sum();
        Self {
            shots,
            loss,
            error: (squares / (count - 1.0) / count).sqrt(),
        }
    }
}

/// The most examples whose loss is within a standard error of the least: what few rows tell of
/// small differences is chance, and more examples are seldom worse.
///
/// # Source
/// The one-standard-error rule of Breiman et al. 1984, Classification and regression trees, 3.4.3.
pub(super) fn most_within_an_error(trials: &[Trial]) -> Option<usize> {
    let best = trials.iter().min_by(|a, b| a.loss.total_cmp(&b.loss))?;
    let within = |trial: &&Trial| trial.loss <= best.loss + best.error;
    trials.iter().filter(within).map(|trial| trial.shots).max()
}

/// Whether the mean of some differences is above 0 by more than its standard error.
pub(super) fn is_surely_above_zero(differences: &[f64]) -> bool {
    let trial = Trial::new(0, differences);
    trial.loss > trial.error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_examples_are_taken_where_they_are_not_clearly_worse() {
        let trial = |shots, loss| Trial {
            shots,
            loss,
            error: 0.1,
        };
        let of = |losses: &[(usize, f64)]| {
            let trials: Vec<Trial> = losses.iter().map(|&(s, l)| trial(s, l)).collect();
            most_within_an_error(&trials)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(0, 0.5), (1, 0.4), (2, 0.45), (4, 0.49)]), Some(4));
        assert_eq!(of(&[(0, 0.3), (1, 0.6), (2, 0.39), (4, 0.41)]), Some(2));
        assert_eq!(of(&[(0, 0.2), (8, 0.9)]), Some(0));
    }

    #[test]
    fn differences_by_chance_are_not_surely_above_zero() {
        assert!(is_surely_above_zero(&[0.1, 0.2, 0.1, 0.2]));
        assert!(!is_surely_above_zero(&[0.5, -0.4, 0.1, -0.2]));
        assert!(!is_surely_above_zero(&[0.0; 6]));
        assert!(!is_surely_above_zero(&[]));
    }

    #[test]
    fn the_error_of_a_mean_is_its_standard_error() {
        let trial = Trial::new(1, &[1.0, 2.0, 3.0, 4.0]);
        assert!((trial.loss - 2.5).abs() < 1e-12);
        // The variance of the sample is 5/3.
        assert!((trial.error - (5.0_f64 / 12.0).sqrt()).abs() < 1e-12);
    }
}
