//! The feed-forward part as a mixture of experts. Rows are grouped by expert, so that every
//! expert's matrices are read once for all rows that chose it.
//!
//! ```text
//! s = gate(router·n);   chosen: the greatest s + b, from the best groups
//! w_e = s_e / Σ s · scale;   result = Σ_e w_e·expert_e(n) + shared(n)
//! ```
//!
//! A row's result is the sum over its own experts in ascending order, then the shared part: it
//! does not depend on what the other rows chose.

use autoglm_kernel::{Activations, Pool, add_assign, gather_rows, matmul, scatter_rows};

use super::{Block, Workspace};
use crate::config::ExpertsConfig;
use crate::router::{Router, Routes};
use crate::weights::ExpertsWeights;

/// Buffers of a mixture of experts.
#[derive(Default)]
pub(super) struct ExpertsBuffers {
    /// The router's outputs: `[T, E]`.
    scores: Vec<f32>,
    routes: Routes,
    /// The rows of one expert: `[N, C]`.
    gathered: Vec<f32>,
    /// Their results: `[N, C]`.
    results: Vec<f32>,
    /// The sums over experts: `[T, C]`.
    sums: Vec<f32>,
}

impl Block<'_> {
    /// Runs the rows of `workspace.normed`, which are loaded for the router, through their experts;
    /// the result takes their place.
    pub(super) fn mix(
        &self,
        (weights, experts): (&ExpertsWeights, &ExpertsConfig),
        workspace: &mut Workspace,
    ) {
        let Self { pool, config, .. } = *self;
        let Workspace {
            normed,
            activations,
            gated,
            experts: buffers,
            ..
        } = workspace;
        let width = config.width;
        route(pool, (weights, experts), activations, buffers);
        let ExpertsBuffers {
            routes,
            gathered,
            results,
            sums,
            ..
        } = buffers;
        sums.clear();
        sums.resize(normed.len(), 0.0);
        for (expert, weights) in weights.experts.iter().enumerate() {
            let (rows, factors) = routes.of(expert);
            if rows.is_empty() {
                continue;
            }
            gather_rows(pool, normed, width, rows, gathered);
            activations.load_for(pool, gathered, width, &weights.inputs());
            self.gated(weights, activations, gated, results);
            scatter_rows(pool, results, width, (rows, factors), sums);
        }
        if let Some(shared) = &weights.shared {
            activations.load_for(pool, normed, width, &shared.inputs());
            self.gated(shared, activations, gated, results);
            add_assign(pool, sums, results);
        }
        std::mem::swap(normed, sums);
    }
}

/// Lets every loaded row choose its experts.
fn route(
    pool: &Pool,
    (weights, experts): (&ExpertsWeights, &ExpertsConfig),
    activations: &Activations,
    buffers: &mut ExpertsBuffers,
) {
    let scores = &mut buffers.scores;
    scores.resize(activations.rows() * experts.count, 0.0);
    matmul(pool, &weights.router, activations, scores);
    let correction = weights.correction.as_deref();
    let router = Router {
        experts,
        correction,
    };
    router.route(scores, &mut buffers.routes);
}
