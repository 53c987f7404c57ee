//! How well a model predicts a text.

use autoglm_model::{Outputs, Sequence, Step, log_sum_exp};
use autoglm_spec::{AttentionPolicy, Cancel, EngineError};
use autoglm_token::TokenId;

use crate::error::LocalError;
use crate::runner::{Machine, PASS_TOKENS, Runner, gating};

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
    runner: &mut Runner,
    machine: Machine<'_>,
    window: &[TokenId],
    settings: &PerplexitySettings,
    total: &mut Perplexity,
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let begun = runner.begin(machine);
    let mut sequence = begun.map_err(|full| EngineError::engine(LocalError::CacheFull(full)))?;
    let asked = (settings, total);
    let outcome = predict(runner, machine, &mut sequence, window, asked, cancel);
    runner.cache.release(sequence);
    outcome
}

fn predict(
    runner: &mut Runner,
    machine: Machine<'_>,
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
        forward(runner, machine, sequence, tokens, Outputs::None)?;
    }
    let mut pass_tokens = PASS_TOKENS;
    if let AttentionPolicy::Gated(settings) = settings.attention {
        let first = sequence.len();
        sequence.gate(gating(machine.model, settings, first));
        pass_tokens = 1;
    }
    let passes = inputs[prompt..].chunks(pass_tokens);
    for (tokens, next) in passes.zip(window[prompt + 1..].chunks(pass_tokens)) {
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        forward(runner, machine, sequence, tokens, Outputs::All)?;
        let rows: Vec<usize> = (0..next.len()).collect();
        runner.for_each_logits(machine, &rows, |row, logits| {
            let logit = logits[next[row] as usize];
            total.negative_log_likelihood += f64::from(log_sum_exp(logits) - logit);
            total.predicted_tokens += 1;
        });
    }
    Ok(())
}

/// One pass over tokens of one sequence.
fn forward(
    runner: &mut Runner,
    machine: Machine<'_>,
    sequence: &mut Sequence,
    tokens: &[TokenId],
    outputs: Outputs,
) -> Result<(), EngineError> {
    let mut step = [Step {
        sequence,
        tokens,
        outputs,
    }];
    let rows = runner.forward(machine, &mut step);
    rows.map_err(|full| EngineError::engine(LocalError::CacheFull(full)))?;
    Ok(())
}
