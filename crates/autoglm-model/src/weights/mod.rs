//! The tensors of a model, packed for the kernels, with their shapes checked against the
//! configuration.

mod experts;
mod latent;
mod loader;

use autoglm_kernel::{PackedMatrix, Pool};

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::quantize::{QuantizedType, Recipe};
use crate::source::WeightSource;
pub(crate) use experts::ExpertsWeights;
pub(crate) use latent::{LatentQuery, LatentWeights};
use loader::Loader;

/// `y = x·Wᵀ + b`.
pub(crate) struct Linear {
    pub(crate) matrix: PackedMatrix,
    pub(crate) bias: Option<Vec<f32>>,
}

/// The tensors of one block.
pub(crate) struct BlockWeights {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) attention: AttentionWeights,
    pub(crate) post_attention_norm: Option<Vec<f32>>,
    pub(crate) feed_forward_norm: Vec<f32>,
    pub(crate) feed_forward: FeedForwardWeights,
    pub(crate) post_feed_forward_norm: Option<Vec<f32>>,
}

/// The tensors of a block's attention.
pub(crate) enum AttentionWeights {
    Heads(HeadsWeights),
    Latent(LatentWeights),
}

/// The tensors of attention with key/value heads.
pub(crate) struct HeadsWeights {
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) output: Linear,
    pub(crate) query_norm: Option<Vec<f32>>,
    pub(crate) key_norm: Option<Vec<f32>>,
}

/// The tensors of a block's feed-forward part.
pub(crate) enum FeedForwardWeights {
    Dense(GatedWeights),
    Experts(ExpertsWeights),
}

/// The tensors of a gated feed-forward part, or of one expert.
pub(crate) struct GatedWeights {
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

/// The tensors of a model.
pub(crate) struct Weights {
    pub(crate) embedding: PackedMatrix,
    pub(crate) blocks: Vec<BlockWeights>,
    pub(crate) output_norm: Vec<f32>,
    /// The output head; where the model has none, it is the embedding (tied head).
    pub(crate) head: Option<PackedMatrix>,
}

impl Weights {
    /// Reads and packs all tensors of the configured model, float weights quantised where that is
    /// asked for.
    pub(crate) fn load(
        source: &dyn WeightSource,
        config: &ModelConfig,
        pool: &Pool,
        quantize: Option<QuantizedType>,
    ) -> Result<Self, ModelError> {
        let infos = source.tensor_infos();
        let loader = Loader {
            source,
            pool,
            recipe: quantize.map(|kind| Recipe::new(kind, infos.iter().map(|info| info.name))),
        };
        let (vocabulary, width) = (config.vocabulary, config.width);
        let head = match source.tensor_info("output.weight") {
            Some(_) => Some(loader.matrix("output.weight", vocabulary, width)?),
            None => None,
        };
        Ok(Self {
            embedding: loader.matrix("token_embd.weight", vocabulary, width)?,
            blocks: (0..config.layers.len())
                .map(|layer| loader.block(layer, config))
                .collect::<Result<_, _>>()?,
            output_norm: loader.vector("output_norm.weight", width)?,
            head,
        })
    }

    /// The output head: `[V, C]`.
    pub(crate) fn head(&self) -> &PackedMatrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Bytes of all packed matrices.
    pub(crate) fn size_bytes(&self) -> usize {
        let blocks = self.blocks.iter().flat_map(BlockWeights::matrices);
        let outer = [Some(&self.embedding), self.head.as_ref()]
            .into_iter()
            .flatten();
        blocks.chain(outer).map(PackedMatrix::size_bytes).sum()
    }
}

impl BlockWeights {
    fn matrices(&self) -> Vec<&PackedMatrix> {
        let mut all = match &self.attention {
            AttentionWeights::Heads(heads) => {
                let linears = [&heads.query, &heads.key, &heads.value, &heads.output];
                linears.map(|linear| &linear.matrix).to_vec()
            }
            AttentionWeights::Latent(latent) => latent.matrices(),
        };
        match &self.feed_forward {
            FeedForwardWeights::Dense(dense) => all.extend(dense.matrices()),
            FeedForwardWeights::Experts(experts) => all.extend(experts.matrices()),
        }
        all
    }
}

impl AttentionWeights {
    /// The matrix that makes queries, or their compressed form, of the normalised rows.
    pub(crate) fn query_input(&self) -> &PackedMatrix {
        match self {
            Self::Heads(heads) => &heads.query.matrix,
            Self::Latent(latent) => latent.query_input(),
        }
    }

    /// The matrices that read the normalised rows.
    pub(crate) fn inputs(&self) -> Vec<&PackedMatrix> {
        match self {
            Self::Heads(heads) => [&heads.query, &heads.key, &heads.value]
                .map(|linear| &linear.matrix)
                .to_vec(),
            Self::Latent(latent) => vec![latent.query_input(), &latent.compress.matrix],
        }
    }
}

impl FeedForwardWeights {
    /// The matrices that read the normalised rows themselves.
    pub(crate) fn inputs(&self) -> Vec<&PackedMatrix> {
        match self {
            Self::Dense(dense) => dense.inputs().to_vec(),
            Self::Experts(experts) => vec![&experts.router],
        }
    }
}

impl GatedWeights {
    /// The matrices that read the rows themselves.
    pub(crate) fn inputs(&self) -> [&PackedMatrix; 2] {
        [&self.gate.matrix, &self.up.matrix]
    }

    fn matrices(&self) -> [&PackedMatrix; 3] {
        [&self.gate, &self.up, &self.down].map(|linear| &linear.matrix)
    }
}
