//! Packed chunks: their quads and scales in registers, and unpacked into memory.

use std::arch::aarch64::{
    float32x4_t, uint8x16_t, vandq_u8, vandq_u32, vcvtq_f32_s32, vcvtq_f32_u32, vdupq_n_f32,
    vdupq_n_s8, vdupq_n_u8, vdupq_n_u32, vmovl_u16, vmulq_f32, vnegq_f32, vorrq_u8,
    vreinterpretq_s32_u32, vshlq_n_u32, vshlq_u8, vshrq_n_s32, vshrq_n_u8, vshrq_n_u32,
};

use super::registers::{load, load_halves, store, store_floats, widen};
use crate::lanes::{Floats, Halves, Line};
use crate::pack::coding::{QUADS, SUPER_BLOCKS};
use crate::pack::unpack::{PackedChunk, Unpacked};

// Where the scales are; see `ScaleLayout`.
pub(super) const SCALE: u8 = 0;
pub(super) const SCALE_AND_MINIMUM: u8 = 1;
pub(super) const SUPER_WITH_MINIMUM: u8 = 2;
pub(super) const SUPER_HALVES: u8 = 3;

#[target_feature(enable = "neon")]
pub(super) fn unpack(chunk: &PackedChunk<'_>, out: &mut Unpacked) {
    out.coding = chunk.coding;
    out.blocks = chunk.values.len() / chunk.coding.bits;
    match chunk.coding.bits {
        4 => unpack_values::<4>(chunk.values, &mut out.values),
        5 => unpack_values::<5>(chunk.values, &mut out.values),
        6 => unpack_values::<6>(chunk.values, &mut out.values),
        _ => unpack_values::<8>(chunk.values, &mut out.values),
    }
    out.scales.read(chunk, |words| widen_all(words));
}

#[inline]
#[target_feature(enable = "neon")]
fn widen_all(words: &Halves) -> Floats {
    let mut out = Floats::ZERO;
    for part in 0..4 {
        store_floats(widen(words, part), &mut out, part);
    }
    out
}

#[target_feature(enable = "neon")]
fn unpack_values<const BITS: usize>(packed: &[Line], out: &mut [[Line; QUADS]]) {
    for (packed, out) in packed.as_chunks::<BITS>().0.iter().zip(out) {
        unpack_block(packed, out);
    }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn unpack_block<const BITS: usize>(packed: &[Line; BITS], out: &mut [Line; QUADS]) {
    for part in 0..4 {
        for (quad, out) in out.iter_mut().enumerate() {
            store(load_quad(packed, quad, part), out, part);
        }
    }
}

/// The scales of four rows: that of block `b`, and its minimum or the scale of its second half
/// where there are such.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn packed_scales<const LAYOUT: u8>(
    words: &[Halves],
    b: usize,
    part: usize,
) -> [float32x4_t; 2] {
    match LAYOUT {
        SCALE => [widen(&words[b], part), vdupq_n_f32(0.0)],
        SCALE_AND_MINIMUM => {
            let words = &words.as_chunks::<2>().0[b];
            [widen(&words[0], part), widen(&words[1], part)]
        }
        SUPER_WITH_MINIMUM => {
            let words = &words.as_chunks::<{ 2 + SUPER_BLOCKS }>().0[b / SUPER_BLOCKS];
            let word = vmovl_u16(load_halves(&words[2 + b % SUPER_BLOCKS], part));
            let scale = vcvtq_f32_u32(vandq_u32(word, vdupq_n_u32(0xff)));
            let min = vcvtq_f32_u32(vshrq_n_u32::<8>(word));
            [
                vmulq_f32(widen(&words[0], part), scale),
                vnegq_f32(vmulq_f32(widen(&words[1], part), min)),
            ]
        }
        SUPER_HALVES => {
            let words = &words.as_chunks::<{ 1 + SUPER_BLOCKS }>().0[b / SUPER_BLOCKS];
            let word = vmovl_u16(load_halves(&words[1 + b % SUPER_BLOCKS], part));
            let d = widen(&words[0], part);
            let high = [vshlq_n_u32::<24>(word), vshlq_n_u32::<16>(word)];
            high.map(|high| {
                let scale = vshrq_n_s32::<24>(vreinterpretq_s32_u32(high));
                vmulq_f32(d, vcvtq_f32_s32(scale))
            })
        }
        _ => unreachable!("no such layout"),
    }
}

/// Four rows of a quad of a packed block.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_quad<const BITS: usize>(
    lines: &[Line; BITS],
    quad: usize,
    part: usize,
) -> uint8x16_t {
    if BITS == QUADS {
        return load(&lines[quad], part);
    }
    let line = load(&lines[quad % 4], part);
    let low = if quad < 4 {
        vandq_u8(line, vdupq_n_u8(0xf))
    } else {
        vshrq_n_u8::<4>(line)
    };
    match BITS {
        5 => {
            let high = turn(load(&lines[4], part), 4 - quad as i8);
            vorrq_u8(low, vandq_u8(high, vdupq_n_u8(0x10)))
        }
        6 => {
            let high = turn(load(&lines[4 + quad / 4], part), 4 - 2 * (quad as i8 % 4));
            vorrq_u8(low, vandq_u8(high, vdupq_n_u8(0x30)))
        }
        _ => low,
    }
}

/// Moves the bits of every byte to the left, or to the right where `by` is negative.
#[inline]
#[target_feature(enable = "neon")]
fn turn(bits: uint8x16_t, by: i8) -> uint8x16_t {
    vshlq_u8(bits, vdupq_n_s8(by))
}
