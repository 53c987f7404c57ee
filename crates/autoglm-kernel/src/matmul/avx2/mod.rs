//! AVX2: a group of 16 rows is two registers, up to four tokens are multiplied at once.

mod floats;
mod integers;
mod packed;
mod quantize;
mod quantize_tile;
mod registers;

use crate::activation::{TILE, load_tile_with};
use crate::pack::coding::BLOCK;

use super::Kernels;
pub(super) use quantize::pair_sums;
use quantize_tile::load_whole_tile;
use registers::ROWS;

pub(super) const KERNELS: Kernels = Kernels {
    load_tile: |rows, cols, records| {
        // SAFETY: `Kernels::of` has made sure of the target features.
        unsafe { load_tile(rows, cols, records) }
    },
    unpack: |chunk, out| {
        // SAFETY: as above.
        unsafe { packed::unpack(chunk, out) }
    },
    multiply: |w, x, sums| {
        // SAFETY: as above.
        unsafe { integers::multiply(w, x, sums) }
    },
    multiply_two: None,
    stream: |chunk, _, x, sums| {
        // SAFETY: as above.
        unsafe { integers::stream(chunk, x, sums) }
    },
    streamed_tiles: 2,
    multiply_floats: |w, x, sums| {
        // SAFETY: as above.
        unsafe { floats::multiply(w, x, sums) }
    },
    multiply_brains: |w, x, sums| {
        // SAFETY: as above.
        unsafe { floats::multiply_brains(w, x, sums) }
    },
    wide: None,
};

/// Tokens that are multiplied at once: with both registers of rows they take eight running sums
/// of the 16 registers.
const TOKENS: usize = 4;

#[target_feature(enable = "avx2,fma,f16c")]
fn load_tile(rows: &[f32], cols: usize, records: &mut [u32]) {
    if !load_if_whole(rows, cols, records) {
        load_tile_with(rows, cols, records, |x| quantize::quantize(x));
    }
}

/// Quantises the rows of a whole tile of whole blocks, and says whether it was one.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_if_whole(rows: &[f32], cols: usize, records: &mut [u32]) -> bool {
    let is_whole = rows.len() == TILE * cols && cols.is_multiple_of(BLOCK);
    if is_whole {
        load_whole_tile(rows, cols, records);
    }
    is_whole
}

const _: () = assert!(2 * ROWS == crate::lanes::LANES);
