//! `glm4moe`: pre-norm blocks with key/value heads, the first layers dense and the others a
//! mixture of experts; rotary embedding over halves of a part of each head. GLM-4.5, 4.5-Air, 4.6
//! and 4.7. In GGUF files the norm before the feed-forward part is called `post_attention_norm`.

use autoglm_kernel::RopeStyle;

use super::keys::Keys;
use super::{dense, experts};
use crate::checkpoint::{
    Class, EXPERTS, FURTHER, HEAD_NORMS, Head, Metadata, PLAIN, Partial, Rename, Settings,
    dense_settings, expert_settings, unchanged,
};
use crate::config::{ModelConfig, NormPlacement, RouterGate};
use crate::error::ModelError;
use crate::source::WeightSource;

pub(super) fn configure(source: &dyn WeightSource) -> Result<ModelConfig, ModelError> {
    let keys = Keys::new(source)?;
    let experts = experts::configure(&keys, RouterGate::Sigmoid)?;
    let config = dense::with_heads(&keys, RopeStyle::HalfSplit, NormPlacement::Pre)?;
    Ok(ModelConfig {
        experts: Some(experts),
        ..config
    })
}

pub(super) const CLASS: Class = Class {
    name: "Glm4MoeForCausalLM",
    architecture: "glm4moe",
    configure: settings,
    tensors: &[PLAIN, NORMS, HEAD_NORMS, EXPERTS, FURTHER],
    ignored: &["model.layers.{}.self_attn.rotary_emb.inv_freq"],
    head: Head::Own,
    change: unchanged,
};

const NORMS: &[Rename] = &[
    ("model.layers.{}.input_layernorm", "blk.{}.attn_norm"),
    (
        "model.layers.{}.post_attention_layernorm",
        "blk.{}.post_attention_norm",
    ),
];

fn settings(settings: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    dense_settings(settings, metadata, Partial::Half)?;
    let dense = settings.require_number("first_k_dense_replace")?;
    expert_settings(settings, metadata, dense)
}
