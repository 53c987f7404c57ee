//! The general transformer block, as every architecture of [`crate::architecture`] configures it.
//!
//! ```text
//! Pre:       h += o(attn(norm(h)));                h += down(act(gate(n)) · up(n)),  n = norm(h)
//! Sandwich:  h += norm(o(attn(norm(h))));          h += norm(down(act(gate(n)) · up(n)))
//! ```

use autoglm_kernel::{
    Activations, AttentionParams, AttentionSpan, Pool, RopeTable, add_assign, add_bias, attention,
    gated, matmul, rms_norm, rms_norm_in_place, rope, store_kv,
};

use crate::cache::KvCache;
use crate::config::{LayerConfig, ModelConfig};
use crate::weights::{BlockWeights, Linear};

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
    gate: Vec<f32>,
    up: Vec<f32>,
}

/// The rows of a forward pass: where each stands in its sequence and in the cache.
pub(crate) struct Rows<'a> {
    /// Position of each row in its sequence: `[T]`.
    pub(crate) positions: Vec<u32>,
    /// Cache slot of each row: `[T]`.
    pub(crate) slots: Vec<u32>,
    /// What each run of rows attends to.
    pub(crate) spans: Vec<AttentionSpan<'a>>,
}

/// One block with all that it needs but the rows.
pub(crate) struct Block<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) config: &'a ModelConfig,
    pub(crate) layer: LayerConfig,
    pub(crate) rope: &'a RopeTable,
    pub(crate) weights: &'a BlockWeights,
}

impl Block<'_> {
    /// Computes keys and values of all rows and writes them into the cache. Leaves the
    /// normalised rows in `workspace.normed`.
    pub(crate) fn store(
        &self,
        workspace: &mut Workspace,
        cache: &mut KvCache,
        layer: usize,
        rows: &Rows<'_>,
    ) {
        let Self {
            pool,
            config,
            weights,
            ..
        } = *self;
        let Workspace {
            hidden,
            normed,
            activations,
            keys,
            values,
            ..
        } = workspace;
        normed.resize(hidden.len(), 0.0);
        rms_norm(
            pool,
            hidden,
            &weights.attention_norm,
            config.norm_epsilon,
            normed,
        );
        let readers = [&weights.query, &weights.key, &weights.value];
        activations.load_for(
            pool,
            normed,
            config.width,
            &readers.map(|linear| &linear.matrix),
        );
        linear(pool, &weights.key, activations, keys);
        linear(pool, &weights.value, activations, values);
        if let Some(norm) = &weights.key_norm {
            rms_norm_in_place(pool, keys, norm, config.norm_epsilon);
        }
        rope(pool, self.rope, &rows.positions, config.kv_heads, keys);
        store_kv(pool, keys, values, &rows.slots, &mut cache.view_mut(layer));
    }

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
        self.feed_forward(workspace);
    }

    fn attend(&self, workspace: &mut Workspace, cache: &KvCache, layer: usize, rows: &Rows<'_>) {
        let Self {
            pool,
            config,
            weights,
            ..
        } = *self;
        let Workspace {
            hidden,
            normed,
            activations,
            queries,
            attended,
            ..
        } = workspace;
        linear(pool, &weights.query, activations, queries);
        if let Some(norm) = &weights.query_norm {
            rms_norm_in_place(pool, queries, norm, config.norm_epsilon);
        }
        rope(pool, self.rope, &rows.positions, config.heads, queries);
        attended.resize(queries.len(), 0.0);
        let params = AttentionParams {
            heads: config.heads,
            scale: config.attention_scale,
            window: self.layer.window,
            soft_cap: None,
        };
        attention(
            pool,
            queries,
            &cache.view(layer),
            &rows.spans,
            &params,
            attended,
        );
        let attended_width = config.heads * config.head_width;
        activations.load_for(pool, attended, attended_width, &[&weights.output.matrix]);
        linear(pool, &weights.output, activations, normed);
        if let Some(norm) = &weights.post_attention_norm {
            rms_norm_in_place(pool, normed, norm, config.norm_epsilon);
        }
        add_assign(pool, hidden, normed);
    }

    fn feed_forward(&self, workspace: &mut Workspace) {
        let Self {
            pool,
            config,
            weights,
            ..
        } = *self;
        let Workspace {
            hidden,
            normed,
            activations,
            gate,
            up,
            ..
        } = workspace;
        rms_norm(
            pool,
            hidden,
            &weights.feed_forward_norm,
            config.norm_epsilon,
            normed,
        );
        let readers = [&weights.gate.matrix, &weights.up.matrix];
        activations.load_for(pool, normed, config.width, &readers);
        linear(pool, &weights.gate, activations, gate);
        linear(pool, &weights.up, activations, up);
        gated(pool, config.gate, gate, up);
        activations.load_for(pool, gate, config.feed_forward, &[&weights.down.matrix]);
        linear(pool, &weights.down, activations, normed);
        if let Some(norm) = &weights.post_feed_forward_norm {
            rms_norm_in_place(pool, normed, norm, config.norm_epsilon);
        }
        add_assign(pool, hidden, normed);
    }
}

/// `out = x·Wᵀ + b` for all loaded rows; `out` is resized to `[T, rows of W]`.
fn linear(pool: &Pool, linear: &Linear, x: &Activations, out: &mut Vec<f32>) {
    out.resize(x.rows() * linear.matrix.rows(), 0.0);
    matmul(pool, &linear.matrix, x, out);
    if let Some(bias) = &linear.bias {
        add_bias(pool, out, bias);
    }
}
