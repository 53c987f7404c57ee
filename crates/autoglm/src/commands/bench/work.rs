//! The kinds of work that are measured, and what each demands of the machine.

use autoglm_model::{CacheType, GatingLimits, KvCache, ModelConfig};
use serde_json::{Value, json};

use super::limits::{Demand, Weights};

/// Tokens of a request's own behind the shared prefix, about.
pub(super) const SUFFIX_TOKENS: usize = 8;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// One prompt from an empty context, up to the logits of its last token.
    Prefill {
        /// Tokens of the prompt.
        tokens: usize,
    },
    /// One sequence, token by token, with the logits of each.
    Decode {
        /// Tokens that stand before the first one.
        depth: usize,
    },
    /// The same with attention to a part of what stands before.
    GatedDecode {
        /// Tokens that stand before the first one.
        depth: usize,
        /// What the gates let through.
        limits: GatingLimits,
    },
    /// Sequences that decode together from an empty context.
    Sequences {
        /// How many.
        count: usize,
    },
    /// Time to the first token of a request whose prefix no request had before.
    FirstToken {
        /// Tokens of the prefix.
        prefix: usize,
    },
    /// Time to the first token of a request that shares the prefix of one before.
    NextFirstToken {
        /// Tokens of the prefix.
        prefix: usize,
    },
    /// Requests at once that share the prefix of one before.
    Clients {
        /// Tokens of the prefix.
        prefix: usize,
        /// How many requests.
        clients: usize,
    },
}

impl Work {
    /// What is measured when nothing is named.
    pub(super) const DEFAULTS: [Self; 5] = [
        Self::Prefill { tokens: 512 },
        Self::Decode { depth: 0 },
        Self::Decode { depth: 2_048 },
        Self::Sequences { count: 8 },
        Self::Sequences { count: 16 },
    ];

    /// What it is called in a table.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Prefill { tokens } => format!("prefill {tokens}"),
            Self::Decode { depth: 0 } => "decode".to_owned(),
            Self::Decode { depth } => format!("decode at {depth}"),
            Self::GatedDecode { depth, .. } => format!("gated at {depth}"),
            Self::Sequences { count } => format!("{count} sequences"),
            Self::FirstToken { prefix } => format!("first token, prefix {prefix}"),
            Self::NextFirstToken { prefix } => format!("the next first token, prefix {prefix}"),
            Self::Clients { prefix, clients } => format!("{clients} clients, prefix {prefix}"),
        }
    }

    /// What it is called in JSON, with its sizes.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Prefill { tokens } => json!({"work": "prefill", "tokens": tokens}),
            Self::Decode { depth } => json!({"work": "decode", "depth": depth}),
            Self::GatedDecode { depth, .. } => json!({"work": "gated-decode", "depth": depth}),
            Self::Sequences { count } => json!({"work": "sequences", "sequences": count}),
            Self::FirstToken { prefix } => json!({"work": "first-token", "prefix": prefix}),
            Self::NextFirstToken { prefix } => {
                json!({"work": "next-first-token", "prefix": prefix})
            }
            Self::Clients { prefix, clients } => {
                json!({"work": "clients", "prefix": prefix, "clients": clients})
            }
        }
    }

    /// The unit of its samples.
    pub(super) fn unit(&self) -> &'static str {
        match self {
            Self::FirstToken { .. } | Self::NextFirstToken { .. } => "ms",
            _ => "tokens/s",
        }
    }

    /// Positions of the longest sequence, when `decode` tokens are decoded.
    pub(super) fn context_tokens(&self, decode: usize) -> usize {
        match self {
            Self::Prefill { tokens } => *tokens,
            Self::Decode { depth } | Self::GatedDecode { depth, .. } => depth + decode,
            Self::Sequences { .. } => decode,
            Self::FirstToken { prefix } | Self::NextFirstToken { prefix } => {
                prefix + SUFFIX_TOKENS + 1
            }
            Self::Clients { prefix, .. } => prefix + SUFFIX_TOKENS + decode,
        }
    }

    /// Positions of all its sequences in the bench's cache.
    pub(super) fn cache_tokens(&self, decode: usize) -> usize {
        match self {
            Self::Sequences { count } => {
                count * decode.next_multiple_of(autoglm_model::BLOCK_TOKENS)
            }
            Self::Prefill { .. } | Self::Decode { .. } | Self::GatedDecode { .. } => {
                self.context_tokens(decode)
            }
            _ => 0,
        }
    }

    /// What one pass demands of the machine at least; `None` for whole requests, whose passes are
    /// the engine's business, and for gates, which let through what they find worth it.
    pub(super) fn demand(
        &self,
        (config, cache_type): (&ModelConfig, CacheType),
        weights: &Weights,
        decode: usize,
    ) -> Option<Demand> {
        let (rows, outputs, sequences, depth) = match *self {
            Self::Prefill { tokens } => (tokens, 1, 1, 0),
            Self::Decode { depth } => (1, 1, 1, depth + decode / 2),
            Self::Sequences { count } => (count, count, count, decode / 2),
            _ => return None,
        };
        let mut demand = weights.demand(rows, outputs);
        demand.read_bytes += sequences as f64 * cached_bytes(config, cache_type, depth);
        Some(demand)
    }
}

/// Bytes of keys and values that a token at position `depth` attends to, over all layers.
fn cached_bytes(config: &ModelConfig, cache_type: CacheType, depth: usize) -> f64 {
    let layer_bytes =
        KvCache::bytes_per_token(cache_type, config) as f64 / config.layers.len() as f64;
    let seen = |window: Option<usize>| window.unwrap_or(usize::MAX).min(depth) as f64;
    config
        .layers
        .iter()
        .map(|layer| layer_bytes * seen(layer.window))
        .sum()
}
