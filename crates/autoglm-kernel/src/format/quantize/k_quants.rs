//! Q4_K, Q5_K, Q6_K: real scales for the sub-blocks first, then the integer scales and the two
//! half-precision factors, refined together.

use half::f16;

use super::lanes::{nearest, reciprocal, sum};
use super::put_half;
use super::search::{Affine, Weighted};
use crate::format::k_quants::{BLOCK_LEN, SUB_LEN, SUBS};

/// The largest 6-bit scale or minimum.
const SCALE_TOP: f32 = 63.0;
/// Rounds in which integer scales and half-precision factors are chosen anew in turn. Gains beyond
/// the third round are below a thousandth of the error.
const ROUNDS: usize = 3;
/// Columns that one scale of Q6_K covers.
const NARROW_LEN: usize = 16;
const NARROW_SUBS: usize = BLOCK_LEN / NARROW_LEN;

#[inline(always)]
pub(super) fn quantize_q4_k(x: &[f32], block: &mut [u8]) {
    let best = WithMins::search(x, 15.0);
    best.put_scales(block);
    put_nibbles(&mut block[16..], &best.integers);
}

#[inline(always)]
pub(super) fn quantize_q5_k(x: &[f32], block: &mut [u8]) {
    let best = WithMins::search(x, 31.0);
    best.put_scales(block);
    let fifths = &mut block[16..48];
    fifths.fill(0);
    for (sub, q) in best.integers.iter().enumerate() {
        for (byte, q) in fifths.iter_mut().zip(q) {
            *byte |= (*q as u8 >> 4) << sub;
        }
    }
    put_nibbles(&mut block[48..], &best.integers);
}

/// Two sub-blocks in 32 bytes, the even one below and the odd one above.
#[inline(always)]
fn put_nibbles(bytes: &mut [u8], q: &[[f32; SUB_LEN]; SUBS]) {
    for (bytes, pair) in bytes.chunks_exact_mut(SUB_LEN).zip(q.chunks_exact(2)) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = (pair[0][i] as u8 & 0xf) | (pair[1][i] as u8 & 0xf) << 4;
        }
    }
}

/// A block of Q4_K or Q5_K: sub-block `j` is `d·scales[j]·q - dmin·mins[j]`.
#[derive(Clone)]
struct WithMins {
    d: f16,
    dmin: f16,
    scales: [f32; SUBS],
    mins: [f32; SUBS],
    integers: [[f32; SUB_LEN]; SUBS],
    /// The weighted squared error.
    error: f32,
}

impl WithMins {
    #[inline(always)]
    fn search(x: &[f32], top: f32) -> Self {
        let (subs, _) = x.as_chunks::<SUB_LEN>();
        let subs: [Weighted<'_, SUB_LEN>; SUBS] =
            std::array::from_fn(|j| Weighted::by_magnitude(&subs[j]));
        let fits: [Affine; SUBS] = std::array::from_fn(|j| subs[j].fit_affine(top));
        let largest = |of: fn(&Affine) -> f32| fits.iter().map(of).fold(0.0, f32::max);
        let (mut d, mut dmin) = (
            f16::from_f32(largest(|fit| fit.scale) / SCALE_TOP),
            f16::from_f32(largest(|fit| fit.min) / SCALE_TOP),
        );
        let mut best = Self::rounded(&subs, &fits, (d, dmin), top);
        for _ in 1..ROUNDS {
            (d, dmin) = best.factors_for(&subs);
            let next = Self::rounded(&subs, &fits, (d, dmin), top);
            if next.error >= best.error {
                break;
            }
            best = next;
        }
        best
    }

    /// The best integer scales near the real ones for given factors.
    #[inline(always)]
    fn rounded(
        subs: &[Weighted<'_, SUB_LEN>; SUBS],
        fits: &[Affine; SUBS],
        (d, dmin): (f16, f16),
        top: f32,
    ) -> Self {
        let mut block = Self {
            d,
            dmin,
            scales: [0.0; SUBS],
            mins: [0.0; SUBS],
            integers: [[0.0; SUB_LEN]; SUBS],
            error: 0.0,
        };
        for (j, (sub, fit)) in subs.iter().zip(fits).enumerate() {
            block.error += block.round_sub(j, sub, *fit, top);
        }
        block
    }

    /// Chooses scale, minimum and integers of one sub-block and returns its error.
    #[inline(always)]
    fn round_sub(&mut self, j: usize, sub: &Weighted<'_, SUB_LEN>, fit: Affine, top: f32) -> f32 {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        let middle = |real: f32, factor: f32| nearest((real * reciprocal(factor)).min(SCALE_TOP));
        let (scale, min) = (middle(fit.scale, d), middle(fit.min, dmin));
        let mut best_error = f32::INFINITY;
        for by_scale in [0.0, -1.0, 1.0] {
            for by_min in [0.0, -1.0, 1.0] {
                let (scale, min) = (scale + by_scale, min + by_min);
                if scale.min(min) < 0.0 || scale.max(min) > SCALE_TOP {
                    continue;
                }
                let fit = Affine {
                    scale: d * scale,
                    min: dmin * min,
                };
                let q = sub.affine_integers(fit, top);
                let error = sub.error(&q, fit);
                if error < best_error {
                    best_error = error;
                    (self.scales[j], self.mins[j], self.integers[j]) = (scale, min, q);
                }
            }
        }
        best_error
    }

    /// The least-squares factors for these integers; the same as before where they do not
    /// determine them.
    #[inline(always)]
    fn factors_for(&self, subs: &[Weighted<'_, SUB_LEN>; SUBS]) -> (f16, f16) {
        let (mut aa, mut ab, mut bb, mut ax, mut bx) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (j, sub) in subs.iter().enumerate() {
            let (x, w, q) = (sub.x, &sub.w, &self.integers[j]);
            let (scale, min) = (self.scales[j], self.mins[j]);
            aa += scale * scale * sum::<SUB_LEN>(|i| w[i] * q[i] * q[i]);
            ab -= scale * min * sum::<SUB_LEN>(|i| w[i] * q[i]);
            bb += min * min * sum::<SUB_LEN>(|i| w[i]);
            ax += scale * sum::<SUB_LEN>(|i| w[i] * q[i] * x[i]);
            bx -= min * sum::<SUB_LEN>(|i| w[i] * x[i]);
        }
        let determinant = aa * bb - ab * ab;
        if determinant <= 0.0 {
            return (self.d, self.dmin);
        }
        let d = (bb * ax - ab * bx) / determinant;
        let dmin = (aa * bx - ab * ax) / determinant;
        if d <= 0.0 || dmin < 0.0 {
            return (self.d, self.dmin);
        }
        (f16::from_f32(d), f16::from_f32(dmin))
    }

    /// Writes both factors and the packed scales, as [`crate::format::KScales::read`] reads them.
    #[inline(always)]
    fn put_scales(&self, block: &mut [u8]) {
        put_half(block, 0, self.d);
        put_half(block, 2, self.dmin);
        let (scales, mins) = (
            self.scales.map(|scale| scale as u8),
            self.mins.map(|min| min as u8),
        );
        for j in 0..4 {
            block[4 + j] = scales[j] | (scales[j + 4] >> 4) << 6;
            block[8 + j] = mins[j] | (mins[j + 4] >> 4) << 6;
            block[12 + j] = (scales[j + 4] & 0xf) | (mins[j + 4] & 0xf) << 4;
        }
    }
}

#[inline(always)]
pub(super) fn quantize_q6_k(x: &[f32], block: &mut [u8]) {
    let best = Signed::search(x);
    put_half(block, 208, best.d);
    for (byte, scale) in block[192..208].iter_mut().zip(best.scales) {
        *byte = scale as i8 as u8;
    }
    block[..192].fill(0);
    for (column, q) in best.integers.as_flattened().iter().enumerate() {
        let q = (q + 32.0) as u8;
        let (half, part, i) = (column / 128, column / 32 % 4, column % 32);
        block[64 * half + 32 * (part % 2) + i] |= (q & 0xf) << (4 * (part / 2));
        block[128 + 32 * half + i] |= (q >> 4) << (2 * part);
    }
}

/// A block of Q6_K: sub-block `j` is `d·scales[j]·q` with `q` from -32 to 31.
struct Signed {
    d: f16,
    scales: [f32; NARROW_SUBS],
    integers: [[f32; NARROW_LEN]; NARROW_SUBS],
    error: f32,
}

impl Signed {
    #[inline(always)]
    fn search(x: &[f32]) -> Self {
        let (subs, _) = x.as_chunks::<NARROW_LEN>();
        let subs: [Weighted<'_, NARROW_LEN>; NARROW_SUBS] =
            std::array::from_fn(|j| Weighted::by_magnitude(&subs[j]));
        let fits: [f32; NARROW_SUBS] = std::array::from_fn(|j| subs[j].fit_signed(32.0));
        // The scale of largest magnitude gets -128, which reaches one step further than 127.
        let d = f16::from_f32(super::lanes::peak(&fits) / -128.0);
        let mut best = Self::rounded(&subs, &fits, d);
        for _ in 1..ROUNDS {
            let next = Self::rounded(&subs, &fits, best.factor_for(&subs));
            if next.error >= best.error {
                break;
            }
            best = next;
        }
        best
    }

    #[inline(always)]
    fn rounded(
        subs: &[Weighted<'_, NARROW_LEN>; NARROW_SUBS],
        fits: &[f32; NARROW_SUBS],
        d: f16,
    ) -> Self {
        let mut block = Self {
            d,
            scales: [0.0; NARROW_SUBS],
            integers: [[0.0; NARROW_LEN]; NARROW_SUBS],
            error: 0.0,
        };
        let factor = d.to_f32();
        for (j, (sub, fit)) in subs.iter().zip(fits).enumerate() {
            let middle = nearest((fit * reciprocal(factor)).clamp(-128.0, 127.0));
            let mut best_error = f32::INFINITY;
            for by in [0.0, -1.0, 1.0] {
                let scale = (middle + by).clamp(-128.0, 127.0);
                let q = sub.signed_integers(factor * scale, 32.0);
                let fit = Affine {
                    scale: factor * scale,
                    min: 0.0,
                };
                let error = sub.error(&q, fit);
                if error < best_error {
                    best_error = error;
                    (block.scales[j], block.integers[j]) = (scale, q);
                }
            }
            block.error += best_error;
        }
        block
    }

    #[inline(always)]
    fn factor_for(&self, subs: &[Weighted<'_, NARROW_LEN>; NARROW_SUBS]) -> f16 {
        let (mut aa, mut ax) = (0.0, 0.0);
        for (j, sub) in subs.iter().enumerate() {
            let (x, w, q) = (sub.x, &sub.w, &self.integers[j]);
            let scale = self.scales[j];
            aa += scale * scale * sum::<NARROW_LEN>(|i| w[i] * q[i] * q[i]);
            ax += scale * sum::<NARROW_LEN>(|i| w[i] * q[i] * x[i]);
        }
        if aa > 0.0 {
            f16::from_f32(ax / aa)
        } else {
            self.d
        }
    }
}
