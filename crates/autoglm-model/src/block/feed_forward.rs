//! The feed-forward half of a block.

use autoglm_kernel::{Activations, ResidualNorms, add_assign, rms_norm_in_place};

use super::{Block, Rows, Workspace, linear, linears};
use crate::adapter::Projection;
use crate::weights::{FeedForwardWeights, GatedWeights};

/// Buffers of a gated part: `[T, F]` each.
#[derive(Default)]
pub(super) struct GatedBuffers {
    gate: Vec<f32>,
    up: Vec<f32>,
}

impl Block<'_> {
    /// Adds what attention has left in `workspace.normed` to the residual stream, then what the
    /// feed-forward part makes of the sum.
    pub(super) fn feed_forward(&self, workspace: &mut Workspace, site: (usize, &Rows<'_>)) {
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
            ..
        } = workspace;
        let norms = ResidualNorms {
            change: weights.post_attention_norm.as_deref().map(|w| self.norm(w)),
            sum: self.norm(&weights.feed_forward_norm),
        };
        let readers = weights.feed_forward.inputs();
        activations.load_residual(pool, (hidden, normed), norms, &readers);
        match (&weights.feed_forward, &config.experts) {
            (FeedForwardWeights::Experts(weights), Some(experts)) => {
                self.mix((weights, experts), workspace);
            }
            (FeedForwardWeights::Dense(weights), _) => self.dense(weights, workspace, site),
            (FeedForwardWeights::Experts(_), None) => {
                unreachable!("experts are loaded where they are configured")
            }
        }
        let Workspace { hidden, normed, .. } = workspace;
        if let Some(norm) = &weights.post_feed_forward_norm {
            rms_norm_in_place(pool, normed, norm, config.norm_epsilon);
        }
        add_assign(pool, hidden, normed);
    }

    /// Runs the rows of `workspace.normed`, which are loaded, through the gated part; the result
    /// takes their place.
    fn dense(&self, weights: &GatedWeights, workspace: &mut Workspace, site: (usize, &Rows<'_>)) {
        let pool = self.pool;
        let Workspace {
            normed,
            activations,
            gated: buffers,
            adapters,
            ..
        } = workspace;
        self.gate_and_up(weights, activations, buffers);
        let GatedBuffers { gate, up } = buffers;
        adapters.add(pool, site, Projection::Gate, normed, gate);
        adapters.add(pool, site, Projection::Up, normed, up);
        self.down(weights, activations, buffers, normed);
        adapters.add(pool, site, Projection::Down, &buffers.gate, normed);
    }

    /// `out = down(act(gate(x)) · up(x))` for the loaded rows.
    pub(super) fn gated(
        &self,
        weights: &GatedWeights,
        activations: &mut Activations,
        buffers: &mut GatedBuffers,
        out: &mut Vec<f32>,
    ) {
        self.gate_and_up(weights, activations, buffers);
        self.down(weights, activations, buffers, out);
    }

    fn gate_and_up(
        &self,
        weights: &GatedWeights,
        activations: &Activations,
        GatedBuffers { gate, up }: &mut GatedBuffers,
    ) {
        let both = [(&weights.gate, gate), (&weights.up, up)];
        linears(self.pool, activations, both);
    }

    /// `out = down(act(gate) · up)`; the buffer of `gate` then holds what `down` read.
    fn down(
        &self,
        weights: &GatedWeights,
        activations: &mut Activations,
        GatedBuffers { gate, up }: &mut GatedBuffers,
        out: &mut Vec<f32>,
    ) {
        let Self { pool, config, .. } = *self;
        let down = &weights.down;
        activations.load_gated(pool, config.gate, (gate, up), &down.matrix);
        linear(pool, down, activations, out);
    }
}
