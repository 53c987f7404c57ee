//! The attention half of a block: queries, keys and values, the cache, the output projection.

use autoglm_kernel::{
    AttentionParams, Gate, attention, gated_attention, rms_norm_in_place, rope, store_kv,
};

use super::{Block, Rows, Workspace, linear, linears};
use crate::adapter::Projection;
use crate::cache::KvCache;
use crate::config::LatentConfig;
use crate::gating::Gating;
use crate::weights::{AttentionWeights, HeadsWeights};

/// Which of the rows whose keys and values are stored will also attend.
#[derive(Clone, Copy)]
pub(crate) enum Attending {
    All,
    /// Those that are kept afterwards; [`Block::queries`] makes their queries.
    Some,
}

impl Block<'_> {
    /// Computes what the cache holds of all rows and writes it there, and where all of them will
    /// attend, their queries too. Leaves the normalised rows in `workspace.normed`.
    pub(crate) fn store(
        &self,
        workspace: &mut Workspace,
        cache: &mut KvCache,
        (layer, rows): (usize, &Rows<'_>),
        attending: Attending,
    ) {
        let Workspace {
            hidden,
            normed,
            activations,
            ..
        } = workspace;
        normed.resize(hidden.len(), 0.0);
        let norm = self.norm(&self.weights.attention_norm);
        let readers = self.weights.attention.inputs();
        activations.load_normed(self.pool, hidden, norm, normed, &readers);
        match &self.weights.attention {
            AttentionWeights::Heads(heads) => {
                self.keys_and_values(heads, workspace, (layer, rows), attending);
                self.store_heads(heads, workspace, cache, (layer, rows));
            }
            AttentionWeights::Latent(weights) => {
                let latent = (weights, self.latent());
                self.store_latent(latent, workspace, cache, (layer, rows));
            }
        }
    }

    /// Attends from the rows to the cache and leaves the projected result in `workspace.normed`.
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
    }

    fn latent(&self) -> &LatentConfig {
        let latent = self.config.latent.as_ref();
        latent.expect("latent attention is loaded where it is configured")
    }

    /// Projects the normalised rows, which are loaded.
    fn keys_and_values(
        &self,
        weights: &HeadsWeights,
        workspace: &mut Workspace,
        site: (usize, &Rows<'_>),
        attending: Attending,
    ) {
        let pool = self.pool;
        let Workspace {
            normed,
            activations,
            queries,
            keys,
            values,
            adapters,
            ..
        } = workspace;
        match attending {
            Attending::All => {
                let all = [
                    (&weights.query, &mut *queries),
                    (&weights.key, &mut *keys),
                    (&weights.value, &mut *values),
                ];
                linears(pool, activations, all);
                adapters.add(pool, site, Projection::Query, normed, queries);
            }
            Attending::Some => {
                let both = [(&weights.key, &mut *keys), (&weights.value, &mut *values)];
                linears(pool, activations, both);
            }
        }
        adapters.add(pool, site, Projection::Key, normed, keys);
        adapters.add(pool, site, Projection::Value, normed, values);
    }

    /// Makes the queries of the rows that attend, where these are not all: of those that are
    /// left in `workspace.normed`.
    pub(crate) fn queries(&self, workspace: &mut Workspace, site: (usize, &Rows<'_>)) {
        let Workspace {
            normed,
            activations,
            queries,
            adapters,
            ..
        } = workspace;
        let (pool, width) = (self.pool, self.config.width);
        let input = self.weights.attention.query_input();
        activations.load_for(pool, normed, width, &[input]);
        if let AttentionWeights::Heads(weights) = &self.weights.attention {
            linear(pool, &weights.query, activations, queries);
            adapters.add(pool, site, Projection::Query, normed, queries);
        }
    }

    fn store_heads(
        &self,
        weights: &HeadsWeights,
        workspace: &mut Workspace,
        cache: &mut KvCache,
        (layer, rows): (usize, &Rows<'_>),
    ) {
        let Self { pool, config, .. } = *self;
        let Workspace { keys, values, .. } = workspace;
        if let Some(norm) = &weights.key_norm {
            rms_norm_in_place(pool, keys, norm, config.norm_epsilon);
        }
        rope(pool, self.rope, &rows.positions, config.kv_heads, keys);
        rows.replace_virtual(layer, config.kv_heads * config.head_width, (keys, values));
        store_kv(pool, keys, values, &rows.slots, &mut cache.view_mut(layer));
        if self.layer.window.is_none() {
            cache.bound_keys(pool, layer, &rows.filled_blocks());
        }
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
            gatings,
            adapters,
            ..
        } = workspace;
        if let Some(norm) = &weights.query_norm {
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
        let width = config.heads * config.head_width;
        activations.load_for(pool, attended, width, &[&weights.output.matrix]);
        linear(pool, &weights.output, activations, normed);
        adapters.add(pool, (layer, rows), Projection::Output, attended, normed);
    }

    /// Attends from the gated rows: to what their gates let through, or to the window where the
    /// layer has one.
    fn attend_gated(
        &self,
        (queries, attended): (&[f32], &mut [f32]),
        cache: &KvCache,
        layer: usize,
        (rows, gatings): (&Rows<'_>, &mut [Gating]),
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
