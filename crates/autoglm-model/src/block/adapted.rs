//! What adapters add to a pass: rows are grouped by adapter, and each projection's result is
//! changed for the rows of those that change it.
//!
//! ```text
//! y += scale · B·(A·x)
//! ```
//!
//! in single precision whatever the model's weights are. A row's result depends on its own adapter
//! alone.

use autoglm_kernel::{Activations, Pool, gather_rows, matmul, scatter_rows};

use super::Rows;
use crate::adapter::{Adapter, Projection};

/// The rows of a pass that belong to one adapter.
pub(crate) struct AdaptedRows<'a> {
    adapter: &'a Adapter,
    /// Ascending.
    rows: Vec<u32>,
    /// Of each row its position in its sequence.
    positions: Vec<u32>,
}

/// Buffers of changes.
#[derive(Default)]
pub(super) struct AdapterBuffers {
    activations: Activations,
    /// The rows of one adapter: `[N, in]`.
    gathered: Vec<f32>,
    /// `A·x`: `[N, r]`.
    reduced: Vec<f32>,
    /// `B·(A·x)`: `[N, out]`.
    changes: Vec<f32>,
    /// The scale once for each row.
    factors: Vec<f32>,
}

impl<'a> Rows<'a> {
    /// Counts the rows from `first` on as an adapter's.
    pub(crate) fn adapt(&mut self, adapter: &'a Adapter, first: usize) {
        let rows = first as u32..self.positions.len() as u32;
        let positions = &self.positions[first..];
        let known = |group: &&mut AdaptedRows<'_>| std::ptr::eq(group.adapter, adapter);
        if let Some(group) = self.adapted.iter_mut().find(known) {
            group.rows.extend(rows);
            group.positions.extend(positions);
        } else {
            self.adapted.push(AdaptedRows {
                adapter,
                rows: rows.collect(),
                positions: positions.to_vec(),
            });
        }
    }

    /// Puts the learnt keys and values of virtual tokens in the place of computed ones.
    ///
    /// # Shapes
    /// `keys, values: [T, width]`.
    pub(super) fn replace_virtual(
        &self,
        layer: usize,
        width: usize,
        (keys, values): (&mut [f32], &mut [f32]),
    ) {
        for group in &self.adapted {
            let Some(prefix) = group.adapter.prefix(layer) else {
                continue;
            };
            for (&row, &position) in group.rows.iter().zip(&group.positions) {
                let (row, from) = (row as usize * width, position as usize * width);
                if from < prefix.keys.len() {
                    keys[row..][..width].copy_from_slice(&prefix.keys[from..][..width]);
                    values[row..][..width].copy_from_slice(&prefix.values[from..][..width]);
                }
            }
        }
    }
}

impl AdapterBuffers {
    /// Adds to a projection's result `out` what adapters make of its rows `x`.
    ///
    /// # Shapes
    /// `x: [T, in]`, `out: [T, out]`.
    pub(super) fn add(
        &mut self,
        pool: &Pool,
        (layer, rows): (usize, &Rows<'_>),
        projection: Projection,
        x: &[f32],
        out: &mut [f32],
    ) {
        for group in &rows.adapted {
            let Some(delta) = group.adapter.delta(layer, projection) else {
                continue;
            };
            let (rank, width) = (delta.a.rows(), delta.a.cols());
            gather_rows(pool, x, width, &group.rows, &mut self.gathered);
            let Self {
                activations,
                gathered,
                reduced,
                changes,
                factors,
            } = self;
            activations.load_for(pool, gathered, width, &[&delta.a]);
            reduced.resize(group.rows.len() * rank, 0.0);
            matmul(pool, &delta.a, activations, reduced);
            activations.load_for(pool, reduced, rank, &[&delta.b]);
            changes.resize(group.rows.len() * delta.b.rows(), 0.0);
            matmul(pool, &delta.b, activations, changes);
            factors.clear();
            factors.resize(group.rows.len(), delta.scale);
            let weighted = (&group.rows[..], &factors[..]);
            scatter_rows(pool, changes, delta.b.rows(), weighted, out);
        }
    }
}
