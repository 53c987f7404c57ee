//! The inputs of a matrix product: a copy in single precision and one in blocks of 8-bit integers,
//! laid out so that a kernel reads them in order.

#[cfg(test)]
mod tests;
mod tile;

use crate::pack::PackedMatrix;
use crate::pack::coding::{BLOCK, Coding};
use crate::pack::unpack::CHUNK;
use crate::pool::Pool;

pub(crate) use tile::{QuantisedBlock, RECORD, Record, load_tile, load_tile_with, scale_of};

/// Rows (token positions) that a kernel multiplies at once: with 16 rows of weights, eight
/// integer and eight float accumulators, half of the 32 vector registers.
pub(crate) const TILE: usize = 8;

/// The rows `x: [T, cols]` that [`crate::matmul`] multiplies, in a buffer to be used again.
///
/// Every block of 32 numbers is quantised to 8 bits: `scale = max|x| / 127`, `q = x·(127 /
/// max|x|)` rounded to the nearest integer, to the even one of two. A block whose largest
/// magnitude is below 2⁻¹¹⁹ becomes zero. A block with an infinity or NaN gets the scale NaN.
#[derive(Default)]
pub struct Activations {
    rows: usize,
    cols: usize,
    /// Tiles of at most [`TILE`] rows; a tile is a [`Record`] a block.
    records: Vec<u32>,
    /// The same tiles in single precision: for every column, the rows of the tile.
    floats: Vec<f32>,
    has_records: bool,
    has_floats: bool,
}

/// The rows of a tile over the columns of a chunk, quantised.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// Rows in the tile, at most [`TILE`].
    pub(crate) width: usize,
    /// A [`Record`] of `RECORD * width` words a block.
    pub(crate) records: &'a [u32],
}

/// The rows of a tile in single precision: for every column, `width` numbers.
#[derive(Clone, Copy)]
pub(crate) struct FloatTile<'a> {
    pub(crate) width: usize,
    pub(crate) columns: &'a [f32],
}

impl Activations {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in `x`, rows of `cols` numbers, for weights of any format.
    ///
    /// # Shapes
    /// `x: [T, cols]`.
    ///
    /// # Panics
    /// If `cols` is 0 or `x` is not a whole number of rows.
    pub fn load(&mut self, pool: &Pool, x: &[f32], cols: usize) {
        self.load_forms(pool, x, cols, (true, true));
    }

    /// Takes in `x` as [`Self::load`] does, but only in the forms that these weights need, which
    /// is faster.
    ///
    /// # Shapes
    /// `x: [T, cols]`.
    ///
    /// # Panics
    /// If `cols` is 0 or `x` is not a whole number of rows.
    pub fn load_for(&mut self, pool: &Pool, x: &[f32], cols: usize, weights: &[&PackedMatrix]) {
        let quantised = |w: &&PackedMatrix| Coding::of(w.format()).is_some();
        let integers = weights.iter().any(quantised);
        let floats = !weights.iter().all(quantised);
        self.load_forms(pool, x, cols, (integers, floats));
    }

    fn load_forms(
        &mut self,
        pool: &Pool,
        x: &[f32],
        cols: usize,
        (integers, floats): (bool, bool),
    ) {
        assert!(
            cols > 0 && x.len().is_multiple_of(cols),
            "{} numbers are not rows of {cols}",
            x.len()
        );
        self.rows = x.len() / cols;
        self.cols = cols;
        self.has_records = integers;
        self.has_floats = floats;
        if self.rows == 0 {
            return;
        }
        if integers {
            let row_words = cols.div_ceil(BLOCK) * RECORD;
            self.records.resize(self.rows * row_words, 0);
            let load_tile = crate::matmul::Kernels::best().load_tile;
            pool.for_each_chunk(&mut self.records, TILE * row_words, |tile, records| {
                load_tile(tile_rows(x, cols, tile), cols, records);
            });
        }
        if floats {
            self.floats.resize(x.len(), 0.0);
            pool.for_each_chunk(&mut self.floats, TILE * cols, |tile, out| {
                interleave(tile_rows(x, cols, tile), cols, out);
            });
        }
    }

    /// The rows: T.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    pub(crate) fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE)
    }

    /// The rows of tile `tile`.
    pub(crate) fn width(&self, tile: usize) -> usize {
        TILE.min(self.rows - tile * TILE)
    }

    /// Tile `tile` over the chunk of columns that begins at block `first`.
    #[inline]
    pub(crate) fn tile(&self, tile: usize, first: usize) -> Tile<'_> {
        assert!(self.has_records, "activations were not loaded as integers");
        let width = self.width(tile);
        let blocks = self.cols.div_ceil(BLOCK);
        let start = tile * TILE * blocks * RECORD + first * width * RECORD;
        let len = CHUNK.min(blocks - first) * width * RECORD;
        Tile {
            width,
            records: &self.records[start..start + len],
        }
    }

    /// Tile `tile` in single precision.
    #[inline]
    pub(crate) fn float_tile(&self, tile: usize) -> FloatTile<'_> {
        assert!(self.has_floats, "activations were not loaded as floats");
        let width = self.width(tile);
        let start = tile * TILE * self.cols;
        FloatTile {
            width,
            columns: &self.floats[start..start + width * self.cols],
        }
    }
}

/// The rows of `x` that belong to a tile.
fn tile_rows(x: &[f32], cols: usize, tile: usize) -> &[f32] {
    let start = tile * TILE * cols;
    &x[start..x.len().min(start + TILE * cols)]
}

/// Turns rows of `cols` numbers into columns.
fn interleave(rows: &[f32], cols: usize, out: &mut [f32]) {
    let width = rows.len() / cols;
    for (n, row) in rows.chunks_exact(cols).enumerate() {
        for (out, x) in out.chunks_exact_mut(width).zip(row) {
            out[n] = *x;
        }
    }
}
