//! What an engine has done so far.

/// Counts since the engine was opened, and how its cache is filled now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Requests that were begun.
    pub requests: u64,
    /// Forward passes.
    pub passes: u64,
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
    /// Blocks of cached prefixes that were given up for room.
    pub evicted_blocks: u64,
    /// Blocks that cached prefixes hold now.
    pub prefix_blocks: usize,
    /// Blocks that nothing holds now.
    pub free_blocks: usize,
    /// Blocks in all.
    pub total_blocks: usize,
}
