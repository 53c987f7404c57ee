//! Multi-head latent attention. With a row's latent part `c` (compressed and normalised) and its
//! rotated key `k`, head h's key is `[K_h·c, k]` and its value `V_h·c`. Both are linear in `c`, so
//!
//! ```text
//! score_h(t, s) = q_h·K_h·c_s + r_h·k_s = (K_hᵀ·q_h)·c_s + r_h·k_s
//! out_h(t)      = Σ_s w_s·V_h·c_s       = V_h·Σ_s w_s·c_s
//! ```
//!
//! and nothing but `c` and `k` is cached. Queries and results stand head by head in between:
//! `[H, T, ...]`.

use std::ops::Range;

use autoglm_kernel::{
    Activations, LatentQueries, Pool, latent_attention, matmul_each, rms_norm_in_place, rope,
    store_latent,
};

use super::{Block, Rows, Workspace, linear};
use crate::cache::KvCache;
use crate::config::LatentConfig;
use crate::weights::{LatentQuery, LatentWeights};

/// Buffers of latent attention.
#[derive(Default)]
pub(super) struct LatentBuffers {
    /// `[T, L + R]`, then queries on the way: `[T, rank]`.
    compressed: Vec<f32>,
    /// `[T, L]`.
    latents: Vec<f32>,
    /// The rotated keys `[T, R]`, then queries `[T, H, R]`.
    rotated: Vec<f32>,
    /// The parts of queries that are not rotated `[H, T, plain]`, then values `[H, T, value]`.
    by_head: Vec<f32>,
    /// `[H, T, L]`.
    queries: Vec<f32>,
    /// `[H, T, L]`.
    attended: Vec<f32>,
    scratch: Vec<Activations>,
}

impl Block<'_> {
    /// Computes the latent rows of the loaded ones and writes them into the cache.
    pub(super) fn store_latent(
        &self,
        (weights, latent): (&LatentWeights, &LatentConfig),
        workspace: &mut Workspace,
        cache: &mut KvCache,
        (layer, rows): (usize, &Rows<'_>),
    ) {
        let pool = self.pool;
        let Workspace {
            activations,
            latent: buffers,
            ..
        } = workspace;
        linear(
            pool,
            &weights.compress,
            activations,
            &mut buffers.compressed,
        );
        let (rank, cached) = (latent.rank, latent.cached());
        columns(&buffers.compressed, cached, 0..rank, &mut buffers.latents);
        columns(
            &buffers.compressed,
            cached,
            rank..cached,
            &mut buffers.rotated,
        );
        rms_norm_in_place(
            pool,
            &mut buffers.latents,
            &weights.compress_norm,
            latent.norm_epsilon,
        );
        rope(pool, self.rope, &rows.positions, 1, &mut buffers.rotated);
        store_latent(
            &buffers.latents,
            &buffers.rotated,
            &rows.slots,
            &mut cache.latent_view_mut(layer),
        );
    }

    /// Attends from the rows to the cache and leaves the projected result in `workspace.normed`.
    pub(super) fn attend_latent(
        &self,
        (weights, latent): (&LatentWeights, &LatentConfig),
        workspace: &mut Workspace,
        cache: &KvCache,
        (layer, rows): (usize, &Rows<'_>),
    ) {
        let Self { pool, config, .. } = *self;
        let tokens = rows.positions.len();
        self.latent_queries((weights, latent), workspace, rows);
        let Workspace {
            normed,
            activations,
            attended,
            latent: buffers,
            ..
        } = workspace;
        buffers.attended.resize(buffers.queries.len(), 0.0);
        let queries = LatentQueries {
            latent: &buffers.queries,
            rope: &buffers.rotated,
            heads: config.heads,
        };
        let (view, scale) = (cache.latent_view(layer), config.attention_scale);
        // There are no gates here: gated rows attend to everything like the others.
        for spans in [&rows.spans, &rows.gated] {
            latent_attention(pool, queries, &view, spans, scale, &mut buffers.attended);
        }
        let width = config.heads * latent.value_width;
        buffers.by_head.resize(tokens * width, 0.0);
        matmul_each(
            pool,
            &weights.value_up,
            &buffers.attended,
            &mut buffers.scratch,
            &mut buffers.by_head,
        );
        by_row(
            pool,
            &buffers.by_head,
            latent.value_width,
            config.heads,
            attended,
        );
        activations.load_for(pool, attended, width, &[&weights.output.matrix]);
        linear(pool, &weights.output, activations, normed);
    }

    /// Makes the two parts of the queries: `buffers.queries` in the latent width, and
    /// `buffers.rotated`.
    fn latent_queries(
        &self,
        (weights, latent): (&LatentWeights, &LatentConfig),
        workspace: &mut Workspace,
        rows: &Rows<'_>,
    ) {
        let Self { pool, config, .. } = *self;
        let Workspace {
            activations,
            queries,
            latent: buffers,
            ..
        } = workspace;
        match &weights.query {
            LatentQuery::Direct(direct) => linear(pool, direct, activations, queries),
            LatentQuery::Compressed { down, norm, up } => {
                let compressed = &mut buffers.compressed;
                linear(pool, down, activations, compressed);
                rms_norm_in_place(pool, compressed, norm, latent.norm_epsilon);
                activations.load_for(pool, compressed, norm.len(), &[&up.matrix]);
                linear(pool, up, activations, queries);
            }
        }
        let (plain, width) = (latent.plain_width, config.head_width);
        by_head(
            pool,
            queries,
            (config.heads, width),
            plain,
            &mut buffers.by_head,
        );
        columns(queries, width, plain..width, &mut buffers.rotated);
        rope(
            pool,
            self.rope,
            &rows.positions,
            config.heads,
            &mut buffers.rotated,
        );
        let outputs = rows.positions.len() * config.heads * latent.rank;
        buffers.queries.resize(outputs, 0.0);
        matmul_each(
            pool,
            &weights.key_up,
            &buffers.by_head,
            &mut buffers.scratch,
            &mut buffers.queries,
        );
    }
}

/// Some columns of rows of `width`.
fn columns(x: &[f32], width: usize, columns: Range<usize>, out: &mut Vec<f32>) {
    out.clear();
    for row in x.chunks_exact(width) {
        out.extend_from_slice(&row[columns.clone()]);
    }
}

/// `out[h, t] = x[t, h, ..part]` for `x: [T, heads, width]`.
fn by_head(
    pool: &Pool,
    x: &[f32],
    (heads, width): (usize, usize),
    part: usize,
    out: &mut Vec<f32>,
) {
    let tokens = x.len() / (heads * width);
    out.resize(heads * tokens * part, 0.0);
    pool.for_each_chunk(out, tokens * part, |head, out| {
        let rows = x.chunks_exact(heads * width);
        for (out, row) in out.chunks_exact_mut(part).zip(rows) {
            out.copy_from_slice(&row[head * width..][..part]);
        }
    });
}

/// `out[t, h] = x[h, t]` for `x: [heads, T, width]`.
fn by_row(pool: &Pool, x: &[f32], width: usize, heads: usize, out: &mut Vec<f32>) {
    let tokens = x.len() / (heads * width);
    out.resize(x.len(), 0.0);
    pool.for_each_chunk(out, heads * width, |row, out| {
        for (head, out) in out.chunks_exact_mut(width).enumerate() {
            out.copy_from_slice(&x[(head * tokens + row) * width..][..width]);
        }
    });
}
