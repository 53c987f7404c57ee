//! Sixteen lanes in one 512-bit register.

use std::arch::x86_64::{
    __m128i, __m256i, __m512, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T0,
    _mm_loadu_si128, _mm_prefetch, _mm_storeu_si128, _mm256_loadu_si256, _mm256_storeu_si256,
    _mm512_add_ps, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cvtepi8_epi32,
    _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_cvtps_epi32, _mm512_cvtps_ph,
    _mm512_div_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps,
    _mm512_permute_ps, _mm512_set1_ps, _mm512_slli_epi32, _mm512_storeu_ps, _mm512_sub_ps,
};

use half::f16;

use super::{LANES, Simd};
use crate::isa::Isa;

/// Exists only where the processor has AVX-512F.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(crate) fn detect() -> Option<Self> {
        Isa::Avx512.is_available().then_some(Self(()))
    }
}

impl Simd for Avx512 {
    type V = __m512;

    const WIDE: bool = true;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx512f")]
        fn inner<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: `self` proves AVX-512F.
        unsafe { inner(f) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> __m512 {
        // SAFETY: `self` proves AVX-512F; the array is 64 readable bytes.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, x: __m512, to: &mut [f32; LANES]) {
        // SAFETY: `self` proves AVX-512F; the array is 64 writable bytes.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the instruction takes any alignment"
    )]
    fn load_f16(self, x: &[f16; LANES]) -> __m512 {
        // SAFETY: AVX-512F includes AVX; the array is 32 readable bytes.
        let halves = unsafe { _mm256_loadu_si256(x.as_ptr().cast::<__m256i>()) };
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_cvtph_ps(halves) }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the instruction takes any alignment"
    )]
    fn store_f16(self, x: __m512, to: &mut [f16; LANES]) {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: `self` proves AVX-512F.
        let halves = unsafe { _mm512_cvtps_ph::<NEAREST>(x) };
        // SAFETY: AVX-512F includes AVX; the array is 32 writable bytes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast::<__m256i>(), halves) }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the instruction takes any alignment"
    )]
    fn load_i8(self, x: &[i8; LANES]) -> __m512 {
        // SAFETY: the array is 16 readable bytes.
        let bytes = unsafe { _mm_loadu_si128(x.as_ptr().cast::<__m128i>()) };
        // SAFETY: `self` proves AVX-512F.
        let integers = unsafe { _mm512_cvtepi8_epi32(bytes) };
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_cvtepi32_ps(integers) }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the instruction takes any alignment"
    )]
    fn store_i8(self, x: __m512, to: &mut [i8; LANES]) {
        // SAFETY: `self` proves AVX-512F.
        let integers = unsafe { _mm512_cvtps_epi32(x) };
        // SAFETY: `self` proves AVX-512F.
        let bytes = unsafe { _mm512_cvtepi32_epi8(integers) };
        // SAFETY: the array is 16 writable bytes.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast::<__m128i>(), bytes) }
    }

    #[inline(always)]
    fn prefetch<T>(self, x: &T) {
        // SAFETY: a prefetch reads nothing; the instruction is part of SSE.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(x).cast()) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn swap_pairs(self, a: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F. The pattern takes lanes 1, 0, 3, 2 of each four.
        unsafe { _mm512_permute_ps::<0b10_11_00_01>(a) }
    }

    #[inline(always)]
    fn shift_into_exponent(self, a: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        let bits = unsafe { _mm512_castps_si512(a) };
        // SAFETY: `self` proves AVX-512F.
        let bits = unsafe { _mm512_slli_epi32::<23>(bits) };
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_castsi512_ps(bits) }
    }
}
