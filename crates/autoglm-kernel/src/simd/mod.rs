//! Sixteen `f32` lanes, the unit in which the kernels of this crate's vector operations are written.
//!
//! A kernel is one generic function over [`Simd`]; instantiated with [`Scalar`] it is the
//! definition of the operation, with the other types it is the same arithmetic in registers. Every
//! lane operation is exactly rounded (or exact) in all of them, so variants agree bit for bit.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use half::f16;

#[cfg(target_arch = "x86_64")]
use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use avx512::Avx512;
pub(crate) use math::{exp, exp2, horizontal_max, sigmoid, sum_lanes};
#[cfg(target_arch = "aarch64")]
use neon::Neon;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::dot_bytes;
use scalar::Scalar;

/// Lanes per vector, in every variant: reductions are defined over this many partial results.
pub(crate) const LANES: usize = 16;

/// One way to compute on [`LANES`] lanes. A value of the type is the proof that the processor has
/// the instructions, which is what makes the methods safe.
pub(crate) trait Simd: Copy + Send + Sync {
    type V: Copy;

    /// Whether there are registers for a tile of 6 × 4 vectors.
    const WIDE: bool;

    /// Calls `f` from a function compiled for this instruction set. The kernels inside must be
    /// `#[inline(always)]` to become part of it.
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, x: &[f32; LANES]) -> Self::V;
    fn store(self, x: Self::V, to: &mut [f32; LANES]);
    /// Widens half precision, which is exact.
    fn load_f16(self, x: &[f16; LANES]) -> Self::V;
    /// Rounds to half precision, to nearest and ties to even.
    fn store_f16(self, x: Self::V, to: &mut [f16; LANES]);
    /// Widens small integers, which is exact.
    fn load_i8(self, x: &[i8; LANES]) -> Self::V;
    /// Rounds to integers, to nearest and ties to even; NaN becomes 0. Numbers must lie within
    /// -127.5 to 127.5.
    fn store_i8(self, x: Self::V, to: &mut [i8; LANES]);
    /// Asks for the cache line that `x` begins in. It changes nothing but the time.
    fn prefetch<T>(self, x: &T);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` where `a > b`, else `b`: a NaN in `b` stays.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `a < b`, else `b`: a NaN in `b` stays.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Exchanges lanes 2i and 2i+1.
    fn swap_pairs(self, a: Self::V) -> Self::V;
    /// `2^n` where the low bits of `a` hold `n + 127` modulo 2⁹: they are shifted into the exponent.
    fn shift_into_exponent(self, a: Self::V) -> Self::V;
}

/// The variants, as values that can be chosen at run time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Variant {
    Scalar(Scalar),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Variant {
    /// The fastest variant of this processor.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn best() -> Self {
        Avx512::detect()
            .map(Self::Avx512)
            .or_else(|| Avx2::detect().map(Self::Avx2))
            .unwrap_or(Self::Scalar(Scalar))
    }

    /// The fastest variant of this processor.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn best() -> Self {
        Neon::detect().map_or(Self::Scalar(Scalar), Self::Neon)
    }

    /// The fastest variant of this processor.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(crate) fn best() -> Self {
        Self::Scalar(Scalar)
    }

    /// Every variant of this processor, the definition first.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Scalar(Scalar)];
        #[cfg(target_arch = "aarch64")]
        all.extend(Neon::detect().map(Self::Neon));
        #[cfg(target_arch = "x86_64")]
        all.extend(Avx2::detect().map(Self::Avx2));
        #[cfg(target_arch = "x86_64")]
        all.extend(Avx512::detect().map(Self::Avx512));
        all
    }
}

/// Evaluates an expression with `$simd` bound to the variant's [`Simd`] value, compiled for it.
macro_rules! with_simd {
    ($variant:expr, $simd:ident => $body:expr) => {
        match $variant {
            $crate::simd::Variant::Scalar($simd) => $crate::simd::Simd::vectorize(
                $simd,
                #[inline(always)]
                || $body,
            ),
            #[cfg(target_arch = "aarch64")]
            $crate::simd::Variant::Neon($simd) => $crate::simd::Simd::vectorize(
                $simd,
                #[inline(always)]
                || $body,
            ),
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Variant::Avx2($simd) => $crate::simd::Simd::vectorize(
                $simd,
                #[inline(always)]
                || $body,
            ),
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Variant::Avx512($simd) => $crate::simd::Simd::vectorize(
                $simd,
                #[inline(always)]
                || $body,
            ),
        }
    };
}
pub(crate) use with_simd;

/// The first up to 16 elements of `x`, padded with `fill`.
#[inline(always)]
pub(crate) fn padded(x: &[f32], fill: f32) -> [f32; LANES] {
    let mut lanes = [fill; LANES];
    lanes[..x.len()].copy_from_slice(x);
    lanes
}
