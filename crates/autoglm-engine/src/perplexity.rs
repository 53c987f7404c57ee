//! How well a model predicts a text.

use autoglm_model::{Outputs, Sequence, Step, log_sum_exp};
use autoglm_spec::{AttentionPolicy, Cancel, EngineError};
use autoglm_token::TokenId;

use crate::runner::{PASS_TOKENS, Runner};

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

/// What is predicted, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerplexitySettings {
    /// Positions of a window.
    pub context: usize,
    /// Predict only this many tokens at the end of each window; the ones before stand for a prompt.
    pub last: Option<usize>,
    /// What the attention of predicting positions looks at. Gated ones are computed one by one, as
    /// when text is generated.
    pub attention: AttentionPolicy,
}

/// Adds the tokens of one window, computed from an empty cache; all but the first are predicted, or
/// as many as are asked for.
pub(crate) fn add_window(
    runner: &mut Runner<'_>,
    window: &[TokenId],
    settings: &PerplexitySettings,
    total: &mut Perplexity,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let mut sequence = Sequence::default();
    let outcome = predict(runner, &mut sequence, window, (settings, total), cancel);
    runner.release(sequence);
    outcome
}

fn predict(
    runner: &mut Runner<'_>,
    sequence: &mut Sequence,
    window: &[TokenId],
    (settings, total): (&PerplexitySettings, &mut Perplexity),
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let inputs = &window[..window.len().saturating_sub(1)];
    let prompt = settings
        .last
        .map_or(0, |last| inputs.len().saturating_sub(last));
    for tokens in inputs[..prompt].chunks(PASS_TOKENS) {
        let outputs = Outputs::None;
        runner.forward(&mut [Step {
            sequence,
            tokens,
            outputs,
        }])?;
    }
    let mut pass_tokens = PASS_TOKENS;
    if let AttentionPolicy::Gated(gating) = settings.attention {
        sequence.gate(runner.gating(gating, prompt));
        pass_tokens = 1;
    }
    let passes = inputs[prompt..].chunks(pass_tokens);
    for (tokens, next) in passes.zip(window[prompt + 1..].chunks(pass_tokens)) {
        let outputs = Outputs::All;
        runner.forward(&mut [Step {
            sequence,
            tokens,
            outputs,
        }])?;
        add_rows(runner, next, total, cancel)?;
    }
    Ok(())
}

/// Adds what each row of the last pass says of the token behind it.
fn add_rows(
    runner: &mut Runner<'_>,
    next: &[TokenId],
    total: &mut Perplexity,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let rows: Vec<usize> = (0..next.len()).collect();
    for rows in rows.chunks(LOGIT_ROWS) {
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        for (&row, logits) in rows.iter().zip(runner.logits(rows)) {
            let logit = logits[next[row] as usize];
            total.negative_log_likelihood += f64::from(log_sum_exp(&logits) - logit);
            total.predicted_tokens += 1;
        }
    }
    Ok(())
}
