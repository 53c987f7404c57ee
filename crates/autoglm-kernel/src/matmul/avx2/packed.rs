//! Packed chunks: their quads and scales in registers, and unpacked into memory.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32, _mm256_mul_ps,
    _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi16,
    _mm256_slli_epi32, _mm256_srai_epi32, _mm256_srli_epi16, _mm256_srli_epi32, _mm256_xor_ps,
};

use super::registers::{broadcast, load, load_halves, prefetch, store, store_floats, widen};
use crate::lanes::{Halves, Line};
use crate::pack::coding::{QUADS, SUPER_BLOCKS, ScaleLayout};
use crate::pack::unpack::{PackedChunk, Unpacked};

/// How far ahead of the block that is read one is fetched: half a page.
pub(super) const AHEAD_BYTES: usize = 2048;

// Where the scales are; see `ScaleLayout`.
pub(super) const SCALE: u8 = 0;
pub(super) const SCALE_AND_MINIMUM: u8 = 1;
pub(super) const SUPER_WITH_MINIMUM: u8 = 2;
pub(super) const SUPER_HALVES: u8 = 3;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn unpack(chunk: &PackedChunk<'_>, out: &mut Unpacked) {
    out.coding = chunk.coding;
    out.blocks = chunk.values.len() / chunk.coding.bits;
    match chunk.coding.bits {
        4 => unpack_values::<4>(chunk.values, &mut out.values),
        5 => unpack_values::<5>(chunk.values, &mut out.values),
        6 => unpack_values::<6>(chunk.values, &mut out.values),
        _ => unpack_values::<8>(chunk.values, &mut out.values),
    }
    match chunk.coding.scales {
        ScaleLayout::Scale => unpack_scales::<SCALE>(chunk, out),
        ScaleLayout::ScaleAndMinimum => unpack_scales::<SCALE_AND_MINIMUM>(chunk, out),
        ScaleLayout::SuperWithMinimum => unpack_scales::<SUPER_WITH_MINIMUM>(chunk, out),
        ScaleLayout::SuperHalves => unpack_scales::<SUPER_HALVES>(chunk, out),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn unpack_values<const BITS: usize>(packed: &[Line], out: &mut [[Line; QUADS]]) {
    for (packed, out) in packed.as_chunks::<BITS>().0.iter().zip(out) {
        prefetch(packed, AHEAD_BYTES);
        unpack_block(packed, out);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn unpack_block<const BITS: usize>(packed: &[Line; BITS], out: &mut [Line; QUADS]) {
    for half in 0..2 {
        for (quad, out) in out.iter_mut().enumerate() {
            store(load_quad(packed, quad, half), out, half);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn unpack_scales<const LAYOUT: u8>(chunk: &PackedChunk<'_>, out: &mut Unpacked) {
    let scales = &mut out.scales;
    for b in 0..out.blocks {
        for half in 0..2 {
            let [scale, second] = packed_scales::<LAYOUT>(chunk.scales, b, half);
            match LAYOUT {
                SCALE => store_floats(scale, &mut scales.scales[b], half),
                SUPER_HALVES => {
                    store_floats(scale, &mut scales.scales[2 * b], half);
                    store_floats(second, &mut scales.scales[2 * b + 1], half);
                }
                _ => {
                    store_floats(scale, &mut scales.scales[b], half);
                    store_floats(second, &mut scales.mins[b], half);
                }
            }
        }
    }
}

/// The scales of eight rows: that of block `b`, and its minimum or the scale of its second half
/// where there are such.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn packed_scales<const LAYOUT: u8>(
    words: &[Halves],
    b: usize,
    half: usize,
) -> [__m256; 2] {
    match LAYOUT {
        SCALE => [widen(&words[b], half), _mm256_setzero_ps()],
        SCALE_AND_MINIMUM => {
            let words = &words.as_chunks::<2>().0[b];
            [widen(&words[0], half), widen(&words[1], half)]
        }
        SUPER_WITH_MINIMUM => {
            let words = &words.as_chunks::<{ 2 + SUPER_BLOCKS }>().0[b / SUPER_BLOCKS];
            let word = _mm256_cvtepu16_epi32(load_halves(&words[2 + b % SUPER_BLOCKS], half));
            let scale = _mm256_cvtepi32_ps(_mm256_and_si256(word, broadcast(0xff)));
            let min = _mm256_cvtepi32_ps(_mm256_srli_epi32::<8>(word));
            let min = _mm256_mul_ps(widen(&words[1], half), min);
            [
                _mm256_mul_ps(widen(&words[0], half), scale),
                _mm256_xor_ps(min, _mm256_set1_ps(-0.0)),
            ]
        }
        SUPER_HALVES => {
            let words = &words.as_chunks::<{ 1 + SUPER_BLOCKS }>().0[b / SUPER_BLOCKS];
            let word = _mm256_cvtepu16_epi32(load_halves(&words[1 + b % SUPER_BLOCKS], half));
            let d = widen(&words[0], half);
            let high = _mm256_slli_epi32::<16>(word);
            let scales = [
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<8>(high)),
                _mm256_srai_epi32::<24>(high),
            ];
            scales.map(|scale| _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale)))
        }
        _ => unreachable!("no such layout"),
    }
}

/// Eight rows of a quad of a packed block.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_quad<const BITS: usize>(
    lines: &[Line; BITS],
    quad: usize,
    half: usize,
) -> __m256i {
    if BITS == QUADS {
        return load(&lines[quad], half);
    }
    let line = load(&lines[quad % 4], half);
    let nibbles = if quad < 4 {
        line
    } else {
        _mm256_srli_epi16::<4>(line)
    };
    let low = _mm256_and_si256(nibbles, _mm256_set1_epi8(0xf));
    match BITS {
        5 => {
            let high = turn(load(&lines[4], half), 4 - quad as i32);
            _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(0x10)))
        }
        6 => {
            let high = turn(load(&lines[4 + quad / 4], half), 4 - 2 * (quad as i32 % 4));
            _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(0x30)))
        }
        _ => low,
    }
}

/// Moves the bits of every 16-bit word to the left, or to the right where `by` is negative.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn turn(bits: __m256i, by: i32) -> __m256i {
    match by {
        4 => _mm256_slli_epi16::<4>(bits),
        3 => _mm256_slli_epi16::<3>(bits),
        2 => _mm256_slli_epi16::<2>(bits),
        1 => _mm256_slli_epi16::<1>(bits),
        -1 => _mm256_srli_epi16::<1>(bits),
        -2 => _mm256_srli_epi16::<2>(bits),
        -3 => _mm256_srli_epi16::<3>(bits),
        _ => bits,
    }
}
