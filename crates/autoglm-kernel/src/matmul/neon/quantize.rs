//! A block of activations as 8-bit integers; the definition is in `activation/tile.rs`.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, vabsq_f32, vadd_s16, vcombine_s8, vcombine_s16, vcvtnq_s32_f32,
    vget_high_s16, vget_lane_s16, vget_low_s16, vld1q_f32, vmaxq_u32, vmaxvq_u32, vmulq_n_f32,
    vpaddlq_s8, vqmovn_s16, vqmovn_s32, vreinterpretq_u32_f32, vreinterpretq_u32_s8, vst1q_u32,
};

use crate::activation::{QuantisedBlock, scale_of};
use crate::pack::coding::{BLOCK, QUADS};

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn quantize(x: &[f32; BLOCK]) -> QuantisedBlock {
    let x = load_block(x);
    // Magnitudes compare like their bits; infinity and NaN are the largest.
    let bits = x.map(|x| vreinterpretq_u32_f32(vabsq_f32(x)));
    let largest = bits[1..]
        .iter()
        .fold(bits[0], |largest, bits| vmaxq_u32(largest, *bits));
    let (scale, inverse) = match scale_of(vmaxvq_u32(largest)) {
        Ok(scales) => scales,
        Err(scale) => return QuantisedBlock::zero(scale),
    };
    // Rounds to the nearest integer, to the even one of two.
    let words = x.map(|x| vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(x, inverse))));
    let [a, b, c, d] = [0, 2, 4, 6].map(|i| vqmovn_s16(vcombine_s16(words[i], words[i + 1])));
    let halves = [vcombine_s8(a, b), vcombine_s8(c, d)];
    QuantisedBlock {
        quads: quads(halves),
        scale,
        pair_sums: halves.map(|half| pair_sums(half)),
    }
}

/// The sums of the pairs of half a block; see [`QuantisedBlock`].
#[inline]
#[target_feature(enable = "neon")]
fn pair_sums(half: int8x16_t) -> [i16; 2] {
    let pairs = vpaddlq_s8(half);
    let sums = vadd_s16(vget_low_s16(pairs), vget_high_s16(pairs));
    [
        vget_lane_s16::<0>(sums) + vget_lane_s16::<2>(sums),
        vget_lane_s16::<1>(sums) + vget_lane_s16::<3>(sums),
    ]
}

#[inline]
#[target_feature(enable = "neon")]
fn load_block(x: &[f32; BLOCK]) -> [float32x4_t; QUADS] {
    let quads = x.as_chunks::<4>().0;
    // SAFETY: these are four floats.
    std::array::from_fn(|i| unsafe { vld1q_f32(quads[i].as_ptr()) })
}

#[inline]
#[target_feature(enable = "neon")]
fn quads(halves: [int8x16_t; 2]) -> [u32; QUADS] {
    let mut quads = [0; QUADS];
    for (quads, half) in quads.as_chunks_mut::<4>().0.iter_mut().zip(halves) {
        // SAFETY: these are four words.
        unsafe { vst1q_u32(quads.as_mut_ptr(), vreinterpretq_u32_s8(half)) };
    }
    quads
}
