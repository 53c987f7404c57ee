//! What the classes of `transformers` with experts share: names of settings and tensors.

use super::{Metadata, Rename, Settings};
use crate::error::ModelError;

/// The tensors of a mixture of experts.
pub(crate) const EXPERTS: &[Rename] = &[
    ("model.layers.{}.mlp.gate", "blk.{}.ffn_gate_inp"),
    (
        "model.layers.{}.mlp.gate.e_score_correction_bias",
        "blk.{}.exp_probs_b.bias",
    ),
    (
        "model.layers.{}.mlp.experts.{}.gate_proj",
        "blk.{}.ffn_gate_exps",
    ),
    (
        "model.layers.{}.mlp.experts.{}.up_proj",
        "blk.{}.ffn_up_exps",
    ),
    (
        "model.layers.{}.mlp.experts.{}.down_proj",
        "blk.{}.ffn_down_exps",
    ),
    (
        "model.layers.{}.mlp.shared_experts.gate_proj",
        "blk.{}.ffn_gate_shexp",
    ),
    (
        "model.layers.{}.mlp.shared_experts.up_proj",
        "blk.{}.ffn_up_shexp",
    ),
    (
        "model.layers.{}.mlp.shared_experts.down_proj",
        "blk.{}.ffn_down_shexp",
    ),
];

/// What the layers that predict further tokens have beside those of a layer.
pub(crate) const FURTHER: &[Rename] = &[
    ("model.layers.{}.eh_proj", "blk.{}.nextn.eh_proj"),
    ("model.layers.{}.enorm", "blk.{}.nextn.enorm"),
    ("model.layers.{}.hnorm", "blk.{}.nextn.hnorm"),
    ("model.layers.{}.embed_tokens", "blk.{}.nextn.embed_tokens"),
    (
        "model.layers.{}.shared_head.norm",
        "blk.{}.nextn.shared_head_norm",
    ),
    (
        "model.layers.{}.shared_head.head",
        "blk.{}.nextn.shared_head_head",
    ),
];

/// The number of GGUF for a router whose gate is a sigmoid.
const SIGMOID: usize = 2;

/// Settings of a mixture of experts whose first `dense` layers have none.
pub(crate) fn expert_settings(
    settings: &Settings,
    metadata: &mut Metadata,
    dense: usize,
) -> Result<(), ModelError> {
    settings.expect_text("scoring_func", "sigmoid")?;
    settings.expect_text("topk_method", "noaux_tc")?;
    metadata.set("leading_dense_block_count", dense);
    metadata.set("expert_gating_func", SIGMOID);
    let required = [
        ("expert_count", "n_routed_experts"),
        ("expert_used_count", "num_experts_per_tok"),
        ("expert_feed_forward_length", "moe_intermediate_size"),
    ];
    for (key, setting) in required {
        metadata.set(key, settings.require_number(setting)?);
    }
    let optional = [
        ("expert_shared_count", "n_shared_experts", 0),
        ("expert_group_count", "n_group", 1),
        ("expert_group_used_count", "topk_group", 1),
    ];
    for (key, setting, default) in optional {
        metadata.set(key, settings.number(setting)?.unwrap_or(default));
    }
    let normalise = settings.boolean("norm_topk_prob")?.unwrap_or(true);
    metadata.set("expert_weights_norm", normalise);
    let scale = settings.float("routed_scaling_factor")?.unwrap_or(1.0);
    metadata.set("expert_weights_scale", scale);
    further_layers(settings, metadata)
}

/// GGUF counts the layers that predict further tokens among the blocks.
fn further_layers(settings: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    let further = match settings.number("num_nextn_predict_layers")? {
        Some(further) => further,
        None => settings.number("num_mtp_layers")?.unwrap_or(0),
    };
    metadata.set("nextn_predict_layers", further);
    let blocks = metadata.number("block_count").saturating_add(further);
    metadata.set("block_count", blocks);
    Ok(())
}
