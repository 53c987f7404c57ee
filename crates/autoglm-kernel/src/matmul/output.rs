//! Where the sums of a product go, and wait between the chunks of columns.

use std::ops::Range;

use crate::activation::TILE;
use crate::lanes::{Floats, LANES};
use crate::pool::DisjointMut;
use crate::simd::{Simd, Variant, with_simd};

/// `y: [T, outputs]`, of which every task reads and writes columns of its own.
pub(super) struct Output<'a> {
    y: DisjointMut<'a, f32>,
    variant: Variant,
    rows: usize,
    pub(super) outputs: usize,
    /// What is added to the finished sums: `[outputs]`.
    bias: Option<&'a [f32]>,
}

impl<'a> Output<'a> {
    pub(super) fn new(y: &'a mut [f32], outputs: usize, bias: Option<&'a [f32]>) -> Self {
        Self {
            variant: Variant::best(),
            bias,
            rows: y.len().checked_div(outputs).unwrap_or(0),
            outputs,
            y: DisjointMut::new(y),
        }
    }

    /// Sums of nothing.
    pub(super) fn clear(&self, sums: &mut [Floats]) {
        with_simd!(self.variant, s => for sum in &mut *sums {
            s.store(s.splat(0.0), &mut sum.0);
        });
    }

    pub(super) fn load(&self, tile: usize, columns: Range<usize>, sums: &mut [Floats]) {
        with_simd!(self.variant, s => self.for_each_row(tile, columns, #[inline(always)] |n, y| {
            match <&[f32; LANES]>::try_from(&*y) {
                Ok(y) => s.store(s.load(y), &mut sums[n].0),
                Err(_) => sums[n].0[..y.len()].copy_from_slice(y),
            }
        }));
    }

    pub(super) fn store(&self, tile: usize, columns: Range<usize>, sums: &[Floats]) {
        with_simd!(self.variant, s => self.for_each_row(tile, columns, #[inline(always)] |n, y| {
            match <&mut [f32; LANES]>::try_from(&mut *y) {
                Ok(y) => s.store(s.load(&sums[n].0), y),
                Err(_) => y.copy_from_slice(&sums[n].0[..y.len()]),
            }
        }));
    }

    /// Stores sums that are complete, with the bias.
    pub(super) fn finish(&self, tile: usize, columns: Range<usize>, sums: &[Floats]) {
        let Some(bias) = self.bias else {
            return self.store(tile, columns, sums);
        };
        let bias = &bias[columns.clone()];
        with_simd!(self.variant, s => self.for_each_row(tile, columns, #[inline(always)] |n, y| {
            match (<&mut [f32; LANES]>::try_from(&mut *y), bias.try_into()) {
                (Ok(y), Ok(bias)) => s.store(s.add(s.load(&sums[n].0), s.load(bias)), y),
                _ => {
                    for (y, (sum, bias)) in y.iter_mut().zip(sums[n].0.iter().zip(bias)) {
                        *y = sum + bias;
                    }
                }
            }
        }));
    }

    pub(super) fn store_lane(&self, tile: usize, column: usize, sums: &[Floats], lane: usize) {
        self.for_each_row(tile, column..column + 1, |n, y| y[0] = sums[n].0[lane]);
    }

    /// Hands over these columns of every row of a tile, with its number in the tile.
    #[inline(always)]
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
