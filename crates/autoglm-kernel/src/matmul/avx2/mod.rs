//! AVX2: a group of 16 rows is two registers, up to four tokens are multiplied at once.

mod floats;
mod integers;
mod packed;
mod quantize;
mod registers;

use crate::activation::load_tile_with;

use super::Kernels;
pub(super) use quantize::pair_sums;
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
    load_tile_with(rows, cols, records, |x| quantize::quantize(x));
}

const _: () = assert!(2 * ROWS == crate::lanes::LANES);
