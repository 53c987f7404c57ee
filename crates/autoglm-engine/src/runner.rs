//! Forward passes over the shared cache, with cached prefixes given up when room is needed.

use std::ops::Range;
use std::sync::Arc;

use autoglm_model::{
    Adapter, CacheFull, Gating, GatingLimits, KvCache, Model, Outputs, Pool, Sequence, Step,
    Workspace,
};
use autoglm_spec::GatingSettings;
use autoglm_token::{TokenId, Tokenizer};

use crate::prefix::PrefixTree;

/// Tokens of one forward pass at most. 512 rows reuse a weight tile often enough that the
/// matrix products, not the weights' way from memory, take the time.
pub(crate) const PASS_TOKENS: usize = 512;

/// What stands in a prompt where an adapter's virtual tokens are; any token would do.
pub(crate) const PLACEHOLDER: TokenId = 0;

/// Vocabulary-wide logit rows that are held at once: 32 × 262,144 × 4 bytes = 32 MiB.
pub(crate) const LOGIT_ROWS: usize = 32;

/// What computes and never changes.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub(crate) model: &'a Model,
    pub(crate) pool: &'a Pool,
    pub(crate) tokenizer: &'a Tokenizer,
    /// The adapter of texts that are asked about without a request.
    pub(crate) adapter: Option<&'a Arc<Adapter>>,
}

/// What all requests share and passes change.
pub(crate) struct Runner {
    pub(crate) cache: KvCache,
    pub(crate) prefixes: PrefixTree,
    workspace: Workspace,
    logits: Vec<f32>,
    /// Blocks of cached prefixes that were given up so far.
    pub(crate) evicted_blocks: u64,
}

impl Runner {
    pub(crate) fn new(cache: KvCache) -> Self {
        Self {
            cache,
            prefixes: PrefixTree::default(),
            workspace: Workspace::default(),
            logits: Vec::new(),
            evicted_blocks: 0,
        }
    }

    /// One forward pass; cached prefixes make room where it is short.
    ///
    /// # Errors
    /// The cache is too small for the steps even when it holds nothing else.
    pub(crate) fn forward(
        &mut self,
        machine: Machine<'_>,
        steps: &mut [Step<'_>],
    ) -> Result<Vec<Range<usize>>, CacheFull> {
        loop {
            let (cache, workspace) = (&mut self.cache, &mut self.workspace);
            match machine.model.forward(machine.pool, cache, workspace, steps) {
                Ok(rows) => return Ok(rows),
                Err(full) if !self.make_room(full.wanted_blocks) => return Err(full),
                Err(_) => {}
            }
        }
    }

    /// A sequence under the machine's adapter that holds its virtual tokens alone.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub(crate) fn begin(&mut self, machine: Machine<'_>) -> Result<Sequence, CacheFull> {
        let mut sequence = Sequence::default().under(machine.adapter.cloned());
        let count = machine
            .adapter
            .map_or(0, |adapter| adapter.virtual_tokens());
        for tokens in vec![PLACEHOLDER; count].chunks(PASS_TOKENS) {
            let mut step = [Step {
                sequence: &mut sequence,
                tokens,
                outputs: Outputs::None,
            }];
            if let Err(full) = self.forward(machine, &mut step) {
                self.cache.release(sequence);
                return Err(full);
            }
        }
        Ok(sequence)
    }

    /// Whether `blocks` are free, after giving up cached prefixes as far as that helps.
    fn make_room(&mut self, blocks: usize) -> bool {
        while self.cache.free_blocks() < blocks {
            if !self.prefixes.evict(&mut self.cache) {
                return false;
            }
            self.evicted_blocks += 1;
        }
        true
    }

    /// Blocks that are free or could be made so.
    pub(crate) fn available_blocks(&self) -> usize {
        self.cache.free_blocks() + self.prefixes.evictable(&self.cache)
    }

    /// The last hidden states of rows of the last pass: `[R, C]`.
    pub(crate) fn hidden_states(&mut self, machine: Machine<'_>, rows: Range<usize>) -> &[f32] {
        let rows: Vec<usize> = rows.collect();
        let workspace = &mut self.workspace;
        machine.model.hidden_states(machine.pool, workspace, &rows)
    }

    /// The hidden states of a row of the last pass that was traced: `[D, C]`.
    pub(crate) fn traced_states(&mut self, machine: Machine<'_>, row: usize) -> Vec<Vec<f32>> {
        let workspace = &mut self.workspace;
        machine.model.traced_states(machine.pool, workspace, row)
    }

    /// Logits of rows of the last pass for the given tokens: `[R, N]`.
    pub(crate) fn logits_of(
        &mut self,
        machine: Machine<'_>,
        rows: &[usize],
        tokens: &[TokenId],
    ) -> Vec<f32> {
        let workspace = &mut self.workspace;
        machine
            .model
            .logits_of(machine.pool, workspace, rows, tokens)
    }

    /// Calls `each` with every one of `rows` of the last pass and its logits over the
    /// vocabulary, which are computed some rows at a time and may be changed.
    pub(crate) fn for_each_logits(
        &mut self,
        machine: Machine<'_>,
        rows: &[usize],
        mut each: impl FnMut(usize, &mut [f32]),
    ) {
        let vocabulary = machine.model.config().vocabulary;
        for rows in rows.chunks(LOGIT_ROWS) {
            let len = rows.len() * vocabulary;
            if self.logits.len() < len {
                self.logits.resize(len, 0.0);
            }
            let logits = &mut self.logits[..len];
            machine
                .model
                .write_logits(machine.pool, &mut self.workspace, rows, logits);
            for (&row, logits) in rows.iter().zip(logits.chunks_exact_mut(vocabulary)) {
                each(row, logits);
            }
        }
    }
}

/// Gates for the tokens behind a prompt.
pub(crate) fn gating(model: &Model, settings: GatingSettings, prompt_tokens: usize) -> Gating {
    let limits = GatingLimits {
        sink_tokens: settings.sink_tokens,
        least_recent_tokens: settings.least_recent_tokens,
        most_recent_tokens: settings.most_recent_tokens,
        selected_tokens: settings.selected_tokens,
    };
    Gating::new(limits, model.config().layers.len(), prompt_tokens)
}
