//! How far one model's predictions of a text are from another's: what quantising costs.

use autoglm_model::{Outputs, Sequence, Step, argmax, log_sum_exp, softmax};
use autoglm_spec::{Cancel, EngineError};
use autoglm_token::TokenId;

use crate::error::LocalError;
use crate::runner::{LOGIT_ROWS, Machine, PASS_TOKENS, Runner};

/// A mean over tokens with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean over all predicted tokens.
    pub mean: f64,
    /// Its standard error. Tokens of one window depend on each other, so the windows are what is
    /// taken to be independent; infinite where there is only one.
    pub standard_error: f64,
}

/// What a comparison has found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Divergence {
    windows: Vec<Sums>,
}

/// Sums over the tokens of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sums {
    tokens: f64,
    /// Negative natural log-probabilities of the text's tokens.
    loss: f64,
    reference_loss: f64,
    /// Kullback–Leibler divergence of the model from the reference, in nats.
    divergence: f64,
    /// How often both have the same first choice.
    agreement: f64,
}

impl Divergence {
    /// Tokens that were predicted.
    pub fn predicted_tokens(&self) -> usize {
        self.sum(|sums| sums.tokens) as usize
    }

    /// The model's perplexity.
    pub fn perplexity(&self) -> f64 {
        self.estimate(|sums| sums.loss).mean.exp()
    }

    /// The reference's perplexity.
    pub fn reference_perplexity(&self) -> f64 {
        self.estimate(|sums| sums.reference_loss).mean.exp()
    }

    /// The model's perplexity over the reference's; the error is that of the mean difference of
    /// log-probabilities, times the ratio.
    pub fn perplexity_ratio(&self) -> Estimate {
        let log = self.estimate(|sums| sums.loss - sums.reference_loss);
        let ratio = log.mean.exp();
        Estimate {
            mean: ratio,
            standard_error: ratio * log.standard_error,
        }
    }

    /// `Σ p ln(p/q)` over the vocabulary, p of the reference and q of the model, in nats.
    pub fn divergence(&self) -> Estimate {
        self.estimate(|sums| sums.divergence)
    }

    /// The share of tokens at which both have the same first choice.
    pub fn agreement(&self) -> Estimate {
        self.estimate(|sums| sums.agreement)
    }

    fn sum(&self, of: impl Fn(&Sums) -> f64) -> f64 {
        self.windows.iter().map(of).sum()
    }

    /// The ratio estimator of survey statistics, windows as clusters.
    fn estimate(&self, of: impl Fn(&Sums) -> f64) -> Estimate {
        let tokens = self.sum(|sums| sums.tokens).max(1.0);
        let mean = self.sum(&of) / tokens;
        let count = self.windows.len() as f64;
        let squares = self.sum(|sums| (of(sums) - mean * sums.tokens).powi(2));
        Estimate {
            mean,
            standard_error: (squares * count / (count - 1.0)).sqrt() / tokens,
        }
    }
}

/// Adds one window, computed by both models from an empty cache; all tokens but the first are
/// predicted.
pub(crate) fn compare_window(
    mut runners: [&mut Runner; 2],
    machines: [Machine<'_>; 2],
    window: &[TokenId],
    total: &mut Divergence,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let full = |full| EngineError::engine(LocalError::CacheFull(full));
    let ours = runners[0].begin(machines[0]).map_err(full)?;
    let theirs = match runners[1].begin(machines[1]) {
        Ok(sequence) => sequence,
        Err(error) => {
            runners[0].cache.release(ours);
            return Err(full(error));
        }
    };
    let mut sequences = [ours, theirs];
    let outcome = compare(&mut runners, machines, &mut sequences, window, cancel);
    for (runner, sequence) in runners.iter_mut().zip(sequences) {
        runner.cache.release(sequence);
    }
    total.windows.push(outcome?);
    Ok(())
}

fn compare(
    runners: &mut [&mut Runner; 2],
    machines: [Machine<'_>; 2],
    sequences: &mut [Sequence; 2],
    window: &[TokenId],
    cancel: &Cancel,
) -> Result<Sums, EngineError> {
    let mut sums = Sums::default();
    let inputs = &window[..window.len().saturating_sub(1)];
    for (chunk, tokens) in inputs.chunks(PASS_TOKENS).enumerate() {
        let both = runners.iter_mut().zip(machines).zip(sequences.iter_mut());
        for ((runner, machine), sequence) in both {
            let mut step = [Step {
                sequence,
                tokens,
                outputs: Outputs::All,
            }];
            runner
                .forward(machine, &mut step)
                .map_err(|full| EngineError::engine(LocalError::CacheFull(full)))?;
        }
        let rows: Vec<usize> = (0..tokens.len()).collect();
        for rows in rows.chunks(LOGIT_ROWS) {
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            let [ours, theirs] = runners;
            let mut expected = Vec::with_capacity(rows.len());
            theirs.for_each_logits(machines[1], rows, |_, logits| {
                expected.push(logits.to_vec());
            });
            let mut expected = expected.into_iter();
            ours.for_each_logits(machines[0], rows, |row, logits| {
                let theirs = expected.next().expect("both are asked for the same rows");
                sums.add(logits, theirs, window[chunk * PASS_TOKENS + row + 1]);
            });
        }
    }
    Ok(sums)
}

impl Sums {
    /// Adds a token from both rows of logits.
    fn add(&mut self, ours: &[f32], mut theirs: Vec<f32>, next: TokenId) {
        let next = next as usize;
        let (our_norm, their_norm) = (log_sum_exp(ours), log_sum_exp(&theirs));
        self.tokens += 1.0;
        self.loss += f64::from(our_norm - ours[next]);
        self.reference_loss += f64::from(their_norm - theirs[next]);
        self.agreement += f64::from(u8::from(argmax(ours) == argmax(&theirs)));
        let ahead: Vec<f32> = theirs.iter().zip(ours).map(|(t, o)| t - o).collect();
        softmax(&mut theirs);
        let weighted = theirs
            .iter()
            .zip(&ahead)
            .map(|(p, ahead)| f64::from(p * ahead));
        self.divergence += weighted.sum::<f64>() - f64::from(their_norm - our_norm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divergence_is_that_of_the_definition() {
        let (ours, theirs) = ([0.3_f32, -1.0, 2.0, 0.0], vec![1.0_f32, 0.5, 1.5, -2.0]);
        let mut sums = Sums::default();
        sums.add(&ours, theirs.clone(), 1);
        let log = |x: &[f32], i: usize| {
            let total: f64 = x.iter().map(|x| f64::from(*x).exp()).sum();
            f64::from(x[i]) - total.ln()
        };
        let wanted: f64 = (0..4)
            .map(|i| log(&theirs, i).exp() * (log(&theirs, i) - log(&ours, i)))
            .sum();
        assert!((sums.divergence - wanted).abs() < 1e-5);
        assert!((sums.loss + log(&ours, 1)).abs() < 1e-5);
        assert!((sums.reference_loss + log(&theirs, 1)).abs() < 1e-5);
        assert_eq!(sums.agreement, 1.0);
    }

    #[test]
    fn windows_that_differ_make_the_error() {
        let window = |divergence| Sums {
            tokens: 10.0,
            divergence,
            ..Sums::default()
        };
        let found = Divergence {
            windows: vec![window(1.0), window(2.0), window(3.0)],
        };
        assert_eq!(found.predicted_tokens(), 30);
        let Estimate {
            mean,
            standard_error,
        } = found.divergence();
        assert!((mean - 0.2).abs() < 1e-12);
        // Means of 0.1, 0.2, 0.3: deviation 0.1, over the root of three.
        assert!((standard_error - 0.1 / 3f64.sqrt()).abs() < 1e-12);
    }
}
