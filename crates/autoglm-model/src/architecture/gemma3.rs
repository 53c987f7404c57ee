//! `gemma3`: sandwich norms, queries and keys normalised per head, tanh-GELU gate, scaled
//! embeddings, five layers with a sliding window for each one that attends to everything.
//!
//! GGUF files of this architecture hold the norm weights with the one already added.

use autoglm_kernel::{GateActivation, RopeParams, RopeStyle};

use super::keys::Keys;
use crate::config::{LayerConfig, ModelConfig, NormPlacement};
use crate::error::ModelError;
use crate::gguf::GgufFile;

/// One layer of this many attends to everything (Gemma 3 report, §2: "5:1 interleaving").
const PATTERN: usize = 6;
/// Base of the rotary frequencies in layers with a window (Gemma 3 report, §2).
const WINDOW_BASE: f32 = 10_000.0;
/// The rotary embeddings by index.
const GLOBAL: usize = 0;
const WINDOWED: usize = 1;
/// Layers of the 27B model, whose scores are scaled by the width instead of the head width.
const LAYERS_27B: usize = 62;

pub(super) fn configure(file: &GgufFile) -> Result<ModelConfig, ModelError> {
    let keys = Keys::new(file)?;
    let width: usize = keys.require("embedding_length")?;
    let heads: usize = keys.require("attention.head_count")?;
    let head_width: usize = keys.require("attention.key_length")?;
    let window: usize = keys.require("attention.sliding_window")?;
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
    let score_width = if layer_count == LAYERS_27B {
        width / heads.max(1)
    } else {
        head_width
    };
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
        norm_epsilon: keys.require("attention.layer_norm_rms_epsilon")?,
        norms: NormPlacement::Sandwich,
        gate: GateActivation::GeluTanh,
        attention_scale: (score_width as f32).sqrt().recip(),
        embedding_scale: (width as f32).sqrt(),
        ropes: vec![
            rope(global_base, keys.position_scale()?),
            rope(WINDOW_BASE, 1.0),
        ],
        layers: (0..layer_count)
            .map(|layer| layer_config(layer, window))
            .collect(),
    })
}

fn layer_config(layer: usize, window: usize) -> LayerConfig {
    if layer % PATTERN == PATTERN - 1 {
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
