//! Rows that are computed and taken in in one pass: while a tile is in the core's cache it is
//! normalised or gated, and quantised.

use std::ops::Range;

use super::{Activations, Forms};
use crate::elementwise::{add_rows, assert_rows};
use crate::gated::{GateActivation, gate_rows};
use crate::norm::normalise_rows;
use crate::pack::PackedMatrix;
use crate::pool::{DisjointMut, Pool};
use crate::simd::Variant;

/// A root-mean-square normalisation, as [`crate::rms_norm`] defines it.
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm<'a> {
    /// `[C]`.
    pub weight: &'a [f32],
    /// What is added to the mean of the squares.
    pub epsilon: f32,
}

/// The normalisations on both sides of a residual sum.
#[derive(Clone, Copy, Debug)]
pub struct ResidualNorms<'a> {
    /// Of the change before it is added, where there is one.
    pub change: Option<RmsNorm<'a>>,
    /// Of the sum.
    pub sum: RmsNorm<'a>,
}

impl Activations {
    /// `normed = norm(x)`, taken in as [`Self::load_for`] does.
    ///
    /// # Shapes
    /// `x, normed: [T, C]`.
    ///
    /// # Panics
    /// If `normed` differs from `x` in length or the norm's width does not divide it.
    pub fn load_normed(
        &mut self,
        pool: &Pool,
        x: &[f32],
        norm: RmsNorm<'_>,
        normed: &mut [f32],
        weights: &[&PackedMatrix],
    ) {
        let cols = norm.weight.len();
        assert_rows("load_normed", x.len(), cols);
        assert_eq!(
            normed.len(),
            x.len(),
            "load_normed: normed and x differ in length"
        );
        let normed = DisjointMut::new(normed);
        let shape = (x.len() / cols, cols);
        self.load_tiles(pool, shape, Forms::of(weights), |rows: Range<usize>| {
            // SAFETY: the rows of a tile belong to its task alone.
            let out = unsafe { normed.range(rows.clone()) };
            out.copy_from_slice(&x[rows]);
            normalise_rows(Variant::best(), out, norm.weight, norm.epsilon);
            out
        });
    }

    /// `hidden += change`, with the change normalised before where the norms say so; then
    /// `change = norm(hidden)`, taken in as [`Self::load_for`] does.
    ///
    /// # Shapes
    /// `hidden, change: [T, C]`.
    ///
    /// # Panics
    /// If `change` differs from `hidden` in length or a norm's width does not divide it.
    pub fn load_residual(
        &mut self,
        pool: &Pool,
        (hidden, change): (&mut [f32], &mut [f32]),
        norms: ResidualNorms<'_>,
        weights: &[&PackedMatrix],
    ) {
        let cols = norms.sum.weight.len();
        assert_rows("load_residual", hidden.len(), cols);
        assert_eq!(
            change.len(),
            hidden.len(),
            "load_residual: change and hidden differ in length"
        );
        let variant = Variant::best();
        let shape = (hidden.len() / cols, cols);
        let (hidden, change) = (DisjointMut::new(hidden), DisjointMut::new(change));
        self.load_tiles(pool, shape, Forms::of(weights), |rows: Range<usize>| {
            // SAFETY: the rows of a tile belong to its task alone.
            let hidden = unsafe { hidden.range(rows.clone()) };
            // SAFETY: as above.
            let change = unsafe { change.range(rows) };
            if let Some(norm) = norms.change {
                normalise_rows(variant, change, norm.weight, norm.epsilon);
            }
            add_rows(variant, hidden, change);
            change.copy_from_slice(hidden);
            normalise_rows(variant, change, norms.sum.weight, norms.sum.epsilon);
            change
        });
    }

    /// `gate = activation(gate) · up`, taken in as [`Self::load_for`] does for `weights`, which
    /// have a column for each number of a row.
    ///
    /// # Shapes
    /// `gate, up: [T, F]`.
    ///
    /// # Panics
    /// If `up` differs from `gate` in length or is not whole rows of the weights' columns.
    pub fn load_gated(
        &mut self,
        pool: &Pool,
        activation: GateActivation,
        (gate, up): (&mut [f32], &[f32]),
        weights: &PackedMatrix,
    ) {
        let cols = weights.cols();
        assert_rows("load_gated", gate.len(), cols);
        assert_eq!(
            gate.len(),
            up.len(),
            "load_gated: gate and up differ in length"
        );
        let shape = (gate.len() / cols, cols);
        let gate = DisjointMut::new(gate);
        self.load_tiles(pool, shape, Forms::of(&[weights]), |rows: Range<usize>| {
            // SAFETY: the rows of a tile belong to its task alone.
            let gate = unsafe { gate.range(rows.clone()) };
            gate_rows(Variant::best(), activation, gate, &up[rows]);
            gate
        });
    }
}
