//! AVX2: `vpmaddubsw` and the addition of its pairs in 16 bits.

use std::arch::x86_64::{
    _mm256_add_epi16, _mm256_extract_epi32, _mm256_maddubs_epi16, _mm256_set1_epi8,
};

use super::DotProducts;

pub(super) const DOT_PRODUCTS: DotProducts = DotProducts {
    products: SUMS * 32,
    run: |steps| {
        // SAFETY: `super::dot_products` has made sure of the target feature.
        unsafe { run(steps) }
    },
};

/// Enough to hide the latencies of both instructions, few enough for the 16 registers.
const SUMS: usize = 12;

#[target_feature(enable = "avx2")]
fn run(steps: usize) -> i32 {
    let mut sums = [_mm256_set1_epi8(1); SUMS];
    let w = sums[0];
    for _ in 0..steps {
        for sum in &mut sums {
            // The product depends on the sum, so that no step can be left out.
            *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(w, *sum));
        }
    }
    sums.into_iter()
        .fold(1, |all, sum| all | _mm256_extract_epi32::<0>(sum))
}
