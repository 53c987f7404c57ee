//! The norms of a block and of embeddings.

use autoglm_kernel::{Pool, layer_norm_in_place};

use super::loader::Loader;
use crate::config::{ModelConfig, NormPlacement};
use crate::error::ModelError;

/// The norms of one block: `[C]` each.
pub(crate) enum BlockNorms {
    /// By root mean square before attention and the feed-forward part, and of their results where
    /// there are four.
    Around {
        attention: Vec<f32>,
        post_attention: Option<Vec<f32>>,
        feed_forward: Vec<f32>,
        post_feed_forward: Option<Vec<f32>>,
    },
    /// By mean and variance, of the residual stream behind both.
    Behind {
        attention: LayerNorm,
        feed_forward: LayerNorm,
    },
}

/// The tensors of a layer norm: `[C]` each.
pub(crate) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LayerNorm {
    /// Normalises rows in place.
    pub(crate) fn apply(&self, pool: &Pool, x: &mut [f32], epsilon: f32) {
        layer_norm_in_place(pool, x, &self.weight, &self.bias, epsilon);
    }
}

impl Loader<'_> {
    pub(super) fn norms(
        &self,
        layer: usize,
        config: &ModelConfig,
    ) -> Result<BlockNorms, ModelError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let vector = |part: &str| self.vector(&name(part), config.width);
        let sandwich = config.norms == NormPlacement::Sandwich;
        let post = |part: &str| sandwich.then(|| vector(part)).transpose();
        if config.norms == NormPlacement::Post {
            return Ok(BlockNorms::Behind {
                attention: self.layer_norm(&name("attn_output_norm"), config)?,
                feed_forward: self.layer_norm(&name("layer_output_norm"), config)?,
            });
        }
        Ok(BlockNorms::Around {
            attention: vector("attn_norm.weight")?,
            post_attention: post("post_attention_norm.weight")?,
            feed_forward: self.vector(&self.feed_forward_norm(layer, config), config.width)?,
            post_feed_forward: post("post_ffw_norm.weight")?,
        })
    }

    /// The name of the norm before the feed-forward part. Where nothing is normalised behind
    /// attention, some files call it `post_attention_norm`.
    fn feed_forward_norm(&self, layer: usize, config: &ModelConfig) -> String {
        let name = format!("blk.{layer}.ffn_norm.weight");
        if config.norms == NormPlacement::Pre && self.source.tensor_info(&name).is_none() {
            let other = format!("blk.{layer}.post_attention_norm.weight");
            if self.source.tensor_info(&other).is_some() {
                return other;
            }
        }
        name
    }

    /// The layer norm with this name, which stands before `.weight` and `.bias`.
    pub(super) fn layer_norm(
        &self,
        stem: &str,
        config: &ModelConfig,
    ) -> Result<LayerNorm, ModelError> {
        Ok(LayerNorm {
            weight: self.vector(&format!("{stem}.weight"), config.width)?,
            bias: self.vector(&format!("{stem}.bias"), config.width)?,
        })
    }
}
