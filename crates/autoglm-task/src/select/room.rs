//! How much of a model's context a prompt may fill.

use autoglm_spec::{ModelFacts, Prompt};

use crate::compose::Composed;

/// Tokens that a chat template adds to a prompt at most.
const TEMPLATE_TOKENS: usize = 64;

/// Counts a prompt's tokens, where the engine can.
pub type TokenCounter<'a> = dyn Fn(&Prompt) -> Option<usize> + 'a;

/// What prompts may fill.
#[derive(Clone, Copy)]
pub(crate) struct Room<'a> {
    /// The tokens of the model's context.
    pub(crate) context_tokens: usize,
    /// Tokens of a prompt at most, where it was said.
    pub(crate) most_tokens: Option<usize>,
    /// Counts them, where the engine can.
    pub(crate) tokens: Option<&'a TokenCounter<'a>>,
}

impl<'a> Room<'a> {
    pub(crate) fn new(
        model: &ModelFacts,
        most_tokens: Option<usize>,
        tokens: Option<&'a TokenCounter<'a>>,
    ) -> Self {
        Self {
            context_tokens: model.context_tokens,
            most_tokens,
            tokens,
        }
    }

    /// Whether a prompt fits, with its answer.
    pub(crate) fn has_place_for(&self, composed: &Composed) -> bool {
        let options = composed.options.iter().flatten().map(String::len);
        let answer = composed.max_tokens.max(options.max().unwrap_or(0));
        let free = self.context_tokens.saturating_sub(answer);
        let most = self.most_tokens.map_or(free, |most| most.min(free));
        self.size_tokens(&composed.prompt) <= most
    }

    /// A prompt's tokens, or its bytes, of which no vocabulary has fewer than one a token.
    fn size_tokens(&self, prompt: &Prompt) -> usize {
        let counted = self.tokens.and_then(|tokens| tokens(prompt));
        counted.unwrap_or_else(|| prompt.display_text().len() + TEMPLATE_TOKENS)
    }
}
