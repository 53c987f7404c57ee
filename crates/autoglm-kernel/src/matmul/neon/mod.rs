//! NEON: a group of 16 rows is four registers, up to four tokens are multiplied at once.
//!
//! Two tables share the code: one for processors with `sdot`, which adds four products of bytes to
//! a 32-bit lane, and one for those without, which adds products in 16 bits (`smlal`).

mod floats;
mod integers;
mod packed;
mod quantize;
mod registers;

use crate::activation::load_tile_with;

use super::Kernels;
use registers::ROWS;

pub(super) const KERNELS: Kernels = kernels::<false>();
pub(super) const DOT_KERNELS: Kernels = kernels::<true>();

/// The kernels with or without `sdot`.
const fn kernels<const DOT: bool>() -> Kernels {
    Kernels {
        load_tile: |rows, cols, records| {
            // SAFETY: `Kernels::of` has made sure of the target feature.
            unsafe { load_tile(rows, cols, records) }
        },
        unpack: |chunk, out| {
            // SAFETY: as above.
            unsafe { packed::unpack(chunk, out) }
        },
        multiply: |w, x, sums| {
            // SAFETY: as above, and of `sdot` where `DOT` is true.
            unsafe { integers::multiply::<DOT>(w, x, sums) }
        },
        multiply_two: None,
        stream: |chunk, _, x, sums| {
            // SAFETY: as above.
            unsafe { integers::stream::<DOT>(chunk, x, sums) }
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
    }
}

/// Tokens that are multiplied at once: with the four registers of rows they take 16 sums of the 32
/// registers.
const TOKENS: usize = 4;

/// Calls a function whose last constant parameter is a number of tokens up to [`TOKENS`].
macro_rules! with_tokens {
    ($tokens:expr, $f:ident[$($generic:tt),*]($($argument:expr),*)) => {
        match $tokens {
            1 => $f::<$($generic,)* 1>($($argument),*),
            2 => $f::<$($generic,)* 2>($($argument),*),
            3 => $f::<$($generic,)* 3>($($argument),*),
            _ => $f::<$($generic,)* TOKENS>($($argument),*),
        }
    };
}
use with_tokens;

#[target_feature(enable = "neon")]
fn load_tile(rows: &[f32], cols: usize, records: &mut [u32]) {
    load_tile_with(rows, cols, records, |x| quantize::quantize(x));
}

const _: () = assert!(4 * ROWS == crate::lanes::LANES);
