//! The attention half of a block: queries, keys and values, the cache, the output projection.

use autoglm_kernel::{
    AttentionParams, Gate, add_assign, attention, gated_attention, rms_norm, rms_norm_in_place,
    rope, store_kv,
};

use super::{Block, Rows, Workspace, linear};
use crate::cache::KvCache;
use crate::gating::Gating;

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
        let readers = [
            &weights.attention.query,
            &weights.attention.key,
            &weights.attention.value,
        ];
        activations.load_for(
            pool,
            normed,
            config.width,
            &readers.map(|linear| &linear.matrix),
        );
        linear(pool, &weights.attention.key, activations, keys);
        linear(pool, &weights.attention.value, activations, values);
        if let Some(norm) = &weights.attention.key_norm {
            rms_norm_in_place(pool, keys, norm, config.norm_epsilon);
        }
        rope(pool, self.rope, &rows.positions, config.kv_heads, keys);
        store_kv(pool, keys, values, &rows.slots, &mut cache.view_mut(layer));
        if self.layer.window.is_none() {
            cache.bound_keys(pool, layer, &rows.filled_blocks());
        }
    }

    pub(super) fn attend(
        &self,
        workspace: &mut Workspace,
        cache: &KvCache,
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
            queries,
            attended,
            gatings,
            ..
        } = workspace;
        linear(pool, &weights.attention.query, activations, queries);
        if let Some(norm) = &weights.attention.query_norm {
            rms_norm_in_place(pool, queries, norm, config.norm_epsilon);
        }
        rope(pool, self.rope, &rows.positions, config.heads, queries);
        attended.resize(queries.len(), 0.0);
        let params = self.attention_params();
        attention(
            pool,
            queries,
            &cache.view(layer),
            &rows.spans,
            &params,
            attended,
        );
        self.attend_gated((queries, attended), cache, layer, (rows, gatings));
        let attended_width = config.heads * config.head_width;
        activations.load_for(
            pool,
            attended,
            attended_width,
            &[&weights.attention.output.matrix],
        );
        linear(pool, &weights.attention.output, activations, normed);
        if let Some(norm) = &weights.post_attention_norm {
            rms_norm_in_place(pool, normed, norm, config.norm_epsilon);
        }
        add_assign(pool, hidden, normed);
    }

    /// Attends from the gated rows: to what their gates let through, or to the window where the
    /// layer has one.
    fn attend_gated(
        &self,
        (queries, attended): (&[f32], &mut [f32]),
        cache: &KvCache,
        layer: usize,
        (rows, gatings): (&Rows<'_>, &mut [Box<Gating>]),
    ) {
        if rows.gated.is_empty() {
            return;
        }
        let (pool, params) = (self.pool, self.attention_params());
        if self.layer.window.is_some() {
            let view = cache.view(layer);
            attention(pool, queries, &view, &rows.gated, &params, attended);
            return;
        }
        let gates: Vec<Gate> = rows
            .gatings
            .iter()
            .map(|&g| gatings[g].gate(layer))
            .collect();
        let view = cache.gated_view(layer);
        let gated = (&rows.gated[..], &gates[..]);
        let measures = gated_attention(pool, queries, &view, gated, &params, attended);
        for (&gating, measure) in rows.gatings.iter().zip(&measures) {
            gatings[gating].observe(layer, measure);
        }
    }

    fn attention_params(&self) -> AttentionParams {
        AttentionParams {
            heads: self.config.heads,
            scale: self.config.attention_scale,
            window: self.layer.window,
            soft_cap: None,
        }
    }
}
