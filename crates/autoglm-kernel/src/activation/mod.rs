//! The inputs of a matrix product: a copy in single precision, one in blocks of 8-bit integers and
//! one in bfloat16, each laid out so that a kernel reads it in order.

mod brain;
mod prepared;
#[cfg(test)]
mod tests;
mod tile;
mod wide;

use std::ops::Range;

use crate::lanes::Line;
use crate::pack::PackedMatrix;
use crate::pack::coding::{BLOCK, Coding};
use crate::pack::unpack::CHUNK;
use crate::pool::{DisjointMut, Pool};

use brain::Brains;
pub use prepared::{ResidualNorms, RmsNorm};
#[cfg(target_arch = "x86_64")]
pub(crate) use tile::LEAST_MAGNITUDE;
pub(crate) use tile::{QuantisedBlock, RECORD, Record, load_tile, load_tile_with, scale_of};
use wide::WideTiles;
pub(crate) use wide::{WIDE, WideTile};

/// Rows (token positions) that a kernel multiplies at once: with 16 rows of weights, eight
/// integer and eight float accumulators, half of the 32 vector registers.
pub(crate) const TILE: usize = 8;

/// The rows `x: [T, cols]` that [`crate::matmul`] multiplies, in a buffer to be used again.
///
/// Every block of 32 numbers is quantised to 8 bits: `scale = max|x| / 127`, `q = x·(127 /
/// max|x|)` rounded to the nearest integer, to the even one of two. A block whose largest
/// magnitude is below 2⁻¹¹⁹ becomes zero. A block with an infinity or NaN gets the scale NaN. For
/// weights that ask for it ([`PackedMatrix::rounding_activations`]) numbers are rounded to bfloat16,
/// to the nearest, to the even one of two.
#[derive(Default)]
pub struct Activations {
    rows: usize,
    cols: usize,
    /// Tiles of at most [`TILE`] rows; a tile is a [`Record`] a block.
    records: Vec<u32>,
    /// The same for products of whole tiles, where the machine has them and there are many rows.
    wide: WideTiles,
    /// The same tiles in single precision: for every column, the rows of the tile. Columns are filled
    /// up with zeros to whole blocks.
    floats: Vec<f32>,
    /// Tiles rounded to bfloat16.
    brains: Brains,
    forms: Forms,
}

/// In which forms rows are taken in.
#[derive(Clone, Copy, Default)]
struct Forms {
    integers: bool,
    floats: bool,
    brains: bool,
}

impl Forms {
    const ALL: Self = Self {
        integers: true,
        floats: true,
        brains: true,
    };

    /// Those that these weights need.
    fn of(weights: &[&PackedMatrix]) -> Self {
        let quantised = |w: &PackedMatrix| Coding::of(w.format()).is_some();
        Self {
            integers: weights.iter().any(|w| quantised(w)),
            floats: weights
                .iter()
                .any(|w| !quantised(w) && !w.rounds_activations()),
            brains: weights.iter().any(|w| w.rounds_activations()),
        }
    }
}

/// The rows of a tile over the columns of a chunk, quantised.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// Rows in the tile, at most [`TILE`].
    pub(crate) width: usize,
    /// A [`Record`] of `RECORD * width` words a block.
    pub(crate) records: &'a [u32],
}

/// The rows of a tile in single precision: for every column, `width` numbers; columns are filled up
/// with zeros to whole blocks.
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
        self.load_forms(pool, x, cols, Forms::ALL);
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
        self.load_forms(pool, x, cols, Forms::of(weights));
    }

    fn load_forms(&mut self, pool: &Pool, x: &[f32], cols: usize, forms: Forms) {
        assert!(
            cols > 0 && x.len().is_multiple_of(cols),
            "{} numbers are not rows of {cols}",
            x.len()
        );
        let shape = (x.len() / cols, cols);
        self.load_tiles(pool, shape, forms, |rows| &x[rows]);
    }

    /// Takes in rows tile by tile, as one task each; `rows_of` gives the numbers of a tile by their
    /// places among those of all rows, and is called once for each tile.
    fn load_tiles<'x>(
        &mut self,
        pool: &Pool,
        (rows, cols): (usize, usize),
        forms: Forms,
        rows_of: impl Fn(Range<usize>) -> &'x [f32] + Sync,
    ) {
        (self.rows, self.cols, self.forms) = (rows, cols, forms);
        let (row_words, row_len) = (cols.div_ceil(BLOCK) * RECORD, padded(cols));
        let kernels = crate::matmul::Kernels::best();
        let wide = kernels.multiplies_wide(rows.div_ceil(TILE));
        if forms.integers {
            self.records.resize(rows * row_words, 0);
        }
        if forms.integers && wide {
            self.wide.resize(rows, cols.div_ceil(BLOCK));
        }
        if forms.floats {
            self.floats.resize(rows * row_len, 0.0);
        }
        if forms.brains {
            self.brains.resize(rows, cols.div_ceil(BLOCK), wide);
        }
        let (records, floats) = (
            DisjointMut::new(&mut self.records),
            DisjointMut::new(&mut self.floats),
        );
        let (wide_tiles, brains) = (self.wide.writer(), self.brains.writer());
        pool.run(rows.div_ceil(TILE), |tile| {
            let (first, end) = (tile * TILE, rows.min((tile + 1) * TILE));
            let x = rows_of(first * cols..end * cols);
            if forms.integers {
                // SAFETY: the records of a tile's rows belong to its task alone.
                let records = unsafe { records.range(first * row_words..end * row_words) };
                (kernels.load_tile)(x, cols, records);
                if wide {
                    wide_tiles.write(tile, end - first, records);
                }
            }
            if forms.floats {
                // SAFETY: the columns of a tile's rows belong to its task alone.
                let columns = unsafe { floats.range(first * row_len..end * row_len) };
                interleave(x, cols, columns);
            }
            if forms.brains {
                brains.write(tile, x, cols);
            }
        });
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
        assert!(
            self.forms.integers,
            "activations were not loaded as integers"
        );
        let width = self.width(tile);
        let blocks = self.cols.div_ceil(BLOCK);
        let start = tile * TILE * blocks * RECORD + first * width * RECORD;
        let len = CHUNK.min(blocks - first) * width * RECORD;
        Tile {
            width,
            records: &self.records[start..start + len],
        }
    }

    /// The wide tiles: pairs of tiles.
    pub(crate) fn wide_tiles(&self) -> usize {
        self.rows.div_ceil(WIDE)
    }

    /// Wide tile `tile` over the chunk of columns that begins at block `first`. Only where
    /// [`crate::matmul::Kernels::multiplies_wide`] says so for the best kernels.
    #[inline]
    pub(crate) fn wide_tile(&self, tile: usize, first: usize) -> WideTile<'_> {
        assert!(
            self.forms.integers,
            "activations were not loaded as integers"
        );
        let blocks = self.cols.div_ceil(BLOCK);
        let start = tile * blocks;
        self.wide
            .tile(start + first..start + blocks.min(first + CHUNK))
    }

    /// Tile `tile` rounded to bfloat16. It is in `scratch` where it is not there in this layout.
    #[inline]
    pub(crate) fn brain_tile<'a>(
        &'a self,
        tile: usize,
        scratch: &'a mut Vec<f32>,
    ) -> FloatTile<'a> {
        assert!(self.forms.brains, "activations were not loaded as bfloat16");
        let width = self.width(tile);
        FloatTile {
            width,
            columns: self
                .brains
                .columns((tile, width), self.cols.div_ceil(BLOCK), scratch),
        }
    }

    /// The bfloat16 words of wide tile `tile`: for every block, a line a row. Only where
    /// [`crate::matmul::Kernels::multiplies_wide`] says so for the best kernels.
    #[inline]
    pub(crate) fn wide_brains(&self, tile: usize) -> &[Line] {
        assert!(self.forms.brains, "activations were not loaded as bfloat16");
        self.brains.lines(tile, self.cols.div_ceil(BLOCK))
    }

    /// Tile `tile` in single precision.
    #[inline]
    pub(crate) fn float_tile(&self, tile: usize) -> FloatTile<'_> {
        assert!(self.forms.floats, "activations were not loaded as floats");
        let width = self.width(tile);
        let row_len = padded(self.cols);
        let start = tile * TILE * row_len;
        FloatTile {
            width,
            columns: &self.floats[start..start + width * row_len],
        }
    }
}

/// Columns in whole blocks.
fn padded(cols: usize) -> usize {
    cols.next_multiple_of(BLOCK)
}

/// Turns rows of `cols` numbers into columns, and those that are not there into zeros.
fn interleave(rows: &[f32], cols: usize, out: &mut [f32]) {
    let width = rows.len() / cols;
    out[width * cols..].fill(0.0);
    for (n, row) in rows.chunks_exact(cols).enumerate() {
        for (out, x) in out.chunks_exact_mut(width).zip(row) {
            out[n] = *x;
        }
    }
}
