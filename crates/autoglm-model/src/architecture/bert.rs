//! `bert`: attention to the whole text, learnt positions, norms behind each part with a bias, GELU
//! without a gate. It gives hidden states alone: embeddings of texts.

use super::keys::Keys;
use crate::checkpoint::{Class, Head, Metadata, Rename, Settings, TEXT_TOKENS_KEY, unchanged};
use crate::config::{LayerConfig, ModelConfig, NormPlacement, Pooling};
use crate::error::ModelError;
use crate::source::WeightSource;

pub(super) fn configure(source: &dyn WeightSource) -> Result<ModelConfig, ModelError> {
    let keys = Keys::new(source)?;
    let width: usize = keys.require("embedding_length")?;
    let heads: usize = keys.require("attention.head_count")?;
    if keys.get_or("attention.causal", false)? {
        return Err(keys.wrong("attention.causal", true, "false"));
    }
    let head_width = width / heads.max(1);
    let positions: usize = keys.require("context_length")?;
    let advised = source.get(TEXT_TOKENS_KEY)?.unwrap_or(positions);
    let layer = LayerConfig {
        window: None,
        rope: 0,
    };
    Ok(ModelConfig {
        architecture: keys.architecture().to_owned(),
        width,
        heads,
        kv_heads: heads,
        head_width,
        latent: None,
        feed_forward: keys.require("feed_forward_length")?,
        experts: None,
        vocabulary: keys.vocabulary()?,
        context_tokens: positions.min(advised),
        causal: false,
        pooling: Some(pooling(&keys)?),
        norm_epsilon: keys.require("attention.layer_norm_epsilon")?,
        norms: NormPlacement::Post,
        gate: None,
        attention_scale: (head_width as f32).sqrt().recip(),
        rotated_length: 1.0,
        embedding_scale: 1.0,
        ropes: Vec::new(),
        layers: vec![layer; super::layer_count(&keys)?],
    })
}

/// How hidden states become one vector; the mean where the file leaves it open.
fn pooling(keys: &Keys<'_>) -> Result<Pooling, ModelError> {
    const KEY: &str = "pooling_type";
    match keys.get_or::<u32>(KEY, 0)? {
        0 | 1 => Ok(Pooling::Mean),
        2 => Ok(Pooling::First),
        3 => Ok(Pooling::Last),
        other => Err(keys.wrong(KEY, other, "0 to 3: none, mean, first or last")),
    }
}

pub(super) const CLASS: Class = Class {
    name: "BertModel",
    architecture: "bert",
    configure: settings,
    tensors: &[TENSORS, NORMS],
    // Positions in order, and a head for a task of the pre-training.
    ignored: &[
        "embeddings.position_ids",
        "pooler.dense.weight",
        "pooler.dense.bias",
    ],
    head: Head::Absent,
    change: unchanged,
};

const TENSORS: &[Rename] = &[
    ("embeddings.word_embeddings", "token_embd"),
    ("embeddings.position_embeddings", "position_embd"),
    ("embeddings.token_type_embeddings", "token_types"),
    ("encoder.layer.{}.attention.self.query", "blk.{}.attn_q"),
    ("encoder.layer.{}.attention.self.key", "blk.{}.attn_k"),
    ("encoder.layer.{}.attention.self.value", "blk.{}.attn_v"),
    (
        "encoder.layer.{}.attention.output.dense",
        "blk.{}.attn_output",
    ),
    ("encoder.layer.{}.intermediate.dense", "blk.{}.ffn_up"),
    ("encoder.layer.{}.output.dense", "blk.{}.ffn_down"),
];

const NORMS: &[Rename] = &[
    ("embeddings.LayerNorm.weight", "token_embd_norm.weight"),
    ("embeddings.LayerNorm.bias", "token_embd_norm.bias"),
    (
        "encoder.layer.{}.attention.output.LayerNorm.weight",
        "blk.{}.attn_output_norm.weight",
    ),
    (
        "encoder.layer.{}.attention.output.LayerNorm.bias",
        "blk.{}.attn_output_norm.bias",
    ),
    (
        "encoder.layer.{}.output.LayerNorm.weight",
        "blk.{}.layer_output_norm.weight",
    ),
    (
        "encoder.layer.{}.output.LayerNorm.bias",
        "blk.{}.layer_output_norm.bias",
    ),
];

fn settings(settings: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    settings.expect_nothing("quantization_config")?;
    settings.expect_text("hidden_act", "gelu")?;
    settings.expect_text("position_embedding_type", "absolute")?;
    for switch in ["is_decoder", "add_cross_attention"] {
        settings.expect_boolean(switch, false)?;
    }
    let sizes = [
        ("embedding_length", "hidden_size"),
        ("block_count", "num_hidden_layers"),
        ("attention.head_count", "num_attention_heads"),
        ("feed_forward_length", "intermediate_size"),
        ("context_length", "max_position_embeddings"),
    ];
    for (key, setting) in sizes {
        metadata.set(key, settings.require_number(setting)?);
    }
    let epsilon = settings.float("layer_norm_eps")?;
    metadata.set("attention.layer_norm_epsilon", epsilon.unwrap_or(1e-12));
    metadata.set("attention.causal", false);
    let types = settings.number("type_vocab_size")?;
    metadata.set_shared("tokenizer.ggml.token_type_count", types.unwrap_or(2));
    Ok(())
}
