//! Sixteen lanes in two 256-bit registers, low half first.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T0, _mm_loadu_si128,
    _mm_prefetch, _mm_storeu_si128, _mm_unpackhi_epi64, _mm256_add_ps, _mm256_castps_si256,
    _mm256_castsi256_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtph_ps,
    _mm256_cvtps_epi32, _mm256_cvtps_ph, _mm256_div_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_permute_ps, _mm256_set1_ps,
    _mm256_slli_epi32, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_ps,
};

use half::f16;

use super::{LANES, Simd};
use crate::isa::Isa;

/// Exists only where the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        Isa::Avx2.is_available().then_some(Self(()))
    }
}

type Pair = [__m256; 2];

impl Simd for Avx2 {
    type V = Pair;

    const WIDE: bool = false;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn inner<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: `self` proves AVX2, FMA and F16C.
        unsafe { inner(f) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        // SAFETY: `self` proves AVX2.
        let half = unsafe { _mm256_set1_ps(x) };
        [half, half]
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2; these are 32 of the array's 64 bytes.
        halves(x).map(|half| unsafe { _mm256_loadu_ps(half.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, x: Pair, to: &mut [f32; LANES]) {
        for (half, x) in to.as_chunks_mut::<8>().0.iter_mut().zip(x) {
            // SAFETY: `self` proves AVX2; these are 32 of the array's 64 bytes.
            unsafe { _mm256_storeu_ps(half.as_mut_ptr(), x) }
        }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the instruction takes any alignment"
    )]
    fn load_f16(self, x: &[f16; LANES]) -> Pair {
        halves(x).map(|half| {
            // SAFETY: `self` proves AVX2; these are 16 of the array's 32 bytes.
            let bits = unsafe { _mm_loadu_si128(half.as_ptr().cast::<__m128i>()) };
            // SAFETY: `self` proves F16C.
            unsafe { _mm256_cvtph_ps(bits) }
        })
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the instruction takes any alignment"
    )]
    fn store_f16(self, x: Pair, to: &mut [f16; LANES]) {
        for (half, x) in to.as_chunks_mut::<8>().0.iter_mut().zip(x) {
            // SAFETY: `self` proves F16C.
            let bits = unsafe { _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x) };
            // SAFETY: `self` proves AVX2; these are 16 of the array's 32 bytes.
            unsafe { _mm_storeu_si128(half.as_mut_ptr().cast::<__m128i>(), bits) }
        }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the instruction takes any alignment"
    )]
    fn load_i8(self, x: &[i8; LANES]) -> Pair {
        // SAFETY: these are the array's 16 bytes.
        let low = unsafe { _mm_loadu_si128(x.as_ptr().cast::<__m128i>()) };
        // SAFETY: part of SSE2.
        let high = unsafe { _mm_unpackhi_epi64(low, low) };
        // SAFETY: `self` proves AVX2.
        let low = unsafe { _mm256_cvtepi8_epi32(low) };
        // SAFETY: `self` proves AVX2.
        let high = unsafe { _mm256_cvtepi8_epi32(high) };
        // SAFETY: `self` proves AVX2.
        let low = unsafe { _mm256_cvtepi32_ps(low) };
        // SAFETY: `self` proves AVX2.
        let high = unsafe { _mm256_cvtepi32_ps(high) };
        [low, high]
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the instruction takes any alignment"
    )]
    fn store_i8(self, x: Pair, to: &mut [i8; LANES]) {
        for (half, x) in to.as_chunks_mut::<8>().0.iter_mut().zip(x) {
            let mut integers = [0i32; 8];
            // SAFETY: `self` proves AVX2.
            let rounded = unsafe { _mm256_cvtps_epi32(x) };
            // SAFETY: `self` proves AVX2; the array is 32 writable bytes.
            unsafe { _mm256_storeu_si256(integers.as_mut_ptr().cast::<__m256i>(), rounded) }
            *half = integers.map(|x| x as i8);
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, x: &T) {
        // SAFETY: a prefetch reads nothing; the instruction is part of SSE.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(x).cast()) }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        zip(a, b, |a, b| unsafe { _mm256_add_ps(a, b) })
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        zip(a, b, |a, b| unsafe { _mm256_sub_ps(a, b) })
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        zip(a, b, |a, b| unsafe { _mm256_mul_ps(a, b) })
    }

    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        zip(a, b, |a, b| unsafe { _mm256_div_ps(a, b) })
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        zip(a, b, |a, b| unsafe { _mm256_max_ps(a, b) })
    }

    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        zip(a, b, |a, b| unsafe { _mm256_min_ps(a, b) })
    }

    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: `self` proves FMA.
        let low = unsafe { _mm256_fmadd_ps(a[0], b[0], c[0]) };
        // SAFETY: `self` proves FMA.
        let high = unsafe { _mm256_fmadd_ps(a[1], b[1], c[1]) };
        [low, high]
    }

    #[inline(always)]
    fn swap_pairs(self, a: Pair) -> Pair {
        // SAFETY: `self` proves AVX2. The pattern takes lanes 1, 0, 3, 2 of each four.
        a.map(|a| unsafe { _mm256_permute_ps::<0b10_11_00_01>(a) })
    }

    #[inline(always)]
    fn shift_into_exponent(self, a: Pair) -> Pair {
        a.map(|a| {
            // SAFETY: `self` proves AVX2.
            let bits = unsafe { _mm256_castps_si256(a) };
            // SAFETY: `self` proves AVX2.
            let bits = unsafe { _mm256_slli_epi32::<23>(bits) };
            // SAFETY: `self` proves AVX2.
            unsafe { _mm256_castsi256_ps(bits) }
        })
    }
}

#[inline(always)]
fn halves<T>(x: &[T; LANES]) -> [&[T; 8]; 2] {
    let (halves, _) = x.as_chunks::<8>();
    [&halves[0], &halves[1]]
}

#[inline(always)]
fn zip(a: Pair, b: Pair, f: impl Fn(__m256, __m256) -> __m256) -> Pair {
    [f(a[0], b[0]), f(a[1], b[1])]
}
