//! The feed-forward half of a block.

use autoglm_kernel::{Activations, PackedMatrix, add_assign, gated, rms_norm, rms_norm_in_place};

use super::{Block, Rows, Workspace, linear, linears};
use crate::adapter::Projection;
use crate::weights::{FeedForwardWeights, GatedWeights};

/// Buffers of a gated part: `[T, F]` each.
#[derive(Default)]
pub(super) struct GatedBuffers {
    gate: Vec<f32>,
    up: Vec<f32>,
}

impl GatedWeights {
    /// The matrices that read the rows themselves.
    pub(super) fn inputs(&self) -> [&PackedMatrix; 2] {
        [&self.gate.matrix, &self.up.matrix]
    }
}

impl Block<'_> {
    pub(super) fn feed_forward(&self, workspace: &mut Workspace, site: (usize, &Rows<'_>)) {
        let Self {
            pool,
            config,
            weights,
            ..
        } = *self;
        let Workspace { hidden, normed, .. } = workspace;
        rms_norm(
            pool,
            hidden,
            &weights.feed_forward_norm,
            config.norm_epsilon,
            normed,
        );
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

    /// Runs the rows of `workspace.normed` through the gated part; the result takes their place.
    fn dense(&self, weights: &GatedWeights, workspace: &mut Workspace, site: (usize, &Rows<'_>)) {
        let Self { pool, config, .. } = *self;
        let Workspace {
            normed,
            activations,
            gated: buffers,
            adapters,
            ..
        } = workspace;
        activations.load_for(pool, normed, config.width, &weights.inputs());
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
        gated(pool, config.gate, gate, up);
        let down = &weights.down;
        activations.load_for(pool, gate, down.matrix.cols(), &[&down.matrix]);
        linear(pool, down, activations, out);
    }
}
