//! What the architectures with key/value heads share: one rotary embedding, a SiLU gate, every
//! layer alike and attending to everything.

use autoglm_kernel::{GateActivation, RopeStyle};

use super::keys::Keys;
use super::rope;
use crate::config::{LayerConfig, ModelConfig, NormPlacement};
use crate::error::ModelError;
use crate::source::WeightSource;

/// Reads the configuration of a model without experts that differs from its like in these two ways
/// only.
pub(super) fn configure(
    source: &dyn WeightSource,
    style: RopeStyle,
    norms: NormPlacement,
) -> Result<ModelConfig, ModelError> {
    let keys = Keys::new(source)?;
    keys.forbid("expert_count", "no experts: this architecture is dense")?;
    with_heads(&keys, style, norms)
}

/// Reads all of the configuration but the experts.
pub(super) fn with_heads(
    keys: &Keys<'_>,
    style: RopeStyle,
    norms: NormPlacement,
) -> Result<ModelConfig, ModelError> {
    let width: usize = keys.require("embedding_length")?;
    let heads: usize = keys.require("attention.head_count")?;
    let head_width = keys.get_or("attention.key_length", width / heads.max(1))?;
    let value_width = keys.get_or("attention.value_length", head_width)?;
    if value_width != head_width {
        return Err(keys.wrong("attention.value_length", value_width, "the key length"));
    }
    let rope = rope::configure(keys, style, head_width)?;
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
        causal: true,
        pooling: None,
        norm_epsilon: keys.require("attention.layer_norm_rms_epsilon")?,
        norms,
        gate: Some(GateActivation::Silu),
        attention_scale: rope.score_factor * (head_width as f32).sqrt().recip(),
        rotated_length: rope.score_factor.sqrt(),
        embedding_scale: 1.0,
        ropes: vec![rope.params],
        layers: vec![layer; super::layer_count(keys)?],
    })
}
