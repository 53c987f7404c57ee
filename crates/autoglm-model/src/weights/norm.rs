//! The norm of rows.

use autoglm_kernel::{Pool, layer_norm_in_place, rms_norm_in_place};

use super::loader::Loader;
use crate::config::{ModelConfig, NormKind};
use crate::error::ModelError;

/// The tensors of a norm: `[C]` each.
pub(crate) enum Norm {
    Rms(Vec<f32>),
    Layer { weight: Vec<f32>, bias: Vec<f32> },
}

impl Norm {
    /// Normalises rows in place.
    pub(crate) fn apply(&self, pool: &Pool, x: &mut [f32], epsilon: f32) {
        match self {
            Self::Rms(weight) => rms_norm_in_place(pool, x, weight, epsilon),
            Self::Layer { weight, bias } => layer_norm_in_place(pool, x, weight, bias, epsilon),
        }
    }
}

impl Loader<'_> {
    /// The norm of rows with this name, which stands before `.weight` and `.bias`.
    pub(super) fn norm(&self, stem: &str, config: &ModelConfig) -> Result<Norm, ModelError> {
        let weight = self.vector(&format!("{stem}.weight"), config.width)?;
        Ok(match config.norm {
            NormKind::Rms => Norm::Rms(weight),
            NormKind::Layer => Norm::Layer {
                weight,
                bias: self.vector(&format!("{stem}.bias"), config.width)?,
            },
        })
    }
}
