//! What the kernels and the cache rely on in a configuration, whatever a file claims.

use super::{MAX_HEAD_WIDTH, ModelConfig, NormPlacement};
use crate::error::ModelError;

impl ModelConfig {
    /// Checks what the kernels and the cache rely on. Sizes of tensors are checked against the
    /// file when they are read.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        if self.heads == 0 || self.heads > MAX_HEADS {
            return Err(self.wrong("attention.head_count", self.heads, "1 to 65536"));
        }
        if let Some(latent) = &self.latent {
            latent.check(self)?;
        } else {
            self.check_heads()?;
        }
        if let Some(experts) = &self.experts {
            experts.check(self)?;
        }
        if self.context_tokens == 0 || self.context_tokens > MAX_CONTEXT {
            return Err(self.wrong("context_length", self.context_tokens, "1 to 16777216"));
        }
        if self.layers.iter().any(|layer| layer.window == Some(0)) {
            return Err(self.wrong("attention.sliding_window", 0, "at least 1"));
        }
        self.check_floats()
    }

    fn check_heads(&self) -> Result<(), ModelError> {
        if !divides(self.kv_heads, self.heads) {
            return Err(self.wrong(
                "attention.head_count_kv",
                self.kv_heads,
                "a divisor of the head count",
            ));
        }
        if !divides(16, self.head_width) || self.head_width > MAX_HEAD_WIDTH {
            return Err(self.wrong(
                "attention.key_length",
                self.head_width,
                "a multiple of 16 up to 1024",
            ));
        }
        for rope in &self.ropes {
            if !divides(2, rope.rotated) || rope.rotated > self.head_width {
                return Err(self.wrong(
                    "rope.dimension_count",
                    rope.rotated,
                    "even, at most a head's width",
                ));
            }
        }
        Ok(())
    }

    /// The error of a key with a number that cannot be.
    pub(super) fn wrong(&self, key: &str, found: usize, wanted: &'static str) -> ModelError {
        ModelError::WrongValue {
            key: format!("{}.{key}", self.architecture),
            found: found.to_string(),
            wanted,
        }
    }

    fn check_floats(&self) -> Result<(), ModelError> {
        let ropes = self.ropes.iter().flat_map(|rope| {
            [
                ("rope.freq_base", rope.base),
                ("rope.scaling.factor", rope.position_scale),
            ]
        });
        let epsilon = match self.norms {
            NormPlacement::Post => "attention.layer_norm_epsilon",
            _ => "attention.layer_norm_rms_epsilon",
        };
        let epsilon = (epsilon, f64::from(self.norm_epsilon));
        let routed = self
            .experts
            .as_ref()
            .map(|experts| ("expert_weights_scale", f64::from(experts.scale)));
        let latent = self.latent.as_ref().map(|latent| {
            (
                "attention.latent_norm_epsilon",
                f64::from(latent.norm_epsilon),
            )
        });
        for (key, value) in ropes.chain([epsilon]).chain(routed).chain(latent) {
            if !(value.is_finite() && value > 0.0) {
                return Err(ModelError::WrongValue {
                    key: format!("{}.{key}", self.architecture),
                    found: value.to_string(),
                    wanted: "a positive number",
                });
            }
        }
        Ok(())
    }
}

/// Whether `whole` is a multiple of `part`, and neither is zero.
pub(super) fn divides(part: usize, whole: usize) -> bool {
    part > 0 && whole > 0 && whole.is_multiple_of(part)
}

/// More heads than any model of the field has; a bound for what a file may claim, so that
/// products with a head's width cannot overflow.
const MAX_HEADS: usize = 1 << 16;
/// Longer contexts than any model of the field has; positions are exact in f32 up to here.
const MAX_CONTEXT: usize = 1 << 24;
