//! `glm4`: as `chatglm`, with norms behind attention and feed-forward part as well. GLM-4-0414 and
//! Z1.
//!
//! In a folder `post_attention_layernorm` is the norm *before* the feed-forward part, as in every
//! other class; the one behind attention is `post_self_attn_layernorm`.

use autoglm_kernel::RopeStyle;

use super::dense;
use crate::checkpoint::{
    Class, GATE_UP, Head, NORMS, PLAIN, Partial, Rename, dense_settings, unchanged,
};
use crate::config::{ModelConfig, NormPlacement};
use crate::error::ModelError;
use crate::source::WeightSource;

pub(super) fn configure(source: &dyn WeightSource) -> Result<ModelConfig, ModelError> {
    dense::configure(source, RopeStyle::Interleaved, NormPlacement::Sandwich)
}

pub(super) const CLASS: Class = Class {
    name: "Glm4ForCausalLM",
    architecture: "glm4",
    configure: |settings, metadata| dense_settings(settings, metadata, Partial::Half),
    tensors: &[PLAIN, GATE_UP, NORMS, POST_NORMS],
    ignored: &["model.layers.{}.self_attn.rotary_emb.inv_freq"],
    head: Head::Own,
    change: unchanged,
};

const POST_NORMS: &[Rename] = &[
    (
        "model.layers.{}.post_self_attn_layernorm",
        "blk.{}.post_attention_norm",
    ),
    ("model.layers.{}.post_mlp_layernorm", "blk.{}.post_ffw_norm"),
];
