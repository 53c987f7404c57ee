//! `chatglm`: pre-norm blocks, SiLU gate with gate and up in one tensor, rotary embedding over
//! interleaved pairs of the first half of each head. ChatGLM2, ChatGLM3, GLM-4-9B, GLM-Edge.

use autoglm_kernel::RopeStyle;

use super::dense;
use crate::checkpoint::{Class, Head, Metadata, Rename, Settings, unchanged};
use crate::config::{ModelConfig, NormPlacement};
use crate::error::ModelError;
use crate::source::WeightSource;

pub(super) fn configure(source: &dyn WeightSource) -> Result<ModelConfig, ModelError> {
    dense::configure(source, RopeStyle::Interleaved, NormPlacement::Pre)
}

/// Folders whose code came with the weights.
pub(super) const CLASS: Class = Class {
    name: "ChatGLMModel",
    architecture: "chatglm",
    configure: settings,
    tensors: &[TENSORS],
    ignored: &["transformer.rotary_pos_emb.inv_freq"],
    head: Head::Own,
    change: unchanged,
};

/// The same under the name that some folders give it.
pub(super) const CONDITIONAL_CLASS: Class = Class {
    name: "ChatGLMForConditionalGeneration",
    ..CLASS
};

const TENSORS: &[Rename] = &[
    ("transformer.embedding.word_embeddings", "token_embd"),
    ("transformer.encoder.final_layernorm", "output_norm"),
    ("transformer.output_layer", "output"),
    (
        "transformer.encoder.layers.{}.input_layernorm",
        "blk.{}.attn_norm",
    ),
    (
        "transformer.encoder.layers.{}.self_attention.query_key_value",
        "blk.{}.attn_qkv",
    ),
    (
        "transformer.encoder.layers.{}.self_attention.dense",
        "blk.{}.attn_output",
    ),
    (
        "transformer.encoder.layers.{}.post_attention_layernorm",
        "blk.{}.ffn_norm",
    ),
    (
        "transformer.encoder.layers.{}.mlp.dense_h_to_4h",
        "blk.{}.ffn_up",
    ),
    (
        "transformer.encoder.layers.{}.mlp.dense_4h_to_h",
        "blk.{}.ffn_down",
    ),
];

/// Base of the rotary frequencies before `rope_ratio`.
const BASE: f64 = 10_000.0;

fn settings(settings: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    settings.expect_boolean("rmsnorm", true)?;
    settings.expect_boolean("post_layer_norm", true)?;
    settings.expect_boolean("original_rope", true)?;
    settings.expect_boolean("apply_residual_connection_post_layernorm", false)?;
    settings.expect_nothing("quantization_config")?;
    settings.expect_nothing("pre_seq_len")?;
    if settings.number("quantization_bit")?.unwrap_or(0) != 0 {
        return Err(settings.wrong("quantization_bit", "0: not quantised"));
    }
    let heads = settings.require_number("num_attention_heads")?;
    let kv_heads = if settings.boolean("multi_query_attention")? == Some(true) {
        settings.require_number("multi_query_group_num")?
    } else {
        heads
    };
    let head_width = settings.require_number("kv_channels")?;
    metadata.set("block_count", settings.require_number("num_layers")?);
    metadata.set("embedding_length", settings.require_number("hidden_size")?);
    metadata.set("attention.head_count", heads);
    metadata.set("attention.head_count_kv", kv_heads);
    metadata.set("attention.key_length", head_width);
    metadata.set("attention.value_length", head_width);
    metadata.set(
        "feed_forward_length",
        settings.require_number("ffn_hidden_size")?,
    );
    metadata.set("context_length", settings.require_number("seq_length")?);
    metadata.set(
        "attention.layer_norm_rms_epsilon",
        settings.require_float("layernorm_epsilon")?,
    );
    metadata.set("rope.dimension_count", head_width / 2);
    let ratio = settings.float("rope_ratio")?.unwrap_or(1.0);
    metadata.set("rope.freq_base", BASE * ratio);
    Ok(())
}
