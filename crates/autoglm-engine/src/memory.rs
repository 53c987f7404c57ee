//! What an engine will take of the machine's memory, known before it takes it.

#[cfg(test)]
mod tests;

use std::fmt;

use autoglm_model::{BLOCK_TOKENS, CacheType, KvCache, ModelConfig, ModelSize, WeightSource};
use autoglm_spec::{Blame, Blamed};

use crate::error::LocalError;
use crate::local::LocalSettings;
use crate::runner::{LOGIT_ROWS, PASS_TOKENS};

/// Blocks of the cache beyond what was asked for, so that a request that fills the whole context
/// can still copy the tail that it shares.
const SPARE_BLOCKS: usize = 2;

/// Bytes of the tokenizer a token of the vocabulary, estimated: its own bytes, where they begin,
/// its kind, and its entries in the tables by bytes and by merges, which are up to half empty.
const TOKENIZER_BYTES_PER_TOKEN: usize = 128;

/// The memory of an engine by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Packed weights.
    pub weight_bytes: usize,
    /// Keys and values of all positions of the cache. The system hands this out as it is first
    /// used.
    pub kv_bytes: usize,
    /// Buffers of a forward pass.
    pub workspace_bytes: usize,
    /// Logits over the vocabulary.
    pub head_bytes: usize,
    /// Vocabulary and tokenizer.
    pub tokenizer_bytes: usize,
    /// Adapters, with the buffers that they want in a pass.
    pub adapter_bytes: usize,
    /// Those buffers, where there are adapters.
    adapter_workspace_bytes: usize,
    /// Token positions of the cache.
    pub cache_tokens: usize,
    /// Bytes that one position takes.
    pub bytes_per_token: usize,
}

/// A model does not fit into the memory that it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryError {
    /// Bytes that may be used.
    pub limit_bytes: u64,
    /// What would be used.
    pub plan: MemoryPlan,
}

impl MemoryPlan {
    /// Plans the memory of an engine with these settings. Where no number of cache positions is
    /// asked for, it is the usual one or, within a limit, what fits.
    ///
    /// # Errors
    /// A model that is not usable, or [`MemoryError`] where it does not fit.
    pub fn new(source: &dyn WeightSource, settings: LocalSettings) -> Result<Self, LocalError> {
        let size = ModelSize::of(source, settings.quantize)?;
        let kind = settings.cache_type;
        let usual = LocalSettings::DEFAULT_CACHE_TOKENS;
        // Where texts are read as a whole the cache serves one pass.
        let usual = if size.config.causal {
            usual
        } else {
            pass_tokens(&size.config).max(LocalSettings::MIN_CACHE_TOKENS)
        };
        let wanted = settings.cache_tokens.unwrap_or(usual);
        let with_cache =
            |tokens| Self::with_cache(&size, kind, tokens).with_adapters(settings.adapter_bytes);
        let mut plan = with_cache(wanted.max(LocalSettings::MIN_CACHE_TOKENS));
        let Some(limit_bytes) = settings.memory_limit else {
            return Ok(plan);
        };
        if settings.cache_tokens.is_none() {
            plan = with_cache(plan.tokens_within(limit_bytes).min(usual));
        }
        if plan.total_bytes() as u64 > limit_bytes {
            return Err(MemoryError { limit_bytes, plan }.into());
        }
        Ok(plan)
    }

    fn with_cache(size: &ModelSize, kind: CacheType, cache_tokens: usize) -> Self {
        let config = &size.config;
        let logit_rows = if config.causal { LOGIT_ROWS } else { 0 };
        let logits = logit_rows * config.vocabulary * size_of::<f32>();
        let bytes_per_token = KvCache::bytes_per_token(kind, config);
        let mut plan = Self {
            weight_bytes: size.weight_bytes,
            kv_bytes: 0,
            workspace_bytes: size.workspace_bytes(pass_tokens(config)),
            head_bytes: logits,
            tokenizer_bytes: config.vocabulary * TOKENIZER_BYTES_PER_TOKEN,
            adapter_bytes: 0,
            adapter_workspace_bytes: size.adapter_workspace_bytes(PASS_TOKENS),
            cache_tokens,
            bytes_per_token,
        };
        plan.kv_bytes = plan.cache_positions().saturating_mul(bytes_per_token);
        plan
    }

    /// The plan with adapters that take so many bytes, or as many as it has already.
    pub(crate) fn with_adapters(mut self, bytes: usize) -> Self {
        if bytes > 0 {
            let wanted = bytes.saturating_add(self.adapter_workspace_bytes);
            self.adapter_bytes = self.adapter_bytes.max(wanted);
        }
        self
    }

    /// Cache positions that a limit leaves room for, at least
    /// [`LocalSettings::MIN_CACHE_TOKENS`].
    fn tokens_within(&self, limit_bytes: u64) -> usize {
        let others = (self.total_bytes() - self.kv_bytes) as u64;
        let left = limit_bytes.saturating_sub(others) / self.bytes_per_token.max(1) as u64;
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let whole = left / BLOCK_TOKENS * BLOCK_TOKENS;
        whole
            .saturating_sub(SPARE_BLOCKS * BLOCK_TOKENS)
            .max(LocalSettings::MIN_CACHE_TOKENS)
    }

    /// Positions that the cache is made with.
    pub fn cache_positions(&self) -> usize {
        self.cache_tokens.next_multiple_of(BLOCK_TOKENS) + SPARE_BLOCKS * BLOCK_TOKENS
    }

    /// All bytes together.
    pub fn total_bytes(&self) -> usize {
        let parts = [
            self.weight_bytes,
            self.kv_bytes,
            self.workspace_bytes,
            self.head_bytes,
            self.tokenizer_bytes,
            self.adapter_bytes,
        ];
        parts.into_iter().fold(0, usize::saturating_add)
    }
}

/// Tokens of one pass at most: a text that is read as a whole is never cut.
fn pass_tokens(config: &ModelConfig) -> usize {
    if config.causal {
        PASS_TOKENS
    } else {
        PASS_TOKENS.max(config.context_tokens)
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        let plan = &self.plan;
        write!(
            f,
            "the model takes {} MiB of memory (weights {}, cache of {} tokens {}, work {}, \
             vocabulary {}, adapters {}), the limit is {} MiB",
            mib(plan.total_bytes()),
            mib(plan.weight_bytes),
            plan.cache_tokens,
            mib(plan.kv_bytes),
            mib(plan.workspace_bytes + plan.head_bytes),
            mib(plan.tokenizer_bytes),
            mib(plan.adapter_bytes),
            self.limit_bytes >> 20,
        )
    }
}

impl std::error::Error for MemoryError {}

impl Blamed for MemoryError {
    fn blame(&self) -> Blame {
        Blame::Capacity
    }
}
