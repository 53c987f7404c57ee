//! Multi-head latent attention: keys and values of all heads from one short row a position.

use super::{ModelConfig, divides};
use crate::error::ModelError;

/// The widths of multi-head latent attention. The cache holds `rank + rope_width` numbers a
/// position and layer, whatever the number of heads.
///
/// # Source
/// `DeepSeek-AI`, `DeepSeek-V2`, 2024, section 2.1 and appendix C.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentConfig {
    /// The width that queries are compressed to on the way, where they are.
    pub query_rank: Option<usize>,
    /// L, the width of the compressed keys and values.
    pub rank: usize,
    /// R, the width of the rotated part of queries and of the key that all heads share.
    pub rope_width: usize,
    /// The width of a head's part of queries and keys that is not rotated.
    pub plain_width: usize,
    /// The width of a head's values.
    pub value_width: usize,
    /// Epsilon of the norms of the compressed rows.
    pub norm_epsilon: f32,
}

impl LatentConfig {
    /// Numbers that the cache holds for a position and layer.
    pub fn cached(&self) -> usize {
        self.rank + self.rope_width
    }

    pub(super) fn check(&self, config: &ModelConfig) -> Result<(), ModelError> {
        let wrong = |key: &str, found: usize, wanted| Err(config.wrong(key, found, wanted));
        if !divides(16, self.rank) || self.rank > MAX_RANK {
            let wanted = "a multiple of 16 up to 16384";
            return wrong("attention.kv_lora_rank", self.rank, wanted);
        }
        if !divides(16, self.rope_width) || self.rope_width > MAX_RANK {
            let wanted = "a multiple of 16 up to 16384";
            return wrong("rope.dimension_count", self.rope_width, wanted);
        }
        if self.plain_width == 0 || self.plain_width > MAX_RANK {
            let wanted = "more than rope.dimension_count, up to 16384";
            return wrong("attention.key_length_mla", config.head_width, wanted);
        }
        if self.value_width == 0 || self.value_width > MAX_RANK {
            let wanted = "1 to 16384";
            return wrong("attention.value_length_mla", self.value_width, wanted);
        }
        if self.query_rank.is_some_and(|rank| rank > MAX_RANK) {
            let rank = self.query_rank.unwrap_or(0);
            return wrong("attention.q_lora_rank", rank, "up to 16384");
        }
        Ok(())
    }
}

/// Wider than any model of the field; a bound for what a file may claim.
const MAX_RANK: usize = 1 << 14;
