//! The feed-forward half of a block.

use autoglm_kernel::{add_assign, gated, rms_norm, rms_norm_in_place};

use super::{Block, Workspace, linear};

impl Block<'_> {
    pub(super) fn feed_forward(&self, workspace: &mut Workspace) {
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
        let readers = [
            &weights.feed_forward.gate.matrix,
            &weights.feed_forward.up.matrix,
        ];
        activations.load_for(pool, normed, config.width, &readers);
        linear(pool, &weights.feed_forward.gate, activations, gate);
        linear(pool, &weights.feed_forward.up, activations, up);
        gated(pool, config.gate, gate, up);
        activations.load_for(
            pool,
            gate,
            config.feed_forward,
            &[&weights.feed_forward.down.matrix],
        );
        linear(pool, &weights.feed_forward.down, activations, normed);
        if let Some(norm) = &weights.post_feed_forward_norm {
            rms_norm_in_place(pool, normed, norm, config.norm_epsilon);
        }
        add_assign(pool, hidden, normed);
    }
}
