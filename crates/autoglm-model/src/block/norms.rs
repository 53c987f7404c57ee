//! Where a block normalises: what its parts read, and what becomes of what they leave.

use autoglm_kernel::{ResidualNorms, RmsNorm, add_assign, rms_norm_in_place};

use super::{Block, Workspace};
use crate::weights::BlockNorms;

impl Block<'_> {
    /// Leaves what attention reads in `workspace.normed`, and loads it.
    pub(super) fn enter(&self, workspace: &mut Workspace) {
        let Workspace {
            hidden,
            normed,
            activations,
            ..
        } = workspace;
        let readers = self.weights.attention.inputs();
        normed.resize(hidden.len(), 0.0);
        match &self.weights.norms {
            BlockNorms::Around { attention, .. } => {
                activations.load_normed(self.pool, hidden, self.rms(attention), normed, &readers);
            }
            BlockNorms::Behind { .. } => {
                normed.copy_from_slice(hidden);
                activations.load_for(self.pool, normed, self.config.width, &readers);
            }
        }
    }

    /// Adds what attention has left in `workspace.normed` to the residual stream. Leaves what the
    /// feed-forward part reads in its place, and loads it.
    pub(super) fn turn(&self, workspace: &mut Workspace) {
        let pool = self.pool;
        let Workspace {
            hidden,
            normed,
            activations,
            ..
        } = workspace;
        let readers = self.weights.feed_forward.inputs();
        match &self.weights.norms {
            BlockNorms::Around {
                post_attention,
                feed_forward,
                ..
            } => {
                let norms = ResidualNorms {
                    change: post_attention.as_deref().map(|weight| self.rms(weight)),
                    sum: self.rms(feed_forward),
                };
                activations.load_residual(pool, (hidden, normed), norms, &readers);
            }
            BlockNorms::Behind { attention, .. } => {
                add_assign(pool, hidden, normed);
                attention.apply(pool, hidden, self.config.norm_epsilon);
                normed.copy_from_slice(hidden);
                activations.load_for(pool, normed, self.config.width, &readers);
            }
        }
    }

    /// Adds what the feed-forward part has left in `workspace.normed` to the residual stream.
    pub(super) fn leave(&self, workspace: &mut Workspace) {
        let (pool, epsilon) = (self.pool, self.config.norm_epsilon);
        let Workspace { hidden, normed, .. } = workspace;
        match &self.weights.norms {
            BlockNorms::Around {
                post_feed_forward, ..
            } => {
                if let Some(weight) = post_feed_forward {
                    rms_norm_in_place(pool, normed, weight, epsilon);
                }
                add_assign(pool, hidden, normed);
            }
            BlockNorms::Behind { feed_forward, .. } => {
                add_assign(pool, hidden, normed);
                feed_forward.apply(pool, hidden, epsilon);
            }
        }
    }

    /// A normalisation of rows, with these weights.
    fn rms<'w>(&self, weight: &'w [f32]) -> RmsNorm<'w> {
        RmsNorm {
            weight,
            epsilon: self.config.norm_epsilon,
        }
    }
}
