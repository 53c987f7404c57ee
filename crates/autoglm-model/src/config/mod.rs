//! What an architecture is, as configuration of one general block.

mod check;
mod experts;
mod latent;

use autoglm_kernel::{GateActivation, RopeParams};

use check::divides;
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
    /// Behind both, the residual stream itself, by mean and variance and with biases (BERT).
    Post,
}

/// What becomes of the last hidden states of a text where they are its embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over all tokens.
    Mean,
    /// That of the first token.
    First,
    /// That of the last token.
    Last,
}

/// What differs from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerConfig {
    /// A position attends to this many last positions, itself included; `None` to all.
    pub window: Option<usize>,
    /// Index into [`ModelConfig::ropes`], where there are some.
    pub rope: usize,
}

/// A model, as configuration of one general block. Whether projections have biases, whether
/// queries and keys are normalised per head and whether projections are fused is read off the
/// tensors that the file has.
///
/// A model that is not causal reads a text as a whole and gives hidden states alone: it has no output
/// head, and the cache holds keys and values of one layer at a time.
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
    /// Positions that the model was trained for, or fewer where that is advised.
    pub context_tokens: usize,
    /// Whether a position attends to those up to itself alone, and not to all of its text.
    pub causal: bool,
    /// What becomes of hidden states where they are a text's embedding, where the model says it.
    pub pooling: Option<Pooling>,
    /// Epsilon of every norm.
    pub norm_epsilon: f32,
    /// Where blocks normalise.
    pub norms: NormPlacement,
    /// Activation of the gate of the feed-forward part; without one its activation is GELU.
    pub gate: Option<GateActivation>,
    /// Factor of attention scores, usually D^(-1/2).
    pub attention_scale: f32,
    /// How long rotation makes unit vectors of queries and keys in the field's own code; here the
    /// square is part of `attention_scale`, and the cache holds keys without it.
    pub rotated_length: f32,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// The rotary embeddings in use; without one, positions are learnt embeddings.
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
}

/// Wider heads than any model of the field has; a bound for what a file may claim.
pub(crate) const MAX_HEAD_WIDTH: usize = 1_024;
