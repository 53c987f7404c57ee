//! `glm4moe`: pre-norm blocks with key/value heads, the first layers dense and the others a
//! mixture of experts; rotary embedding over halves of a part of each head. GLM-4.5, 4.5-Air, 4.6
//! and 4.7. In GGUF files the norm before the feed-forward part is called `post_attention_norm`.

use autoglm_kernel::RopeStyle;

use super::keys::Keys;
use super::{dense, experts};
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
