//! `deepseek2`: pre-norm blocks with multi-head latent attention, the first layers dense and the
//! others a mixture of experts. GLM-4.7-Flash (`glm4_moe_lite`), and `DeepSeek` V2 and V3 as far as
//! their positions are not stretched.

use autoglm_kernel::{GateActivation, RopeParams, RopeStyle};

use super::{experts, keys::Keys};
use crate::checkpoint::{
    Class, EXPERTS, FURTHER, Head, Metadata, NORMS, PLAIN, Partial, Rename, Settings,
    dense_settings, expert_settings, unchanged,
};
use crate::config::{
    ExpertsConfig, LatentConfig, LayerConfig, ModelConfig, NormPlacement, RouterGate,
};
use crate::error::ModelError;
use crate::source::WeightSource;

/// Base of the rotary frequencies where the file names none (Su et al. 2021, §3.4.3).
const DEFAULT_BASE: f32 = 10_000.0;

const EPSILON: &str = "attention.layer_norm_rms_epsilon";
/// Epsilon of the norms of the compressed rows: a key of our own, since files that others write
/// mean the same as for all norms.
const LATENT_EPSILON: &str = "attention.latent_norm_epsilon";
/// What the class in `transformers` gives these norms, whatever `rms_norm_eps` says.
const CLASS_EPSILON: f64 = 1e-6;

pub(super) fn configure(source: &dyn WeightSource) -> Result<ModelConfig, ModelError> {
    let keys = Keys::new(source)?;
    expect_unstretched(&keys)?;
    let layers = super::layer_count(&keys)?;
    let head_width = head_width(&keys, "key")?;
    let latent = latent(&keys, head_width)?;
    let rope = RopeParams {
        style: RopeStyle::Interleaved,
        width: latent.rope_width,
        rotated: latent.rope_width,
        base: keys.get_or("rope.freq_base", DEFAULT_BASE)?.into(),
        position_scale: 1.0,
        frequency_factors: None,
    };
    let layer = LayerConfig {
        window: None,
        rope: 0,
    };
    Ok(ModelConfig {
        architecture: keys.architecture().to_owned(),
        width: keys.require("embedding_length")?,
        heads: keys.require("attention.head_count")?,
        kv_heads: 1,
        head_width,
        latent: Some(latent),
        feed_forward: keys.require("feed_forward_length")?,
        experts: experts_of(source, &keys, layers)?,
        vocabulary: keys.vocabulary()?,
        context_tokens: keys.require("context_length")?,
        causal: true,
        pooling: None,
        norm_epsilon: keys.require(EPSILON)?,
        norms: NormPlacement::Pre,
        gate: Some(GateActivation::Silu),
        attention_scale: (head_width as f32).sqrt().recip(),
        rotated_length: 1.0,
        embedding_scale: 1.0,
        ropes: vec![rope],
        layers: vec![layer; layers],
    })
}

/// The width of a head's keys or values. Files whose up-projections are one matrix know no other
/// width; the others call the latent one `key_length` and this one `key_length_mla`.
fn head_width(keys: &Keys<'_>, what: &str) -> Result<usize, ModelError> {
    match keys.get_or(&format!("attention.{what}_length_mla"), 0)? {
        0 => keys.require(&format!("attention.{what}_length")),
        width => Ok(width),
    }
}

fn latent(keys: &Keys<'_>, head_width: usize) -> Result<LatentConfig, ModelError> {
    let rope_width: usize = keys.require("rope.dimension_count")?;
    let query_rank = keys.get_or("attention.q_lora_rank", 0)?;
    Ok(LatentConfig {
        query_rank: (query_rank > 0).then_some(query_rank),
        rank: keys.require("attention.kv_lora_rank")?,
        rope_width,
        plain_width: head_width.saturating_sub(rope_width),
        value_width: self::head_width(keys, "value")?,
        norm_epsilon: keys.get_or(LATENT_EPSILON, keys.require(EPSILON)?)?,
    })
}

/// The experts, where not every layer is dense. Files that name no gate have a sigmoid where a
/// correction of the choice stands beside the router, and a softmax where none does.
fn experts_of(
    source: &dyn WeightSource,
    keys: &Keys<'_>,
    layers: usize,
) -> Result<Option<ExpertsConfig>, ModelError> {
    let first: usize = keys.get_or("leading_dense_block_count", 0)?;
    if first >= layers {
        return Ok(None);
    }
    let correction = format!("blk.{first}.exp_probs_b.bias");
    let gate = match source.tensor_info(&correction) {
        Some(_) => RouterGate::Sigmoid,
        None => RouterGate::Softmax,
    };
    experts::configure(keys, gate).map(Some)
}

/// Stretched positions change the scale of attention in part as well, which is not built.
fn expect_unstretched(keys: &Keys<'_>) -> Result<(), ModelError> {
    match keys.get_or("rope.scaling.type", "none")? {
        "none" => Ok(()),
        other => Err(keys.wrong("rope.scaling.type", other, "none")),
    }
}

/// GLM-4.7-Flash in a folder.
pub(super) const CLASS: Class = Class {
    name: "Glm4MoeLiteForCausalLM",
    architecture: "deepseek2",
    configure: settings,
    tensors: &[PLAIN, NORMS, LATENT, EXPERTS, FURTHER],
    ignored: &["model.layers.{}.self_attn.rotary_emb.inv_freq"],
    head: Head::Own,
    change: unchanged,
};

const LATENT: &[Rename] = &[
    ("model.layers.{}.self_attn.q_a_proj", "blk.{}.attn_q_a"),
    (
        "model.layers.{}.self_attn.q_a_layernorm",
        "blk.{}.attn_q_a_norm",
    ),
    ("model.layers.{}.self_attn.q_b_proj", "blk.{}.attn_q_b"),
    (
        "model.layers.{}.self_attn.kv_a_proj_with_mqa",
        "blk.{}.attn_kv_a_mqa",
    ),
    (
        "model.layers.{}.self_attn.kv_a_layernorm",
        "blk.{}.attn_kv_a_norm",
    ),
    ("model.layers.{}.self_attn.kv_b_proj", "blk.{}.attn_kv_b"),
];

/// The up-projections of keys and values are one matrix, so the metadata is that of GGUF files
/// with one.
fn settings(settings: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    settings.expect_boolean("rope_interleave", true)?;
    dense_settings(settings, metadata, Partial::Never)?;
    let turned = settings.require_number("qk_rope_head_dim")?;
    let plain = settings.require_number("qk_nope_head_dim")?;
    metadata.set("rope.dimension_count", turned);
    metadata.set("attention.key_length", turned.saturating_add(plain));
    let value_width = settings.require_number("v_head_dim")?;
    metadata.set("attention.value_length", value_width);
    metadata.set(LATENT_EPSILON, CLASS_EPSILON);
    let rank = settings.require_number("kv_lora_rank")?;
    metadata.set("attention.kv_lora_rank", rank);
    let query_rank = settings.number("q_lora_rank")?.unwrap_or(0);
    metadata.set("attention.q_lora_rank", query_rank);
    expert_settings(settings, metadata, dense_layers(settings)?)
}

/// How many layers at the beginning are dense.
fn dense_layers(settings: &Settings) -> Result<usize, ModelError> {
    const KEY: &str = "mlp_layer_types";
    let Some(kinds) = settings.texts(KEY)? else {
        return Ok(settings.number("first_k_dense_replace")?.unwrap_or(1));
    };
    let dense = kinds.iter().take_while(|kind| *kind == "dense").count();
    if kinds[dense..].iter().all(|kind| kind == "sparse") {
        return Ok(dense);
    }
    Err(settings.wrong(KEY, "dense layers, then sparse ones"))
}
