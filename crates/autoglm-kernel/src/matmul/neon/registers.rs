//! Between memory and registers. A register holds four of the 16 rows of a group: part 0 to 3.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, uint8x16_t, uint16x4_t, vcvt_f32_f16, vdupq_n_f32, vdupq_n_s32,
    vld1_u16, vld1q_f32, vld1q_u8, vreinterpret_f16_u16, vreinterpretq_s8_s32, vst1q_f32, vst1q_u8,
};

use crate::lanes::{Floats, Halves, Line};

/// Rows in a register.
pub(super) const ROWS: usize = 4;

/// Four bytes of activations for every row.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn broadcast_bytes(word: u32) -> int8x16_t {
    vreinterpretq_s8_s32(vdupq_n_s32(word as i32))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn broadcast_float(word: u32) -> float32x4_t {
    vdupq_n_f32(f32::from_bits(word))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load(line: &Line, part: usize) -> uint8x16_t {
    let bytes = &line.0.as_chunks::<16>().0[part];
    // SAFETY: these are 16 bytes.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store(value: uint8x16_t, line: &mut Line, part: usize) {
    let bytes = &mut line.0.as_chunks_mut::<16>().0[part];
    // SAFETY: these are 16 bytes.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), value) }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_halves(words: &Halves, part: usize) -> uint16x4_t {
    let words = &words.0.as_chunks::<ROWS>().0[part];
    // SAFETY: these are four words.
    unsafe { vld1_u16(words.as_ptr()) }
}

/// Half to single precision.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn widen(words: &Halves, part: usize) -> float32x4_t {
    vcvt_f32_f16(vreinterpret_f16_u16(load_halves(words, part)))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_floats(floats: &Floats, part: usize) -> float32x4_t {
    let floats = &floats.0.as_chunks::<ROWS>().0[part];
    // SAFETY: these are four floats.
    unsafe { vld1q_f32(floats.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store_floats(value: float32x4_t, floats: &mut Floats, part: usize) {
    let floats = &mut floats.0.as_chunks_mut::<ROWS>().0[part];
    // SAFETY: these are four floats.
    unsafe { vst1q_f32(floats.as_mut_ptr(), value) }
}

/// The running sums of some tokens.
pub(super) type Running<const N: usize> = [[float32x4_t; 4]; N];

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_sums<const N: usize>(sums: &[Floats]) -> Running<N> {
    let sums: &[Floats; N] = sums.try_into().expect("a sum for each token");
    sums.each_ref()
        .map(|sums| std::array::from_fn(|part| load_floats(sums, part)))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store_sums<const N: usize>(running: Running<N>, sums: &mut [Floats]) {
    for (running, sums) in running.into_iter().zip(sums) {
        for (part, sum) in running.into_iter().enumerate() {
            store_floats(sum, sums, part);
        }
    }
}
