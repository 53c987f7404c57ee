//! `gemma3`: sandwich norms, queries and keys normalised per head, tanh-GELU gate, scaled
//! embeddings, five layers with a sliding window for each one that attends to everything.
//!
//! GGUF files of this architecture hold the norm weights with the one already added, folders
//! without it.

use autoglm_kernel::{GateActivation, RopeParams, RopeStyle};

use super::keys::Keys;
use crate::checkpoint::{
    Change, Class, HEAD_NORMS, Head, Metadata, PLAIN, Rename, Settings, dense_sizes, rope_settings,
};
use crate::config::{LayerConfig, ModelConfig, NormPlacement};
use crate::error::ModelError;
use crate::source::WeightSource;

/// One layer of this many attends to everything (Gemma 3 report, §2: "5:1 interleaving").
const PATTERN: usize = 6;
/// Base of the rotary frequencies in layers with a window (Gemma 3 report, §2).
const WINDOW_BASE: f32 = 10_000.0;
/// The rotary embeddings by index.
const GLOBAL: usize = 0;
const WINDOWED: usize = 1;
/// Layers of the 27B model, whose scores are scaled by the width instead of the head width.
const LAYERS_27B: usize = 62;

pub(super) fn configure(source: &dyn WeightSource) -> Result<ModelConfig, ModelError> {
    let keys = Keys::new(source)?;
    let width: usize = keys.require("embedding_length")?;
    let heads: usize = keys.require("attention.head_count")?;
    let head_width: usize = keys.require("attention.key_length")?;
    let window: usize = keys.require("attention.sliding_window")?;
    let pattern: usize = keys.get_or("attention.sliding_window_pattern", PATTERN)?;
    let layer_count = super::layer_count(&keys)?;
    let rope = |base: f32, position_scale: f64| RopeParams {
        style: RopeStyle::HalfSplit,
        width: head_width,
        rotated: head_width,
        base: base.into(),
        position_scale,
        frequency_factors: None,
    };
    let global_base = keys.get_or("rope.freq_base", 1_000_000.0)?;
    let window_base = keys.get_or("rope.freq_base_swa", WINDOW_BASE)?;
    let score_width = if layer_count == LAYERS_27B {
        width / heads.max(1)
    } else {
        head_width
    };
    let score_scale = (score_width as f32).sqrt().recip();
    Ok(ModelConfig {
        architecture: keys.architecture().to_owned(),
        width,
        heads,
        kv_heads: keys.get_or("attention.head_count_kv", heads)?,
        head_width,
        latent: None,
        feed_forward: keys.require("feed_forward_length")?,
        experts: None,
        vocabulary: keys.vocabulary()?,
        context_tokens: keys.require("context_length")?,
        causal: true,
        pooling: None,
        norm_epsilon: keys.require("attention.layer_norm_rms_epsilon")?,
        norms: NormPlacement::Sandwich,
        gate: Some(GateActivation::GeluTanh),
        attention_scale: keys.get_or("attention.scale", score_scale)?,
        rotated_length: 1.0,
        embedding_scale: (width as f32).sqrt(),
        ropes: vec![
            rope(global_base, keys.position_scale()?),
            rope(window_base, 1.0),
        ],
        layers: (0..layer_count)
            .map(|layer| layer_config(layer, pattern, window))
            .collect(),
    })
}

/// Whether a layer attends to everything.
fn is_global(layer: usize, pattern: usize) -> bool {
    (layer + 1).checked_rem(pattern) == Some(0)
}

fn layer_config(layer: usize, pattern: usize, window: usize) -> LayerConfig {
    if is_global(layer, pattern) {
        LayerConfig {
            window: None,
            rope: GLOBAL,
        }
    } else {
        LayerConfig {
            window: Some(window),
            rope: WINDOWED,
        }
    }
}

pub(super) const CLASS: Class = Class {
    name: "Gemma3ForCausalLM",
    architecture: "gemma3",
    configure: settings,
    tensors: &[PLAIN, HEAD_NORMS, NORMS],
    ignored: &[],
    head: Head::Tied,
    change,
};

const NORMS: &[Rename] = &[
    ("model.layers.{}.input_layernorm", "blk.{}.attn_norm"),
    (
        "model.layers.{}.post_attention_layernorm",
        "blk.{}.post_attention_norm",
    ),
    (
        "model.layers.{}.pre_feedforward_layernorm",
        "blk.{}.ffn_norm",
    ),
    (
        "model.layers.{}.post_feedforward_layernorm",
        "blk.{}.post_ffw_norm",
    ),
];

fn change(name: &str, _: &Metadata) -> Change {
    if name.ends_with("norm.weight") {
        Change::AddOne
    } else {
        Change::Keep
    }
}

fn settings(settings: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    settings.expect_text("hidden_activation", "gelu_pytorch_tanh")?;
    settings.expect_nothing("final_logit_softcapping")?;
    settings.expect_nothing("attn_logit_softcapping")?;
    settings.expect_boolean("use_bidirectional_attention", false)?;
    dense_sizes(settings, metadata)?;
    metadata.set(
        "attention.sliding_window",
        settings.require_number("sliding_window")?,
    );
    metadata.set("attention.sliding_window_pattern", pattern(settings)?);
    let score_width = settings.require_float("query_pre_attn_scalar")?;
    metadata.set("attention.scale", score_width.sqrt().recip());
    let parameters = settings.section("rope_parameters")?;
    let Some(parameters) = parameters else {
        metadata.set_some("rope.freq_base", settings.float("rope_theta")?);
        metadata.set_some(
            "rope.freq_base_swa",
            settings.float("rope_local_base_freq")?,
        );
        let scaling = settings.section("rope_scaling")?;
        return scaling.map_or(Ok(()), |scaling| linear(&scaling, metadata));
    };
    if let Some(windowed) = parameters.section("sliding_attention")? {
        metadata.set_some("rope.freq_base_swa", windowed.float("rope_theta")?);
        windowed.expect_text("rope_type", "default")?;
    }
    match parameters.section("full_attention")? {
        Some(global) => {
            metadata.set_some("rope.freq_base", global.float("rope_theta")?);
            linear(&global, metadata)
        }
        None => Ok(()),
    }
}

/// The scaling of layers that attend to everything: none or linear.
fn linear(section: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    let kind = section.text("rope_type")?;
    if !matches!(kind.as_deref(), None | Some("default" | "linear")) {
        return Err(section.wrong("rope_type", "default or linear"));
    }
    rope_settings(section, metadata)
}

/// The period after which a layer attends to everything, once.
fn pattern(settings: &Settings) -> Result<usize, ModelError> {
    let Some(types) = settings.texts("layer_types")? else {
        let named = settings.number("sliding_window_pattern")?;
        let named = named.or(settings.number("_sliding_window_pattern")?);
        return Ok(named.unwrap_or(PATTERN));
    };
    let first_global = types.iter().position(|kind| kind == "full_attention");
    let pattern = first_global.map_or(types.len(), |layer| layer) + 1;
    let expected = |layer| {
        if is_global(layer, pattern) {
            "full_attention"
        } else {
            "sliding_attention"
        }
    };
    if types
        .iter()
        .enumerate()
        .all(|(i, kind)| kind == expected(i))
    {
        Ok(pattern)
    } else {
        Err(settings.wrong("layer_types", "full attention in each layer of a number"))
    }
}
