//! `llama`: pre-norm blocks, SiLU gate, rotary embedding over interleaved pairs (GGUF files of
//! this architecture hold Q and K rows permuted for it). Llama, SmolLM, Mistral, Yi and their like.

use autoglm_kernel::{GateActivation, RopeParams, RopeStyle};

use super::keys::Keys;
use crate::config::{LayerConfig, ModelConfig, NormPlacement};
use crate::error::ModelError;
use crate::gguf::GgufFile;

/// Base of the rotary frequencies where the file names none (Su et al. 2021, §3.4.3).
const DEFAULT_BASE: f32 = 10_000.0;

pub(super) fn configure(file: &GgufFile) -> Result<ModelConfig, ModelError> {
    let keys = Keys::new(file)?;
    keys.forbid("expert_count", "no experts: this architecture is dense")?;
    let width: usize = keys.require("embedding_length")?;
    let heads: usize = keys.require("attention.head_count")?;
    let head_width = keys.get_or("attention.key_length", width / heads.max(1))?;
    let mut rope = RopeParams {
        style: RopeStyle::Interleaved,
        width: head_width,
        rotated: keys.get_or("rope.dimension_count", head_width)?,
        base: keys.get_or("rope.freq_base", DEFAULT_BASE)?.into(),
        position_scale: keys.position_scale()?,
        frequency_factors: None,
    };
    keys.frequency_factors(&mut rope)?;
    let layer = LayerConfig {
        window: None,
        rope: 0,
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
        norms: NormPlacement::Pre,
        gate: GateActivation::Silu,
        attention_scale: (head_width as f32).sqrt().recip(),
        embedding_scale: 1.0,
        ropes: vec![rope],
        layers: vec![layer; super::layer_count(&keys)?],
    })
}
