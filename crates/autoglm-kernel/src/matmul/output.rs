//! Where the sums of a product go, and wait between the chunks of columns.

use std::ops::Range;

use crate::activation::TILE;
use crate::lanes::{Floats, LANES};
use crate::pool::DisjointMut;

/// `y: [T, outputs]`, of which every task reads and writes columns of its own.
pub(super) struct Output<'a> {
    y: DisjointMut<'a, f32>,
    rows: usize,
    pub(super) outputs: usize,
    /// What is added to the finished sums: `[outputs]`.
    bias: Option<&'a [f32]>,
}

impl<'a> Output<'a> {
    pub(super) fn new(y: &'a mut [f32], outputs: usize, bias: Option<&'a [f32]>) -> Self {
        Self {
            bias,
            rows: y.len().checked_div(outputs).unwrap_or(0),
            outputs,
            y: DisjointMut::new(y),
        }
    }

    pub(super) fn load(&self, tile: usize, columns: Range<usize>, sums: &mut [Floats]) {
        self.for_each_row(tile, columns, |n, y| match <&[f32; LANES]>::try_from(&*y) {
            Ok(y) => sums[n].0 = *y,
            Err(_) => sums[n].0[..y.len()].copy_from_slice(y),
        });
    }

    pub(super) fn store(&self, tile: usize, columns: Range<usize>, sums: &[Floats]) {
        self.for_each_row(tile, columns, |n, y| {
            match <&mut [f32; LANES]>::try_from(&mut *y) {
                Ok(y) => *y = sums[n].0,
                Err(_) => y.copy_from_slice(&sums[n].0[..y.len()]),
            }
        });
    }

    /// Stores sums that are complete, with the bias.
    pub(super) fn finish(&self, tile: usize, columns: Range<usize>, sums: &mut [Floats]) {
        if let Some(bias) = self.bias {
            for sums in &mut *sums {
                for (sum, bias) in sums.0.iter_mut().zip(&bias[columns.clone()]) {
                    *sum += bias;
                }
            }
        }
        self.store(tile, columns, sums);
    }

    pub(super) fn store_lane(&self, tile: usize, column: usize, sums: &[Floats], lane: usize) {
        self.for_each_row(tile, column..column + 1, |n, y| y[0] = sums[n].0[lane]);
    }

    /// Hands over these columns of every row of a tile, with its number in the tile.
    #[inline]
    fn for_each_row(
        &self,
        tile: usize,
        columns: Range<usize>,
        mut f: impl FnMut(usize, &mut [f32]),
    ) {
        let first = tile * TILE;
        for row in first..self.rows.min(first + TILE) {
            let start = row * self.outputs;
            // SAFETY: every column belongs to one share and so to one task, which holds one part
            // at a time.
            let part = unsafe { self.y.range(start + columns.start..start + columns.end) };
            f(row - first, part);
        }
    }
}
