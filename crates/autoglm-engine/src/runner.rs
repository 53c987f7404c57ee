//! One call's use of the model: forward passes over the shared cache, in chunks, with cached
//! prefixes given up when room is needed.

use std::ops::Range;

use autoglm_model::{
    BLOCK_TOKENS, Gating, GatingLimits, KvCache, Model, Outputs, Pool, Sequence, Step, Workspace,
};
use autoglm_spec::{EngineError, GatingSettings};
use autoglm_token::TokenId;

use crate::error::LocalError;
use crate::prefix::PrefixCache;

/// Tokens of one forward pass at most. 512 rows reuse a weight tile often enough that the
/// matrix products, not the weights' way from memory, take the time.
pub(crate) const PASS_TOKENS: usize = 512;

/// What requests share and change; one call at a time has it.
pub(crate) struct State {
    pub(crate) cache: KvCache,
    pub(crate) workspace: Workspace,
    pub(crate) prefixes: PrefixCache,
}

/// A model with the state of the engine, for one call.
pub(crate) struct Runner<'a> {
    pub(crate) model: &'a Model,
    pub(crate) pool: &'a Pool,
    pub(crate) state: &'a mut State,
}

impl Runner<'_> {
    /// One forward pass; cached prefixes make room where it is short.
    ///
    /// # Errors
    /// The cache is too small for the steps even when it holds nothing else.
    pub(crate) fn forward(
        &mut self,
        steps: &mut [Step<'_>],
    ) -> Result<Vec<Range<usize>>, EngineError> {
        let State {
            cache,
            workspace,
            prefixes,
        } = &mut *self.state;
        loop {
            match self.model.forward(self.pool, cache, workspace, steps) {
                Ok(rows) => return Ok(rows),
                Err(full) if !prefixes.evict(cache) => {
                    return Err(EngineError::engine(LocalError::CacheFull(full)));
                }
                Err(_) => {}
            }
        }
    }

    /// Appends all but the last tokens of a long run, so that what is left fits into a pass.
    /// Returns the tokens that are left.
    pub(crate) fn feed_beginning<'t>(
        &mut self,
        sequence: &mut Sequence,
        mut tokens: &'t [TokenId],
    ) -> Result<&'t [TokenId], EngineError> {
        while tokens.len() > PASS_TOKENS {
            let (now, later) = tokens.split_at(PASS_TOKENS);
            self.forward(&mut [Step {
                sequence,
                tokens: now,
                outputs: Outputs::None,
            }])?;
            tokens = later;
        }
        Ok(tokens)
    }

    /// A sequence with the longest cached beginning of `tokens`, without the last token, whose
    /// hidden state has to be computed.
    pub(crate) fn begin(&mut self, tokens: &[TokenId]) -> Sequence {
        let limit = tokens.len().saturating_sub(1);
        let State {
            cache, prefixes, ..
        } = &mut *self.state;
        prefixes.fork(cache, tokens, limit)
    }

    /// Makes sure that the beginning that all prompts share is in the cache.
    pub(crate) fn cache_shared_prefix(
        &mut self,
        prompts: &[&[TokenId]],
    ) -> Result<(), EngineError> {
        let Some(shared) = shared_prefix(prompts) else {
            return Ok(());
        };
        let State {
            cache, prefixes, ..
        } = &mut *self.state;
        let mut sequence = prefixes.fork(cache, shared, shared.len());
        if sequence.len() == shared.len() {
            cache.release(sequence);
            return Ok(());
        }
        match self.feed_all(&mut sequence, shared) {
            Ok(()) => {
                let State {
                    cache, prefixes, ..
                } = &mut *self.state;
                prefixes.insert(cache, shared.to_vec(), sequence);
                Ok(())
            }
            Err(error) => {
                self.release(sequence);
                Err(error)
            }
        }
    }

    fn feed_all(&mut self, sequence: &mut Sequence, tokens: &[TokenId]) -> Result<(), EngineError> {
        let left = self.feed_beginning(sequence, &tokens[sequence.len()..])?;
        self.forward(&mut [Step {
            sequence,
            tokens: left,
            outputs: Outputs::None,
        }])?;
        Ok(())
    }

    /// Logits of rows of the last pass for the given tokens: `[R, N]`.
    pub(crate) fn logits_of(&mut self, rows: &[usize], tokens: &[TokenId]) -> Vec<f32> {
        self.model
            .logits_of(self.pool, &mut self.state.workspace, rows, tokens)
    }

    /// Logits of rows of the last pass over the vocabulary, one vector a row.
    pub(crate) fn logits(&mut self, rows: &[usize]) -> Vec<Vec<f32>> {
        let logits = self
            .model
            .logits(self.pool, &mut self.state.workspace, rows);
        logits
            .chunks_exact(self.model.config().vocabulary)
            .map(<[f32]>::to_vec)
            .collect()
    }

    /// A fork of a whole sequence.
    pub(crate) fn fork(&mut self, sequence: &Sequence) -> Sequence {
        self.state.cache.fork(sequence, sequence.len())
    }

    /// Whether `blocks` are free, after giving up cached prefixes as far as that helps.
    pub(crate) fn make_room(&mut self, blocks: usize) -> bool {
        let State {
            cache, prefixes, ..
        } = &mut *self.state;
        while cache.free_blocks() < blocks {
            if !prefixes.evict(cache) {
                return false;
            }
        }
        true
    }

    /// Keeps a sequence for later requests that begin like it.
    pub(crate) fn keep(&mut self, tokens: Vec<TokenId>, sequence: Sequence) {
        let State {
            cache, prefixes, ..
        } = &mut *self.state;
        prefixes.insert(cache, tokens, sequence);
    }

    /// Forgets what a sequence holds behind its first `len` positions, and its gates.
    pub(crate) fn truncate(&mut self, sequence: &mut Sequence, len: usize) {
        let cache = &mut self.state.cache;
        let kept = cache.fork(sequence, len.min(sequence.len()));
        cache.release(std::mem::replace(sequence, kept));
    }

    /// Gates for the tokens behind a prompt.
    pub(crate) fn gating(&self, settings: GatingSettings, prompt_tokens: usize) -> Gating {
        let limits = GatingLimits {
            sink_tokens: settings.sink_tokens,
            least_recent_tokens: settings.least_recent_tokens,
            most_recent_tokens: settings.most_recent_tokens,
            selected_tokens: settings.selected_tokens,
        };
        Gating::new(limits, self.model.config().layers.len(), prompt_tokens)
    }

    /// Gives a sequence back.
    pub(crate) fn release(&mut self, sequence: Sequence) {
        self.state.cache.release(sequence);
    }
}

/// The beginning that all prompts share, if it is worth caching: at least two prompts and half a
/// block of tokens. The last token of each prompt is left out: its hidden state is needed.
fn shared_prefix<'t>(prompts: &[&'t [TokenId]]) -> Option<&'t [TokenId]> {
    let (first, rest) = prompts.split_first()?;
    let next = rest.first()?;
    let mut len = crate::prefix::common_prefix(first, next);
    for prompt in rest {
        len = len.min(crate::prefix::common_prefix(first, prompt));
    }
    let shortest = prompts.iter().map(|prompt| prompt.len()).min()?;
    len = len.min(shortest - 1);
    (len >= BLOCK_TOKENS / 2).then(|| &first[..len])
}
