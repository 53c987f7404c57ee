//! Between memory and registers. A register holds eight of the 16 rows of a group: half 0 or 1.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _MM_HINT_T0, _mm_load_si128, _mm_prefetch, _mm256_cvtph_ps,
    _mm256_load_ps, _mm256_load_si256, _mm256_set1_epi32, _mm256_set1_ps, _mm256_store_ps,
    _mm256_store_si256,
};

use crate::lanes::{Floats, Halves, Line};

/// Rows in a register.
pub(super) const ROWS: usize = 8;

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn broadcast(word: u32) -> __m256i {
    _mm256_set1_epi32(word as i32)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn broadcast_float(word: u32) -> __m256 {
    _mm256_set1_ps(f32::from_bits(word))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load(line: &Line, half: usize) -> __m256i {
    let bytes = &line.0.as_chunks::<32>().0[half];
    // SAFETY: these are 32 bytes on a multiple of 32, as a line lies on one of 64.
    unsafe { _mm256_load_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn store(value: __m256i, line: &mut Line, half: usize) {
    let bytes = &mut line.0.as_chunks_mut::<32>().0[half];
    // SAFETY: these are 32 bytes on a multiple of 32, as a line lies on one of 64.
    unsafe { _mm256_store_si256(bytes.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_halves(words: &Halves, half: usize) -> __m128i {
    let words = &words.0.as_chunks::<ROWS>().0[half];
    // SAFETY: these are 16 bytes on a multiple of 16, as the words lie on one of 32.
    unsafe { _mm_load_si128(words.as_ptr().cast()) }
}

/// Half to single precision.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn widen(words: &Halves, half: usize) -> __m256 {
    _mm256_cvtph_ps(load_halves(words, half))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_floats(floats: &Floats, half: usize) -> __m256 {
    let floats = &floats.0.as_chunks::<ROWS>().0[half];
    // SAFETY: these are eight floats on a multiple of 32 bytes.
    unsafe { _mm256_load_ps(floats.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn store_floats(value: __m256, floats: &mut Floats, half: usize) {
    let floats = &mut floats.0.as_chunks_mut::<ROWS>().0[half];
    // SAFETY: these are eight floats on a multiple of 32 bytes.
    unsafe { _mm256_store_ps(floats.as_mut_ptr(), value) }
}

/// The running sums of some tokens.
pub(super) type Running<const N: usize> = [[__m256; 2]; N];

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_sums<const N: usize>(sums: &[Floats]) -> Running<N> {
    let sums: &[Floats; N] = sums.try_into().expect("a sum for each token");
    sums.each_ref()
        .map(|sums| [load_floats(sums, 0), load_floats(sums, 1)])
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn store_sums<const N: usize>(running: Running<N>, sums: &mut [Floats]) {
    for (running, sums) in running.into_iter().zip(sums) {
        store_floats(running[0], sums, 0);
        store_floats(running[1], sums, 1);
    }
}

/// Asks for what lies `ahead_bytes` behind the given elements, which may be nothing.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn prefetch<T>(elements: &[T], ahead_bytes: usize) {
    const { assert!(64 % size_of::<T>() == 0) };
    for element in elements.iter().step_by(64 / size_of::<T>()) {
        let address = std::ptr::from_ref(element).wrapping_byte_add(ahead_bytes);
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
}
