//! How well an engine's model predicts texts.

use autoglm_spec::{AttentionPolicy, Cancel, EngineError};
use autoglm_token::TokenId;

use crate::divergence::{Divergence, compare_window};
use crate::error::LocalError;
use crate::local::LocalEngine;
use crate::perplexity::{self, Perplexity, PerplexitySettings};

impl LocalEngine {
    /// How well the model predicts tokens. They are cut into windows of `settings.context`
    /// positions, each computed from an empty cache behind the prefix that the model wants; all
    /// tokens but the first position of a window are predicted, or as many as `settings.last`
    /// says. `on_window` hears of each finished window.
    ///
    /// # Errors
    /// A context of fewer than two tokens or of more than the model's, or cancellation.
    pub fn perplexity(
        &self,
        tokens: &[TokenId],
        settings: &PerplexitySettings,
        cancel: &Cancel,
        on_window: &mut dyn FnMut(&Perplexity),
    ) -> Result<Perplexity, EngineError> {
        let mut total = Perplexity::default();
        for window in self.windows(tokens, settings.context)? {
            let machine = self.machine();
            let found = self.desk.borrow(|scheduler| {
                let runner = &mut scheduler.runner;
                perplexity::window(runner, machine, &window, settings, cancel)
            })?;
            total += found;
            on_window(&total);
        }
        Ok(total)
    }

    /// How well the model predicts each of several continuations of one prompt, behind the prefix
    /// that the model wants, under each of several policies. The prompt but for its last token is
    /// read once, with full attention; the policies are those of the positions which predict. One
    /// list for each policy.
    ///
    /// # Errors
    /// A prompt or a continuation without tokens, more tokens than the model's context, or
    /// cancellation.
    pub fn predict_continuations(
        &self,
        prompt: &[TokenId],
        continuations: &[Vec<TokenId>],
        policies: &[AttentionPolicy],
        cancel: &Cancel,
    ) -> Result<Vec<Vec<Perplexity>>, EngineError> {
        let prompt = [self.tokenizer().prefix(), prompt].concat();
        let refused = |field, given: usize, wanted| EngineError::BadRequest {
            field,
            given: format!("{given} tokens"),
            wanted,
        };
        let lengths = || continuations.iter().map(Vec::len);
        if prompt.is_empty() {
            return Err(refused("prompt", 0, "at least 1 token"));
        }
        if lengths().any(|len| len == 0) {
            return Err(refused("continuation", 0, "at least 1 token"));
        }
        let longest = prompt.len() + lengths().max().unwrap_or(0);
        if longest > self.facts.context_tokens {
            let wanted = "at most the model's context";
            return Err(refused("prompt and continuation", longest, wanted));
        }
        let machine = self.machine();
        self.desk.borrow(|scheduler| {
            let runner = &mut scheduler.runner;
            let asked = (prompt.as_slice(), continuations);
            perplexity::continuations(runner, machine, asked, policies, cancel)
        })
    }

    /// Tokens in windows of `context` positions, the model's prefix included.
    fn windows(
        &self,
        tokens: &[TokenId],
        context: usize,
    ) -> Result<Vec<Vec<TokenId>>, EngineError> {
        self.check_writes()?;
        let prefix = self.tokenizer().prefix();
        let smallest = 2.max(prefix.len() + 1);
        let largest = self
            .facts
            .context_tokens
            .saturating_sub(self.virtual_tokens());
        if !(smallest..=largest).contains(&context) {
            return Err(EngineError::BadRequest {
                field: "context",
                given: context.to_string(),
                wanted: "at least 2, more than the model's prefix, and at most the model's context",
            });
        }
        let windows = tokens.chunks(context - prefix.len());
        Ok(windows.map(|text| [prefix, text].concat()).collect())
    }

    /// How far the model's predictions of a text are from another model's with the same
    /// vocabulary, over the windows of [`LocalEngine::perplexity`].
    ///
    /// # Errors
    /// As [`LocalEngine::perplexity`], and another vocabulary.
    pub fn divergence(
        &self,
        reference: &Self,
        tokens: &[TokenId],
        context: usize,
        cancel: &Cancel,
        on_window: &mut dyn FnMut(&Divergence),
    ) -> Result<Divergence, EngineError> {
        let (found, wanted) = (self.vocabulary(), reference.vocabulary());
        if found != wanted {
            return Err(EngineError::engine(LocalError::OtherVocabulary {
                found,
                wanted,
            }));
        }
        let limit = reference.facts.context_tokens;
        let machines = [self.machine(), reference.machine()];
        let mut total = Divergence::default();
        for window in self.windows(tokens, context.min(limit))? {
            self.desk.borrow(|ours| {
                reference.desk.borrow(|theirs| {
                    let runners = [&mut ours.runner, &mut theirs.runner];
                    compare_window(runners, machines, &window, &mut total, cancel)
                })
            })?;
            on_window(&total);
        }
        Ok(total)
    }

    fn vocabulary(&self) -> usize {
        self.model().config().vocabulary
    }
}
