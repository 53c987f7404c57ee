//! NEON: `sdot`, or `smlal` and `smlal2`, which add products of bytes in 16 bits.

use std::arch::aarch64::{
    vdupq_n_s8, vdupq_n_s16, vdupq_n_s32, vget_low_s8, vgetq_lane_s16, vgetq_lane_s32,
    vmlal_high_s8, vmlal_s8, vreinterpretq_s8_s16, vreinterpretq_s8_s32,
};

use super::DotProducts;
use crate::simd::dot_bytes;

pub(super) const DOT_PRODUCTS: DotProducts = DotProducts {
    products: SUMS * 16,
    run: |steps| {
        // SAFETY: `super::dot_products` has made sure of the target features.
        unsafe { run_dot(steps) }
    },
};

pub(super) const LONG_PRODUCTS: DotProducts = DotProducts {
    products: SUMS * 16,
    run: |steps| {
        // SAFETY: `super::dot_products` has made sure of the target feature.
        unsafe { run_long(steps) }
    },
};

/// Enough to hide the latencies of the instructions.
const SUMS: usize = 12;

#[target_feature(enable = "neon,dotprod")]
fn run_dot(steps: usize) -> i32 {
    let w = vdupq_n_s8(1);
    let mut sums = [vdupq_n_s32(0x0101_0101); SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            // The product depends on the sum, so that no step can be left out.
            // SAFETY: this function has the target feature.
            *sum = unsafe { dot_bytes(*sum, w, vreinterpretq_s8_s32(*sum)) };
        }
    }
    sums.into_iter()
        .fold(1, |all, sum| all | vgetq_lane_s32::<0>(sum))
}

#[target_feature(enable = "neon")]
fn run_long(steps: usize) -> i32 {
    let w = vdupq_n_s8(1);
    let mut sums = [vdupq_n_s16(0x0101); SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            let x = vreinterpretq_s8_s16(*sum);
            let low = vmlal_s8(*sum, vget_low_s8(w), vget_low_s8(x));
            *sum = vmlal_high_s8(low, w, x);
        }
    }
    sums.into_iter()
        .fold(1, |all, sum| all | i32::from(vgetq_lane_s16::<0>(sum)))
}
