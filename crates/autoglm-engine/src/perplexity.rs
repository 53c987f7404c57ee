//! How well a model predicts a text.

use std::ops::AddAssign;

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

impl AddAssign for Perplexity {
    fn add_assign(&mut self, other: Self) {
        self.predicted_tokens += other.predicted_tokens;
        self.negative_log_likelihood += other.negative_log_likelihood;
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

/// Predicts the tokens of one window, computed from an empty cache: all but the first, or as many
/// as are asked for.
pub(crate) fn window(
    runner: &mut Runner,
    machine: Machine<'_>,
    window: &[TokenId],
    settings: &PerplexitySettings,
    cancel: &Cancel,
) -> Result<Perplexity, EngineError> {
    let inputs = window.len().saturating_sub(1);
    let prompt = settings.last.map_or(0, |last| inputs.saturating_sub(last));
    let mut sequence = read(runner, machine, &window[..prompt], cancel)?;
    let behind = &window[prompt..];
    let policy = settings.attention;
    let outcome = predict(runner, machine, &mut sequence, behind, policy, cancel);
    runner.cache.release(sequence);
    outcome
}

/// Predicts each of several continuations of one prompt, which is read once, under each policy. A
/// prompt has a token at least, and so has a continuation.
pub(crate) fn continuations(
    runner: &mut Runner,
    machine: Machine<'_>,
    (prompt, continuations): (&[TokenId], &[Vec<TokenId>]),
    policies: &[AttentionPolicy],
    cancel: &Cancel,
) -> Result<Vec<Vec<Perplexity>>, EngineError> {
    let (&last, before) = prompt.split_last().expect("a prompt has a token");
    let read = read(runner, machine, before, cancel)?;
    let mut behind = |policy: AttentionPolicy, continuation: &Vec<TokenId>| {
        let tokens = [&[last], continuation.as_slice()].concat();
        let mut sequence = runner.cache.fork(&read, read.len());
        let outcome = predict(runner, machine, &mut sequence, &tokens, policy, cancel);
        runner.cache.release(sequence);
        outcome
    };
    let of_policy = |&policy: &AttentionPolicy| {
        let continuations = continuations.iter();
        continuations.map(|c| behind(policy, c)).collect()
    };
    let found = policies.iter().map(of_policy).collect();
    runner.cache.release(read);
    found
}

/// A sequence behind tokens that are not predicted.
fn read(
    runner: &mut Runner,
    machine: Machine<'_>,
    tokens: &[TokenId],
    cancel: &Cancel,
) -> Result<Sequence, EngineError> {
    let begun = runner.begin(machine);
    let mut sequence = begun.map_err(|full| EngineError::engine(LocalError::CacheFull(full)))?;
    for tokens in tokens.chunks(PASS_TOKENS) {
        let outcome = if cancel.is_cancelled() {
            Err(EngineError::Cancelled)
        } else {
            forward(runner, machine, &mut sequence, tokens, Outputs::None)
        };
        if let Err(error) = outcome {
            runner.cache.release(sequence);
            return Err(error);
        }
    }
    Ok(sequence)
}

/// Predicts all tokens but the first, behind what the sequence holds.
fn predict(
    runner: &mut Runner,
    machine: Machine<'_>,
    sequence: &mut Sequence,
    tokens: &[TokenId],
    attention: AttentionPolicy,
    cancel: &Cancel,
) -> Result<Perplexity, EngineError> {
    let mut found = Perplexity::default();
    let mut pass_tokens = PASS_TOKENS;
    if let AttentionPolicy::Gated(settings) = attention {
        let first = sequence.len();
        sequence.gate(gating(machine.model, settings, first));
        pass_tokens = 1;
    }
    let (inputs, wanted) = match tokens {
        [] => return Ok(found),
        [inputs @ .., _] => (inputs, &tokens[1..]),
    };
    for (tokens, next) in inputs.chunks(pass_tokens).zip(wanted.chunks(pass_tokens)) {
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        forward(runner, machine, sequence, tokens, Outputs::All)?;
        let rows: Vec<usize> = (0..next.len()).collect();
        runner.for_each_logits(machine, &rows, |row, logits| {
            let logit = logits[next[row] as usize];
            found.negative_log_likelihood += f64::from(log_sum_exp(logits) - logit);
            found.predicted_tokens += 1;
        });
    }
    Ok(found)
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
