//! Quantised activations once more, 16 rows at a time: the factor of a product of whole tiles.

use std::ops::Range;

use crate::lanes::Line;
use crate::pack::coding::{BLOCK, QUADS};
use crate::pool::DisjointMut;

use super::{RECORD, Record, TILE};

/// Rows of a wide tile.
pub(crate) const WIDE: usize = 2 * TILE;

/// Tiles of 16 rows. For every block of columns, 16 rows of 32 signed bytes, and for each of them
/// the scale and the scaled sum of its [`Record`]. What belongs to rows that are not there is left
/// as it was.
#[derive(Default)]
pub(super) struct WideTiles {
    /// `[tiles, blocks, 16, 32]` bytes.
    values: Vec<Line>,
    /// `[tiles, blocks, 16]`.
    scales: Vec<f32>,
    /// `[tiles, blocks, 16]`.
    scaled_sums: Vec<f32>,
}

/// A wide tile over the columns of a chunk.
#[derive(Clone, Copy)]
pub(crate) struct WideTile<'a> {
    values: &'a [Line],
    scales: &'a [f32],
    scaled_sums: &'a [f32],
}

impl WideTiles {
    /// Makes room for `rows` rows.
    pub(super) fn resize(&mut self, rows: usize, blocks: usize) {
        let blocks = rows.div_ceil(WIDE) * blocks;
        self.values.resize(blocks * QUADS, Line::ZERO);
        self.scales.resize(blocks * WIDE, 0.0);
        self.scaled_sums.resize(blocks * WIDE, 0.0);
    }

    /// For tasks that write tiles of their own.
    pub(super) fn writer(&mut self) -> WideWriter<'_> {
        WideWriter {
            values: DisjointMut::new(&mut self.values),
            scales: DisjointMut::new(&mut self.scales),
            scaled_sums: DisjointMut::new(&mut self.scaled_sums),
        }
    }

    /// Some blocks, counted over all tiles.
    pub(super) fn tile(&self, blocks: Range<usize>) -> WideTile<'_> {
        let rows = blocks.start * WIDE..blocks.end * WIDE;
        WideTile {
            values: &self.values[blocks.start * QUADS..blocks.end * QUADS],
            scales: &self.scales[rows.clone()],
            scaled_sums: &self.scaled_sums[rows],
        }
    }
}

#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "AMX alone multiplies 16 tokens at once")
)]
impl<'a> WideTile<'a> {
    /// Block `b` of the chunk: 16 rows of 32 signed bytes.
    #[inline(always)]
    pub(crate) fn values(self, b: usize) -> &'a [Line; QUADS] {
        &self.values.as_chunks().0[b]
    }

    /// The scales of block `b`.
    #[inline(always)]
    pub(crate) fn scales(self, b: usize) -> &'a [f32; WIDE] {
        &self.scales.as_chunks().0[b]
    }

    /// The scaled sums of block `b`.
    #[inline(always)]
    pub(crate) fn scaled_sums(self, b: usize) -> &'a [f32; WIDE] {
        &self.scaled_sums.as_chunks().0[b]
    }
}

/// Writes tiles of eight rows, each of which is half of a wide one.
pub(super) struct WideWriter<'a> {
    values: DisjointMut<'a, Line>,
    scales: DisjointMut<'a, f32>,
    scaled_sums: DisjointMut<'a, f32>,
}

impl WideWriter<'_> {
    /// Copies the records of tile `tile`, which has `width` rows.
    pub(super) fn write(&self, tile: usize, width: usize, records: &[u32]) {
        const LINES: usize = QUADS / 2;
        let blocks = records.len() / (RECORD * width);
        for (b, record) in records.chunks_exact(RECORD * width).enumerate() {
            // Halves of blocks, counted over all tiles.
            let half = 2 * ((tile / 2) * blocks + b) + tile % 2;
            // SAFETY: this half belongs to the tile, and so to its task, alone.
            let values = unsafe { self.values.range(half * LINES..(half + 1) * LINES) };
            for (n, row) in rows_of(values).take(width).enumerate() {
                for (i, quad) in row.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    *quad = record[i * width + n].to_le_bytes();
                }
            }
            let copy = |to: &DisjointMut<'_, f32>, word: usize| {
                // SAFETY: as above.
                let to = unsafe { to.range(half * TILE..half * TILE + width) };
                for (to, word) in to.iter_mut().zip(&record[word * width..]) {
                    *to = f32::from_bits(*word);
                }
            };
            copy(&self.scales, Record::SCALE);
            copy(&self.scaled_sums, Record::SCALED_SUM);
        }
    }
}

/// Rows of 32 bytes.
fn rows_of(lines: &mut [Line]) -> impl Iterator<Item = &mut [u8; BLOCK]> {
    lines
        .iter_mut()
        .flat_map(|line| line.0.as_chunks_mut::<BLOCK>().0)
}
