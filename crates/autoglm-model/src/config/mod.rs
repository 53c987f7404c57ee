//! What an architecture is, as configuration of one general block.

mod experts;
mod latent;

use autoglm_kernel::{GateActivation, RopeParams};

use crate::error::ModelError;
pub use experts::{ExpertsConfig, RouterGate};
pub use latent::LatentConfig;

/// Where a block normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlacement {
    /// Before attention and before the feed-forward part.
    Pre,
    /// Before and behind both (Gemma 3, GLM-4-0414): the results are normalised before they are
    /// added to the residual stream.
    Sandwich,
}

/// What differs from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerConfig {
    /// A position attends to this many last positions, itself included; `None` to all.
    pub window: Option<usize>,
    /// Index into [`ModelConfig::ropes`].
    pub rope: usize,
}

/// A model, as configuration of one general block. Whether projections have biases, whether
/// queries and keys are normalised per head and whether projections are fused is read off the
/// tensors that the file has.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The architecture's name in the file.
    pub architecture: String,
    /// C, the width of the residual stream.
    pub width: usize,
    /// H, query heads.
    pub heads: usize,
    /// G, key/value heads; divides H.
    pub kv_heads: usize,
    /// D, the width of a head; with latent attention that of a query's head.
    pub head_width: usize,
    /// Latent attention in place of key/value heads.
    pub latent: Option<LatentConfig>,
    /// F, the width of the dense feed-forward part.
    pub feed_forward: usize,
    /// The experts that the later layers have in place of the dense part.
    pub experts: Option<ExpertsConfig>,
    /// V, tokens of the vocabulary.
    pub vocabulary: usize,
    /// Positions that the model was trained for.
    pub context_tokens: usize,
    /// Epsilon of every RMS norm.
    pub norm_epsilon: f32,
    /// Where blocks normalise.
    pub norms: NormPlacement,
    /// Activation of the gated feed-forward part.
    pub gate: GateActivation,
    /// Factor of attention scores, usually D^(-1/2).
    pub attention_scale: f32,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// The rotary embeddings in use.
    pub ropes: Vec<RopeParams>,
    /// The layers, first to last.
    pub layers: Vec<LayerConfig>,
}

impl ModelConfig {
    /// The experts of a layer, where it has them.
    pub(crate) fn experts_of(&self, layer: usize) -> Option<&ExpertsConfig> {
        let experts = self.experts.as_ref()?;
        (layer >= experts.first_layer).then_some(experts)
    }

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
    fn wrong(&self, key: &str, found: usize, wanted: &'static str) -> ModelError {
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
        let epsilon = (
            "attention.layer_norm_rms_epsilon",
            f64::from(self.norm_epsilon),
        );
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
fn divides(part: usize, whole: usize) -> bool {
    part > 0 && whole > 0 && whole.is_multiple_of(part)
}

/// More heads than any model of the field has; a bound for what a file may claim, so that
/// products with a head's width cannot overflow.
const MAX_HEADS: usize = 1 << 16;
/// Wider heads than any model of the field has; a bound for what a file may claim.
pub(crate) const MAX_HEAD_WIDTH: usize = 1_024;
/// Longer contexts than any model of the field has; positions are exact in f32 up to here.
const MAX_CONTEXT: usize = 1 << 24;
