//! The general transformer block, as every architecture of [`crate::architecture`] configures it.
//!
//! ```text
//! Pre:       h += o(attn(norm(h)));                h += down(act(gate(n)) · up(n)),  n = norm(h)
//! Sandwich:  h += norm(o(attn(norm(h))));          h += norm(down(act(gate(n)) · up(n)))
//! Post:      h = norm(h + o(attn(h)));             h = norm(h + down(act(gate(h)) · up(h)))
//! ```
//!
//! The feed-forward part is dense, without a gate (`down(act(up(n)))`) or a mixture of experts
//! ([`experts`]), attention has key/value heads or is latent ([`latent`]).

mod adapted;
mod attention;
mod experts;
mod feed_forward;
mod latent;
mod norms;

use autoglm_kernel::{Activations, AttentionSpan, Pool, Product, RopeTable, matmul_all};

use crate::cache::{BLOCK_TOKENS, KvCache};
use crate::config::{LayerConfig, ModelConfig};
use crate::gating::Gating;
use crate::weights::{BlockWeights, Linear};
use adapted::{AdaptedRows, AdapterBuffers};
pub(crate) use attention::Attending;
use experts::ExpertsBuffers;
use feed_forward::GatedBuffers;
use latent::LatentBuffers;

/// Buffers that a forward pass writes into, kept between passes.
#[derive(Default)]
pub struct Workspace {
    /// The residual stream: `[T, C]`.
    pub(crate) hidden: Vec<f32>,
    pub(crate) normed: Vec<f32>,
    pub(crate) activations: Activations,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    attended: Vec<f32>,
    latent: LatentBuffers,
    gated: GatedBuffers,
    experts: ExpertsBuffers,
    adapters: AdapterBuffers,
    /// The gates of the sequences of a pass that have some.
    pub(crate) gatings: Vec<Gating>,
    /// What the residual stream of the wanted rows was on the way, one `[R, C]` a depth.
    pub(crate) traces: Vec<Vec<f32>>,
}

/// The rows of a forward pass: where each stands in its sequence and in the cache.
#[derive(Default)]
pub(crate) struct Rows<'a> {
    /// Position of each row in its sequence: `[T]`.
    pub(crate) positions: Vec<u32>,
    /// Cache slot of each row: `[T]`.
    pub(crate) slots: Vec<u32>,
    /// What each run of rows attends to.
    pub(crate) spans: Vec<AttentionSpan<'a>>,
    /// Single rows that attend to a part of what they may see.
    pub(crate) gated: Vec<AttentionSpan<'a>>,
    /// For each of these the index of its gates in the workspace.
    pub(crate) gatings: Vec<usize>,
    /// The rows of sequences that have an adapter, by adapter.
    adapted: Vec<AdaptedRows<'a>>,
}

impl<'a> Rows<'a> {
    /// Adds a run of rows, with the index of its gates where it has some.
    pub(crate) fn add(&mut self, span: AttentionSpan<'a>, gating: Option<usize>) {
        if let Some(gating) = gating {
            self.gated.push(span);
            self.gatings.push(gating);
        } else {
            self.spans.push(span);
        }
    }

    /// The blocks whose last position is among the rows.
    pub(crate) fn filled_blocks(&self) -> Vec<u32> {
        let block_tokens = BLOCK_TOKENS as u32;
        let last = |slot: &&u32| *slot % block_tokens == block_tokens - 1;
        let filled = self.slots.iter().filter(last);
        filled.map(|slot| slot / block_tokens).collect()
    }
}

/// One block with all that it needs but the rows.
pub(crate) struct Block<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) config: &'a ModelConfig,
    pub(crate) layer: LayerConfig,
    /// Nothing where positions are learnt embeddings.
    pub(crate) rope: Option<&'a RopeTable>,
    pub(crate) weights: &'a BlockWeights,
}

impl Block<'_> {
    /// Attends from the rows to the cache and runs the feed-forward part.
    /// `workspace.activations` hold the rows that [`Self::store`] normalised.
    pub(crate) fn attend_and_feed(
        &self,
        workspace: &mut Workspace,
        cache: &KvCache,
        layer: usize,
        rows: &Rows<'_>,
    ) {
        self.attend(workspace, cache, layer, rows);
        self.feed_forward(workspace, (layer, rows));
    }
}

/// `out = x·Wᵀ + b` for all loaded rows; `out` is resized to `[T, rows of W]`.
fn linear(pool: &Pool, linear: &Linear, x: &Activations, out: &mut Vec<f32>) {
    linears(pool, x, [(linear, out)]);
}

/// [`linear`] for several matrices that read the same rows, in one run of the threads.
fn linears<const N: usize>(pool: &Pool, x: &Activations, linears: [(&Linear, &mut Vec<f32>); N]) {
    let mut products = linears.map(|(linear, out)| {
        out.resize(x.rows() * linear.matrix.rows(), 0.0);
        Product {
            w: &linear.matrix,
            bias: linear.bias.as_deref(),
            y: out,
        }
    });
    matmul_all(pool, x, &mut products);
}
