//! How well a model predicts a text.

use autoglm_model::{Outputs, Sequence, Step, log_sum_exp};
use autoglm_spec::{Cancel, EngineError};
use autoglm_token::TokenId;

use crate::runner::Runner;

/// Hidden rows whose logits are computed at once: 32 × 262,144 × 4 bytes = 32 MiB.
pub(crate) const LOGIT_ROWS: usize = 32;

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
    runner: &mut Runner<'_>,
    window: &[TokenId],
    total: &mut Perplexity,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let mut sequence = Sequence::default();
    let outcome = predict(runner, &mut sequence, window, total, cancel);
    runner.release(sequence);
    outcome
}

fn predict(
    runner: &mut Runner<'_>,
    sequence: &mut Sequence,
    window: &[TokenId],
    total: &mut Perplexity,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let inputs = &window[..window.len().saturating_sub(1)];
    for (chunk, tokens) in inputs.chunks(crate::runner::PASS_TOKENS).enumerate() {
        let first = chunk * crate::runner::PASS_TOKENS;
        runner.forward(&mut [Step {
            sequence,
            tokens,
            outputs: Outputs::All,
        }])?;
        let rows: Vec<usize> = (0..tokens.len()).collect();
        for rows in rows.chunks(LOGIT_ROWS) {
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            for (&row, logits) in rows.iter().zip(runner.logits(rows)) {
                let next = window[first + row + 1] as usize;
                total.negative_log_likelihood += f64::from(log_sum_exp(&logits) - logits[next]);
                total.predicted_tokens += 1;
            }
        }
    }
    Ok(())
}
