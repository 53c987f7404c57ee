//! Sixteen lanes in four 128-bit registers, in order.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, vaddq_f32, vbslq_f32, vcgtq_f32, vcltq_f32, vcombine_s16,
    vcvt_f16_f32, vcvt_f32_f16, vcvtnq_s32_f32, vcvtq_f32_s32, vdivq_f32, vdupq_n_f32, vfmaq_f32,
    vget_high_s8, vget_high_s16, vget_low_s8, vget_low_s16, vld1_u16, vld1q_f32, vld1q_s8,
    vmovl_s8, vmovl_s16, vmulq_f32, vqmovn_s16, vqmovn_s32, vreinterpret_f16_u16,
    vreinterpret_u16_f16, vreinterpretq_f32_u32, vreinterpretq_u32_f32, vrev64q_f32, vshlq_n_u32,
    vst1_s8, vst1_u16, vst1q_f32, vsubq_f32,
};
use std::arch::asm;

use half::f16;

use super::{LANES, Simd};
use crate::isa::Isa;

/// Exists only where the processor has NEON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(());

impl Neon {
    pub(crate) fn detect() -> Option<Self> {
        Isa::Neon.is_available().then_some(Self(()))
    }
}

type Quad = [float32x4_t; 4];

impl Simd for Neon {
    type V = Quad;

    const WIDE: bool = false;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "neon")]
        fn inner<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: `self` proves NEON.
        unsafe { inner(f) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Quad {
        // SAFETY: `self` proves NEON.
        [unsafe { vdupq_n_f32(x) }; 4]
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Quad {
        // SAFETY: `self` proves NEON; these are 16 of the array's 64 bytes.
        quarters(x).map(|quarter| unsafe { vld1q_f32(quarter.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, x: Quad, to: &mut [f32; LANES]) {
        for (quarter, x) in to.as_chunks_mut::<4>().0.iter_mut().zip(x) {
            // SAFETY: `self` proves NEON; these are 16 of the array's 64 bytes.
            unsafe { vst1q_f32(quarter.as_mut_ptr(), x) }
        }
    }

    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> Quad {
        quarters(x).map(|quarter| {
            // SAFETY: `self` proves NEON; these are 8 of the array's 32 bytes, and an `f16` is the
            // word of its bits.
            let bits = unsafe { vld1_u16(quarter.as_ptr().cast::<u16>()) };
            // SAFETY: `self` proves NEON.
            let halves = unsafe { vreinterpret_f16_u16(bits) };
            // SAFETY: `self` proves NEON.
            unsafe { vcvt_f32_f16(halves) }
        })
    }

    #[inline(always)]
    fn store_f16(self, x: Quad, to: &mut [f16; LANES]) {
        for (quarter, x) in to.as_chunks_mut::<4>().0.iter_mut().zip(x) {
            // SAFETY: `self` proves NEON.
            let halves = unsafe { vcvt_f16_f32(x) };
            // SAFETY: `self` proves NEON.
            let bits = unsafe { vreinterpret_u16_f16(halves) };
            // SAFETY: `self` proves NEON; these are 8 of the array's 32 bytes, and an `f16` is the
            // word of its bits.
            unsafe { vst1_u16(quarter.as_mut_ptr().cast::<u16>(), bits) }
        }
    }

    #[inline(always)]
    fn load_i8(self, x: &[i8; LANES]) -> Quad {
        #[inline]
        #[target_feature(enable = "neon")]
        fn inner(x: &[i8; LANES]) -> Quad {
            // SAFETY: these are the array's 16 bytes.
            let bytes = unsafe { vld1q_s8(x.as_ptr()) };
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes)));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_s16(vget_high_s16(high))),
            ]
        }
        // SAFETY: `self` proves NEON.
        unsafe { inner(x) }
    }

    #[inline(always)]
    fn store_i8(self, x: Quad, to: &mut [i8; LANES]) {
        #[inline]
        #[target_feature(enable = "neon")]
        fn inner(x: Quad, to: &mut [i8; LANES]) {
            // Rounds to the nearest integer, to the even one of two; NaN becomes 0.
            let [a, b, c, d] = x.map(|x| vqmovn_s32(vcvtnq_s32_f32(x)));
            let (halves, _) = to.as_chunks_mut::<8>();
            for (half, words) in halves
                .iter_mut()
                .zip([vcombine_s16(a, b), vcombine_s16(c, d)])
            {
                // SAFETY: these are 8 of the array's 16 bytes.
                unsafe { vst1_s8(half.as_mut_ptr(), vqmovn_s16(words)) }
            }
        }
        // SAFETY: `self` proves NEON.
        unsafe { inner(x, to) }
    }

    #[inline(always)]
    fn prefetch<T>(self, x: &T) {
        // SAFETY: a prefetch reads nothing that the program sees and faults nowhere.
        unsafe {
            asm!(
                "prfm pldl1keep, [{address}]",
                address = in(reg) std::ptr::from_ref(x),
                options(nomem, nostack, preserves_flags)
            );
        }
    }

    #[inline(always)]
    fn add(self, a: Quad, b: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        zip(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }

    #[inline(always)]
    fn sub(self, a: Quad, b: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        zip(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }

    #[inline(always)]
    fn mul(self, a: Quad, b: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        zip(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }

    #[inline(always)]
    fn div(self, a: Quad, b: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        zip(a, b, |a, b| unsafe { vdivq_f32(a, b) })
    }

    #[inline(always)]
    fn fma(self, a: Quad, b: Quad, c: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        std::array::from_fn(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
    }

    #[inline(always)]
    fn max(self, a: Quad, b: Quad) -> Quad {
        zip(a, b, |a, b| {
            // SAFETY: `self` proves NEON. Its own maximum is NaN wherever one of the two is.
            let greater = unsafe { vcgtq_f32(a, b) };
            // SAFETY: `self` proves NEON.
            unsafe { vbslq_f32(greater, a, b) }
        })
    }

    #[inline(always)]
    fn min(self, a: Quad, b: Quad) -> Quad {
        zip(a, b, |a, b| {
            // SAFETY: `self` proves NEON. Its own minimum is NaN wherever one of the two is.
            let smaller = unsafe { vcltq_f32(a, b) };
            // SAFETY: `self` proves NEON.
            unsafe { vbslq_f32(smaller, a, b) }
        })
    }

    #[inline(always)]
    fn swap_pairs(self, a: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        a.map(|a| unsafe { vrev64q_f32(a) })
    }

    #[inline(always)]
    fn shift_into_exponent(self, a: Quad) -> Quad {
        a.map(|a| {
            // SAFETY: `self` proves NEON.
            let bits = unsafe { vreinterpretq_u32_f32(a) };
            // SAFETY: `self` proves NEON.
            let bits = unsafe { vshlq_n_u32::<23>(bits) };
            // SAFETY: `self` proves NEON.
            unsafe { vreinterpretq_f32_u32(bits) }
        })
    }
}

#[inline(always)]
fn quarters<T>(x: &[T; LANES]) -> [&[T; 4]; 4] {
    let (quarters, _) = x.as_chunks::<4>();
    [&quarters[0], &quarters[1], &quarters[2], &quarters[3]]
}

#[inline(always)]
fn zip(a: Quad, b: Quad, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Quad {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// Adds to every 32-bit lane the products of its four bytes: `sdot`, whose intrinsic the pinned
/// compiler does not offer yet.
///
/// # Safety
/// The processor has the dot products of ARMv8.2; see [`Isa::NeonDot`].
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dot_bytes(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut dots = sum;
    // SAFETY: the instruction works on these registers alone, and the processor has it.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {dots:v}.4s, {a:v}.16b, {b:v}.16b",
            dots = inlateout(vreg) dots,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    dots
}
