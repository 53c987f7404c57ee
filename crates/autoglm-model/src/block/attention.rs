//! The attention half of a block: queries, keys and values, the cache, the output projection.

use autoglm_kernel::{
    AttentionParams, add_assign, attention, rms_norm, rms_norm_in_place, rope, store_kv,
};

use super::{Block, Rows, Workspace, linear};
use crate::cache::KvCache;
use crate::config::LatentConfig;
use crate::weights::{AttentionWeights, HeadsWeights};

impl Block<'_> {
    /// Computes what the cache holds of all rows and writes it there. Leaves the normalised rows
    /// in `workspace.normed`.
    pub(crate) fn store(
        &self,
        workspace: &mut Workspace,
        cache: &mut KvCache,
        layer: usize,
        rows: &Rows<'_>,
    ) {
        let Workspace { hidden, normed, .. } = workspace;
        normed.resize(hidden.len(), 0.0);
        rms_norm(
            self.pool,
            hidden,
            &self.weights.attention_norm,
            self.config.norm_epsilon,
            normed,
        );
        match &self.weights.attention {
            AttentionWeights::Heads(heads) => {
                self.store_heads(heads, workspace, cache, (layer, rows));
            }
            AttentionWeights::Latent(weights) => {
                let latent = (weights, self.latent());
                self.store_latent(latent, workspace, cache, (layer, rows));
            }
        }
    }

    /// Attends from the rows to the cache and adds the result to the residual stream.
    pub(super) fn attend(
        &self,
        workspace: &mut Workspace,
        cache: &KvCache,
        layer: usize,
        rows: &Rows<'_>,
    ) {
        match &self.weights.attention {
            AttentionWeights::Heads(heads) => {
                self.attend_heads(heads, workspace, cache, (layer, rows));
            }
            AttentionWeights::Latent(weights) => {
                let latent = (weights, self.latent());
                self.attend_latent(latent, workspace, cache, (layer, rows));
            }
        }
        let Workspace { hidden, normed, .. } = workspace;
        if let Some(norm) = &self.weights.post_attention_norm {
            rms_norm_in_place(self.pool, normed, norm, self.config.norm_epsilon);
        }
        add_assign(self.pool, hidden, normed);
    }

    fn latent(&self) -> &LatentConfig {
        let latent = self.config.latent.as_ref();
        latent.expect("latent attention is loaded where it is configured")
    }

    fn store_heads(
        &self,
        weights: &HeadsWeights,
        workspace: &mut Workspace,
        cache: &mut KvCache,
        (layer, rows): (usize, &Rows<'_>),
    ) {
        let Self { pool, config, .. } = *self;
        let Workspace {
            normed,
            activations,
            keys,
            values,
            ..
        } = workspace;
        let readers = [&weights.query, &weights.key, &weights.value];
        let readers = readers.map(|linear| &linear.matrix);
        activations.load_for(pool, normed, config.width, &readers);
        linear(pool, &weights.key, activations, keys);
        linear(pool, &weights.value, activations, values);
        if let Some(norm) = &weights.key_norm {
            rms_norm_in_place(pool, keys, norm, config.norm_epsilon);
        }
        rope(pool, self.rope, &rows.positions, config.kv_heads, keys);
        store_kv(pool, keys, values, &rows.slots, &mut cache.view_mut(layer));
    }

    /// Leaves the projected result in `workspace.normed`.
    fn attend_heads(
        &self,
        weights: &HeadsWeights,
        workspace: &mut Workspace,
        cache: &KvCache,
        (layer, rows): (usize, &Rows<'_>),
    ) {
        let Self { pool, config, .. } = *self;
        let Workspace {
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
        let width = config.heads * config.head_width;
        activations.load_for(pool, attended, width, &[&weights.output.matrix]);
        linear(pool, &weights.output, activations, normed);
    }
}
