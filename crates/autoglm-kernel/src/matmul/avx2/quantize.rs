//! A block of activations as 8-bit integers; the definition is in `activation/tile.rs`.

use std::arch::x86_64::{
    __m256, __m256i, _mm_add_epi16, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_and_si256,
    _mm256_castps_si256, _mm256_castsi256_si128, _mm256_cvtps_epi32, _mm256_extracti128_si256,
    _mm256_loadu_ps, _mm256_maddubs_epi16, _mm256_max_epi32, _mm256_mul_ps, _mm256_packs_epi16,
    _mm256_packs_epi32, _mm256_permutevar8x32_epi32, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps, _mm256_storeu_si256,
};

use crate::activation::{QuantisedBlock, scale_of};
use crate::pack::coding::{BLOCK, QUADS};

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantize(x: &[f32; BLOCK]) -> QuantisedBlock {
    let x = load_block(x);
    let largest = words(magnitudes(&x)).into_iter().fold(0, u32::max);
    let (scale, inverse) = match scale_of(largest) {
        Ok(scales) => scales,
        Err(scale) => return QuantisedBlock::zero(scale),
    };
    let values = rounded(x, _mm256_set1_ps(inverse));
    QuantisedBlock {
        quads: words(values),
        scale,
        pair_sums: pair_sums(values),
    }
}

/// The largest magnitudes of a block, over every eighth number; the bits of magnitudes compare like
/// them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn magnitudes(x: &[__m256; 4]) -> __m256i {
    let magnitude = |x: __m256| {
        let mask = _mm256_set1_epi32(i32::MAX);
        _mm256_and_si256(_mm256_castps_si256(x), mask)
    };
    let largest = x.map(magnitude);
    _mm256_max_epi32(
        _mm256_max_epi32(largest[0], largest[1]),
        _mm256_max_epi32(largest[2], largest[3]),
    )
}

/// A block as integers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn rounded(x: [__m256; 4], inverse: __m256) -> __m256i {
    // Rounds to the nearest integer, to the even one of two.
    let x = x.map(|x| _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse)));
    // Packing works on 128-bit halves: afterwards lane `2i + j` of the eight holds quad `j` of
    // register `i` for even quads, see the permutation.
    let narrow = _mm256_packs_epi16(
        _mm256_packs_epi32(x[0], x[1]),
        _mm256_packs_epi32(x[2], x[3]),
    );
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_permutevar8x32_epi32(narrow, order)
}

/// The sums of the pairs of each half; see [`QuantisedBlock`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::matmul) fn pair_sums(values: __m256i) -> [[i16; 2]; 2] {
    let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), values);
    let of_half = [
        _mm256_castsi256_si128(pairs),
        _mm256_extracti128_si256::<1>(pairs),
    ];
    of_half.map(|pairs| {
        let pairs = _mm_add_epi16(pairs, _mm_shuffle_epi32::<0b01_00_11_10>(pairs));
        let pairs = _mm_add_epi16(pairs, _mm_shuffle_epi32::<0b10_11_00_01>(pairs));
        let both = _mm_cvtsi128_si32(pairs);
        [both as i16, (both >> 16) as i16]
    })
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_block(x: &[f32; BLOCK]) -> [__m256; 4] {
    let mut registers = [_mm256_setzero_ps(); 4];
    for (register, x) in registers.iter_mut().zip(x.as_chunks::<8>().0) {
        // SAFETY: these are eight floats.
        *register = unsafe { _mm256_loadu_ps(x.as_ptr()) };
    }
    registers
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn words(values: __m256i) -> [u32; QUADS] {
    let mut words = [0; QUADS];
    // SAFETY: these are 32 bytes.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), values) };
    words
}
