//! How well a model predicts a text.

use autoglm_model::{Outputs, Sequence, Step, log_sum_exp};
use autoglm_spec::{Cancel, EngineError};
use autoglm_token::TokenId;

use crate::error::LocalError;
use crate::runner::{Machine, PASS_TOKENS, Runner};

/// What a model makes of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Perplexity {
    /// Tokens that were predicted.
    pub predicted_tokens: usize,
    /// Sum of their negative natural log-probabilities.
    pub negative_log_likelihood: f64,
}

impl Perplexity {
    /// `exp` of the mean negative log-probability of a token.
    pub fn value(&self) -> f64 {
        (self.negative_log_likelihood / self.predicted_tokens.max(1) as f64).exp()
    }
}

/// Adds the tokens of one window, computed from an empty cache; all but the first are predicted.
pub(crate) fn add_window(
    runner: &mut Runner,
    machine: Machine<'_>,
    window: &[TokenId],
    total: &mut Perplexity,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let mut sequence = Sequence::default();
    let outcome = predict(runner, machine, &mut sequence, window, total, cancel);
    runner.cache.release(sequence);
    outcome
}

fn predict(
    runner: &mut Runner,
    machine: Machine<'_>,
    sequence: &mut Sequence,
    window: &[TokenId],
    total: &mut Perplexity,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let inputs = &window[..window.len().saturating_sub(1)];
    for (chunk, tokens) in inputs.chunks(PASS_TOKENS).enumerate() {
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        let first = chunk * PASS_TOKENS;
        let mut step = [Step {
            sequence: &mut *sequence,
            tokens,
            outputs: Outputs::All,
        }];
        runner
            .forward(machine, &mut step)
            .map_err(|full| EngineError::engine(LocalError::CacheFull(full)))?;
        let rows: Vec<usize> = (0..tokens.len()).collect();
        runner.for_each_logits(machine, &rows, |row, logits| {
            let next = window[first + row + 1] as usize;
            total.negative_log_likelihood += f64::from(log_sum_exp(logits) - logits[next]);
            total.predicted_tokens += 1;
        });
    }
    Ok(())
}
