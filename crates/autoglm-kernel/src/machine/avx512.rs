//! AVX-512 VNNI: `vpdpbusd`.

use std::arch::x86_64::{_mm512_dpbusd_epi32, _mm512_reduce_or_epi32, _mm512_set1_epi8};

use super::DotProducts;

pub(super) const DOT_PRODUCTS: DotProducts = DotProducts {
    products: SUMS * 64,
    run: |steps| {
        // SAFETY: `super::dot_products` has made sure of the target features.
        unsafe { run(steps) }
    },
};

/// Enough to hide the latency of the instruction.
const SUMS: usize = 12;

#[target_feature(enable = "avx512f,avx512vnni")]
fn run(steps: usize) -> i32 {
    let mut sums = [_mm512_set1_epi8(1); SUMS];
    let w = sums[0];
    for _ in 0..steps {
        for sum in &mut sums {
            // The product depends on the sum, so that no step can be left out.
            *sum = _mm512_dpbusd_epi32(*sum, w, *sum);
        }
    }
    sums.into_iter()
        .fold(1, |all, sum| all | _mm512_reduce_or_epi32(sum))
}
