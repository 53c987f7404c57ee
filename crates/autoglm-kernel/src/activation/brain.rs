//! Activations rounded to bfloat16, for weights of that format.

use crate::format::array;
use crate::lanes::Line;
use crate::pack::coding::BLOCK;
use crate::pool::DisjointMut;
use crate::simd::{Variant, with_simd};

use super::{TILE, WIDE};

/// Rows rounded to bfloat16, in one of two layouts. Columns are filled up with zeros to whole
/// blocks.
#[derive(Default)]
pub(super) struct Brains {
    wide: bool,
    /// Tiles as numbers: for every column, the rows of the tile.
    columns: Vec<f32>,
    /// Where wide tiles are multiplied, `[wide tiles, blocks, 16]`: the 32 words of a row in a
    /// block. What belongs to rows that are not there is left as it was.
    lines: Vec<Line>,
}

impl Brains {
    /// Makes room for `rows` rows of `blocks` blocks.
    pub(super) fn resize(&mut self, rows: usize, blocks: usize, wide: bool) {
        self.wide = wide;
        if wide {
            let lines = rows.div_ceil(WIDE) * blocks * WIDE;
            self.lines.resize(lines.max(self.lines.len()), Line::ZERO);
        } else {
            let columns = rows * blocks * BLOCK;
            self.columns.resize(columns.max(self.columns.len()), 0.0);
        }
    }

    /// For tasks that write tiles of their own.
    pub(super) fn writer(&mut self) -> BrainWriter<'_> {
        BrainWriter {
            wide: self.wide,
            columns: DisjointMut::new(&mut self.columns),
            lines: DisjointMut::new(&mut self.lines),
        }
    }

    /// The numbers of tile `tile`, which has `width` rows; `scratch` holds them where the layout is
    /// the wide one.
    pub(super) fn columns<'a>(
        &'a self,
        (tile, width): (usize, usize),
        blocks: usize,
        scratch: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let row = blocks * BLOCK;
        if !self.wide {
            return &self.columns[tile * TILE * row..(tile * TILE + width) * row];
        }
        scratch.clear();
        let halves = self.lines(tile / 2, blocks).chunks_exact(TILE);
        for lines in halves.skip(tile % 2).step_by(2) {
            for i in 0..BLOCK {
                let word = |line: &Line| u16::from_le_bytes(array(&line.0, 2 * i));
                let rows = lines[..width].iter();
                scratch.extend(rows.map(|line| f32::from_bits(u32::from(word(line)) << 16)));
            }
        }
        scratch
    }

    /// The lines of wide tile `tile`.
    ///
    /// # Panics
    /// If the layout is the other one.
    #[inline]
    pub(super) fn lines(&self, tile: usize, blocks: usize) -> &[Line] {
        assert!(self.wide, "activations were not loaded in wide tiles");
        let tile_lines = blocks * WIDE;
        &self.lines[tile * tile_lines..(tile + 1) * tile_lines]
    }
}

/// Writes tiles of eight rows, each of which is half of a wide one.
pub(super) struct BrainWriter<'a> {
    wide: bool,
    columns: DisjointMut<'a, f32>,
    lines: DisjointMut<'a, Line>,
}

impl BrainWriter<'_> {
    /// Rounds the rows of tile `tile`.
    pub(super) fn write(&self, tile: usize, rows: &[f32], cols: usize) {
        with_simd!(Variant::best(), _s => if self.wide {
            self.write_lines(tile, rows, cols);
        } else {
            self.write_columns(tile, rows, cols);
        });
    }

    #[inline(always)]
    fn write_lines(&self, tile: usize, rows: &[f32], cols: usize) {
        let blocks = cols.div_ceil(BLOCK);
        for (n, row) in rows.chunks_exact(cols).enumerate() {
            for (b, block) in row.chunks(BLOCK).enumerate() {
                let line = ((tile / 2) * blocks + b) * WIDE + (tile % 2) * TILE + n;
                // SAFETY: a line belongs to a row of the tile, and so to its task, alone.
                let line = unsafe { self.lines.range(line..line + 1) };
                let words = rounded_block(block);
                for (to, word) in line[0].0.as_chunks_mut().0.iter_mut().zip(words) {
                    *to = word.to_le_bytes();
                }
            }
        }
    }

    #[inline(always)]
    fn write_columns(&self, tile: usize, rows: &[f32], cols: usize) {
        let (width, row_len) = (rows.len() / cols, cols.next_multiple_of(BLOCK));
        let first = tile * TILE * row_len;
        // SAFETY: the columns of a tile's rows belong to its task alone.
        let columns = unsafe { self.columns.range(first..first + width * row_len) };
        for (n, row) in rows.chunks_exact(cols).enumerate() {
            let blocks = columns.chunks_exact_mut(BLOCK * width);
            for (to, block) in blocks.zip(row.chunks(BLOCK)) {
                for (to, word) in to.chunks_exact_mut(width).zip(rounded_block(block)) {
                    to[n] = f32::from_bits(u32::from(word) << 16);
                }
            }
        }
    }
}

/// The numbers of a row in a block as bfloat16 words; those that are not there are zero.
#[inline(always)]
fn rounded_block(row: &[f32]) -> [u16; BLOCK] {
    if let Ok(row) = <&[f32; BLOCK]>::try_from(row) {
        return row.map(rounded);
    }
    let mut words = [0; BLOCK];
    for (word, x) in words.iter_mut().zip(row) {
        *word = rounded(*x);
    }
    words
}

/// A number as bfloat16: to the nearest, to the even one of two. Without a branch, so that the
/// compiler makes vectors of it.
#[inline(always)]
fn rounded(x: f32) -> u16 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = (bits >> 16) | 0x40;
    (if x.is_nan() { quiet } else { nearest }) as u16
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use proptest::prelude::*;

    use super::rounded;

    proptest! {
        #[test]
        fn numbers_are_rounded_as_the_library_does(bits in any::<u32>()) {
            let x = f32::from_bits(bits);
            prop_assert_eq!(rounded(x), bf16::from_f32(x).to_bits());
        }
    }

    #[test]
    fn ties_and_the_ends_are_rounded_as_the_library_does() {
        for bits in [
            0x3f80_8000,
            0x3f81_8000,
            0x3f80_7fff,
            0x7f7f_ffff,
            0x7f80_0000,
            0x8000_0001,
        ] {
            let x = f32::from_bits(bits);
            assert_eq!(rounded(x), bf16::from_f32(x).to_bits(), "{x}");
        }
    }
}
