//! What an engine has done so far.

/// Counts since the engine was opened, and how its queue and its cache are filled now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Requests that were begun.
    pub requests: u64,
    /// Requests that wait to be begun.
    pub waiting: usize,
    /// Requests that are being worked on.
    pub running: usize,
    /// Forward passes.
    pub passes: u64,
    /// Passes that ended in a panic; their requests failed, and the cache was begun anew.
    pub failed_passes: u64,
    /// Tokens of the prompts of all requests that were begun.
    pub prompt_tokens: u64,
    /// Of these, tokens whose keys and values another request had computed.
    pub cached_tokens: u64,
    /// Tokens that went through the model.
    pub computed_tokens: u64,
    /// Tokens that prompt lookup proposed.
    pub proposed_tokens: u64,
    /// Of these, tokens that were what the model chose.
    pub accepted_tokens: u64,
    /// Tokens that a constraint left no choice about and that took no pass of their own.
    pub forced_tokens: u64,
    /// Tokens that were generated, forced ones included.
    pub generated_tokens: u64,
    /// Blocks of cached prefixes that were given up for room.
    pub evicted_blocks: u64,
    /// Blocks that cached prefixes hold now.
    pub prefix_blocks: usize,
    /// Of these, blocks that no running request shares, so that they could be given up.
    pub evictable_blocks: usize,
    /// Blocks that nothing holds now.
    pub free_blocks: usize,
    /// Blocks in all.
    pub total_blocks: usize,
}

impl EngineStats {
    /// Token positions that a block of the cache holds.
    pub const BLOCK_TOKENS: usize = autoglm_model::BLOCK_TOKENS;

    /// Blocks that running requests or cached prefixes hold.
    pub fn used_blocks(&self) -> usize {
        self.total_blocks - self.free_blocks
    }

    /// The counts so far, for an engine whose scheduler begins anew.
    pub(crate) fn carried_on(self) -> Self {
        Self {
            failed_passes: self.failed_passes + 1,
            waiting: 0,
            running: 0,
            prefix_blocks: 0,
            evictable_blocks: 0,
            free_blocks: 0,
            total_blocks: 0,
            ..self
        }
    }
}
