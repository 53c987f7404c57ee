//! Virtual tokens before a text, by their embeddings or by their keys and values.
//!
//! # Source
//! Lester et al. 2021 (prompt tuning), Liu et al. 2021 (P-tuning; its encoder is run when the
//! adapter is saved), Li and Liang 2021 (prefix tuning). Positions: the text's first token stands
//! behind the virtual ones, and a prefix's keys are stored as they are, without rotation, since
//! they were learnt as what the cache holds.

use super::{check_shape, numbers, require};
use crate::architecture;
use crate::checkpoint;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::safetensors::SafetensorsFile;

/// The only tensor of such adapters.
const TENSOR: &str = "prompt_embeddings";

/// The keys and values of the virtual tokens in one layer, as the cache holds them.
#[derive(Default)]
pub(crate) struct PrefixLayer {
    /// `[n, G·D]`.
    pub(crate) keys: Vec<f32>,
    /// `[n, G·D]`.
    pub(crate) values: Vec<f32>,
}

impl PrefixLayer {
    pub(super) fn size_bytes(&self) -> usize {
        size_of_val(self.keys.as_slice()) + size_of_val(self.values.as_slice())
    }
}

/// Embeddings of virtual tokens: `[n, C]`.
pub(super) fn embeddings(
    file: &SafetensorsFile,
    tokens: usize,
    config: &ModelConfig,
) -> Result<Vec<f32>, ModelError> {
    let tensor = only_tensor(file, "PROMPT_TUNING or P_TUNING")?;
    check_shape(&tensor, &[tokens, config.width])?;
    numbers(&tensor, tensor.bytes)
}

/// Keys and values of virtual tokens. The file holds `[n, L · 2 · G · D]`.
pub(super) fn prefix(
    file: &SafetensorsFile,
    tokens: usize,
    config: &ModelConfig,
) -> Result<Vec<PrefixLayer>, ModelError> {
    if config.latent.is_some() {
        return Err(ModelError::AdapterTarget {
            target: "the keys and values of latent attention".to_owned(),
            architecture: config.architecture.clone(),
        });
    }
    let width = config.kv_heads * config.head_width;
    let tensor = only_tensor(file, "PREFIX_TUNING")?;
    check_shape(&tensor, &[tokens, config.layers.len() * 2 * width])?;
    let numbers = numbers(&tensor, tensor.bytes)?;
    let mut layers = Vec::new();
    layers.resize_with(config.layers.len(), PrefixLayer::default);
    for token in numbers.chunks_exact(config.layers.len() * 2 * width) {
        for (layer, parts) in layers.iter_mut().zip(token.chunks_exact(2 * width)) {
            let (keys, values) = parts.split_at(width);
            layer.keys.extend_from_slice(keys);
            layer.values.extend_from_slice(values);
        }
    }
    for key in layers.iter_mut().flat_map(|layer| &mut layer.keys) {
        *key /= config.rotated_length;
    }
    if architecture::interleaves_keys(config) {
        for layer in &mut layers {
            for head in layer.keys.chunks_exact_mut(config.head_width) {
                checkpoint::interleave_head(head);
            }
        }
    }
    Ok(layers)
}

fn only_tensor<'a>(
    file: &'a SafetensorsFile,
    kind: &'static str,
) -> Result<crate::StoredTensor<'a>, ModelError> {
    if let Some(other) = file.tensors().find(|tensor| tensor.name != TENSOR) {
        return Err(ModelError::AdapterTensor {
            tensor: crate::gguf::printable(other.name),
            kind,
        });
    }
    require(file, TENSOR)
}
