//! Quantised weights: products of signed bytes, added exactly.
//!
//! Values of up to six bits are signed bytes as they are, and the sums begin with the centring
//! offset; values of eight bits become signed when their upper bit is turned over, which centres
//! them too. Without `sdot`, products are added in 16 bits, as many as fit: eight of 5 bits, at
//! most `8·31·127 = 31,496`, four of 6 bits, `4·63·127`, and two of 8 bits, `2·128·127`.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int16x8_t, int32x4_t, uint8x16_t, vaddq_s32, vcvtq_f32_s32,
    vdupq_n_f32, vdupq_n_s16, vdupq_n_s32, vdupq_n_u8, veorq_u8, vfmaq_f32, vget_low_s8,
    vmlal_high_s8, vmlal_s8, vmulq_f32, vpaddlq_s16, vpaddq_s32, vreinterpretq_s8_u8,
};
use std::ops::Range;

use super::packed::{
    SCALE, SCALE_AND_MINIMUM, SUPER_HALVES, SUPER_WITH_MINIMUM, load_quad, packed_scales,
    unpack_block,
};
use super::registers::{
    Running, broadcast_bytes, broadcast_float, load, load_floats, load_sums, store_sums,
};
use super::{TOKENS, with_tokens};
use crate::activation::{RECORD, Record, Tile};
use crate::lanes::{Floats, Line};
use crate::pack::coding::{Meaning, QUADS, ScaleLayout};
use crate::pack::unpack::{ChunkScales, PackedChunk, Unpacked};
use crate::simd::dot_bytes;

/// The words of a block of some tokens of a tile.
#[derive(Clone, Copy)]
struct Words<'a> {
    /// The record, from the first of the tokens on.
    record: &'a [u32],
    width: usize,
}

impl<'a> Words<'a> {
    /// The blocks of a tile, from token `first` on.
    fn blocks(x: Tile<'a>, first: usize) -> impl Iterator<Item = Self> {
        let width = x.width;
        let records = x.records.chunks_exact(RECORD * width);
        records.map(move |record| Self {
            record: &record[first..],
            width,
        })
    }

    /// The words of those behind the first `tokens`.
    fn after(self, tokens: usize) -> Self {
        Self {
            record: &self.record[tokens..],
            width: self.width,
        }
    }

    #[inline(always)]
    fn of<const N: usize>(self, word: usize) -> &'a [u32; N] {
        let words = &self.record[word * self.width..];
        words.first_chunk().expect("a word for each token")
    }
}

#[target_feature(enable = "neon")]
pub(super) fn multiply<const DOT: bool>(w: &Unpacked, x: Tile<'_>, sums: &mut [Floats]) {
    match (w.coding.meaning, w.coding.bits) {
        (Meaning::Centred { .. }, 4) => multiply_tile::<DOT, 4, SCALE>(w, x, sums),
        (Meaning::Centred { .. }, 5) => multiply_tile::<DOT, 5, SCALE>(w, x, sums),
        (Meaning::Centred { .. }, _) => multiply_tile::<DOT, 8, SCALE>(w, x, sums),
        (Meaning::CentredHalves { .. }, _) => multiply_tile::<DOT, 6, SUPER_HALVES>(w, x, sums),
        (Meaning::WithMinimum, 4) => multiply_tile::<DOT, 4, SCALE_AND_MINIMUM>(w, x, sums),
        (Meaning::WithMinimum, _) => multiply_tile::<DOT, 5, SCALE_AND_MINIMUM>(w, x, sums),
    }
}

#[target_feature(enable = "neon")]
pub(super) fn stream<const DOT: bool>(chunk: &PackedChunk<'_>, x: Tile<'_>, sums: &mut [Floats]) {
    match (chunk.coding.scales, chunk.coding.bits) {
        (ScaleLayout::Scale, 4) => stream_tile::<DOT, 4, SCALE>(chunk, x, sums),
        (ScaleLayout::Scale, 5) => stream_tile::<DOT, 5, SCALE>(chunk, x, sums),
        (ScaleLayout::Scale, _) => stream_tile::<DOT, 8, SCALE>(chunk, x, sums),
        (ScaleLayout::ScaleAndMinimum, 4) => {
            stream_tile::<DOT, 4, SCALE_AND_MINIMUM>(chunk, x, sums);
        }
        (ScaleLayout::ScaleAndMinimum, _) => {
            stream_tile::<DOT, 5, SCALE_AND_MINIMUM>(chunk, x, sums);
        }
        (ScaleLayout::SuperWithMinimum, 4) => {
            stream_tile::<DOT, 4, SUPER_WITH_MINIMUM>(chunk, x, sums);
        }
        (ScaleLayout::SuperWithMinimum, _) => {
            stream_tile::<DOT, 5, SUPER_WITH_MINIMUM>(chunk, x, sums);
        }
        (ScaleLayout::SuperHalves, _) => stream_tile::<DOT, 6, SUPER_HALVES>(chunk, x, sums),
    }
}

#[target_feature(enable = "neon")]
fn multiply_tile<const DOT: bool, const BITS: usize, const LAYOUT: u8>(
    w: &Unpacked,
    x: Tile<'_>,
    sums: &mut [Floats],
) {
    for (first, sums) in (0..).step_by(TOKENS).zip(sums.chunks_mut(TOKENS)) {
        let x = Words::blocks(x, first);
        with_tokens!(sums.len(), multiply_blocks[_, DOT, BITS, LAYOUT](w, x, sums));
    }
}

/// Goes on with the chains of 16 rows and `N` tokens over unpacked blocks.
#[target_feature(enable = "neon")]
fn multiply_blocks<
    'a,
    X: Iterator<Item = Words<'a>>,
    const DOT: bool,
    const BITS: usize,
    const LAYOUT: u8,
    const N: usize,
>(
    w: &Unpacked,
    x: X,
    sums: &mut [Floats],
) {
    let mut running: Running<N> = load_sums(sums);
    for (b, (lines, x)) in w.values.iter().zip(x).enumerate() {
        let scales = std::array::from_fn(|part| unpacked_scales::<LAYOUT>(&w.scales, b, part));
        let quad = |quad: usize, part| signed::<BITS>(load(&lines[quad], part));
        add_block::<_, DOT, BITS, LAYOUT, N>(&quad, scales, x, &mut running);
    }
    store_sums(running, sums);
}

#[target_feature(enable = "neon")]
fn stream_tile<const DOT: bool, const BITS: usize, const LAYOUT: u8>(
    chunk: &PackedChunk<'_>,
    x: Tile<'_>,
    sums: &mut [Floats],
) {
    if x.width == 1 {
        stream_token::<DOT, BITS, LAYOUT>(chunk, x, sums);
    } else {
        stream_blocks::<DOT, BITS, LAYOUT>(chunk, x, sums);
    }
}

/// Goes on with the chains of 16 rows and a token over packed blocks, which are unpacked in
/// registers.
#[target_feature(enable = "neon")]
fn stream_token<const DOT: bool, const BITS: usize, const LAYOUT: u8>(
    chunk: &PackedChunk<'_>,
    x: Tile<'_>,
    sums: &mut [Floats],
) {
    let mut running: Running<1> = load_sums(sums);
    let blocks = chunk.values.as_chunks::<BITS>().0.iter();
    for (b, (lines, x)) in blocks.zip(Words::blocks(x, 0)).enumerate() {
        let scales = std::array::from_fn(|part| packed_scales::<LAYOUT>(chunk.scales, b, part));
        let quad = |quad, part| signed::<BITS>(load_quad(lines, quad, part));
        add_block::<_, DOT, BITS, LAYOUT, 1>(&quad, scales, x, &mut running);
    }
    store_sums(running, sums);
}

/// Goes on with the chains of 16 rows and a tile over packed blocks, each of which is unpacked into
/// the first-level cache for all its tokens.
#[target_feature(enable = "neon")]
fn stream_blocks<const DOT: bool, const BITS: usize, const LAYOUT: u8>(
    chunk: &PackedChunk<'_>,
    x: Tile<'_>,
    sums: &mut [Floats],
) {
    let mut unpacked = [Line::ZERO; QUADS];
    let blocks = chunk.values.as_chunks::<BITS>().0.iter();
    for (b, (lines, x)) in blocks.zip(Words::blocks(x, 0)).enumerate() {
        unpack_block(lines, &mut unpacked);
        let scales = std::array::from_fn(|part| packed_scales::<LAYOUT>(chunk.scales, b, part));
        for (first, sums) in (0..).step_by(TOKENS).zip(sums.chunks_mut(TOKENS)) {
            let x = x.after(first);
            with_tokens!(sums.len(), add_lines[DOT, BITS, LAYOUT](&unpacked, scales, x, sums));
        }
    }
}

/// Goes on with the chains of `N` tokens over one block, unpacked.
#[inline]
#[target_feature(enable = "neon")]
fn add_lines<const DOT: bool, const BITS: usize, const LAYOUT: u8, const N: usize>(
    lines: &[Line; QUADS],
    scales: Scales,
    x: Words<'_>,
    sums: &mut [Floats],
) {
    let mut running: Running<N> = load_sums(sums);
    let quad = |quad: usize, part| signed::<BITS>(load(&lines[quad], part));
    add_block::<_, DOT, BITS, LAYOUT, N>(&quad, scales, x, &mut running);
    store_sums(running, sums);
}

/// Two scales for each register of rows; see [`packed_scales`].
type Scales = [[float32x4_t; 2]; 4];

/// The scales of block `b` of an unpacked chunk, as [`packed_scales`] gives them.
#[inline]
#[target_feature(enable = "neon")]
fn unpacked_scales<const LAYOUT: u8>(w: &ChunkScales, b: usize, part: usize) -> [float32x4_t; 2] {
    let ChunkScales { scales, mins } = w;
    match LAYOUT {
        SUPER_HALVES => [
            load_floats(&scales[2 * b], part),
            load_floats(&scales[2 * b + 1], part),
        ],
        SCALE => [load_floats(&scales[b], part), vdupq_n_f32(0.0)],
        _ => [load_floats(&scales[b], part), load_floats(&mins[b], part)],
    }
}

/// Values as signed bytes: those of eight bits less 128.
#[inline]
#[target_feature(enable = "neon")]
fn signed<const BITS: usize>(values: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(if BITS == 8 {
        veorq_u8(values, vdupq_n_u8(0x80))
    } else {
        values
    })
}

/// The products of a block or half of one: for each token those of all registers of rows.
type Dots<const N: usize> = [[int32x4_t; 4]; N];

/// Goes on with the chains over a block; `quad` gives four rows of one of its quads.
#[inline]
#[target_feature(enable = "neon")]
fn add_block<
    W: Fn(usize, usize) -> int8x16_t,
    const DOT: bool,
    const BITS: usize,
    const LAYOUT: u8,
    const N: usize,
>(
    quad: &W,
    scales: Scales,
    x: Words<'_>,
    sums: &mut Running<N>,
) {
    if LAYOUT == SUPER_HALVES {
        let shift = BITS as u32 - 1;
        let offset = Record::offset(Meaning::CentredHalves { shift });
        for half in 0..2 {
            let mut dots = broadcast_words(x.of(offset + half));
            let quads = half * QUADS / 2..(half + 1) * QUADS / 2;
            add_quads::<_, DOT, BITS, N>(quad, quads, x, &mut dots);
            add_dots(dots, scales.map(|scales| scales[half]), x, sums);
        }
        return;
    }
    let mut dots = [[vdupq_n_s32(0); 4]; N];
    if LAYOUT == SCALE && BITS < 8 {
        let shift = BITS as u32 - 1;
        dots = broadcast_words(x.of(Record::offset(Meaning::Centred { shift })));
    }
    add_quads::<_, DOT, BITS, N>(quad, 0..QUADS, x, &mut dots);
    add_dots(dots, scales.map(|scales| scales[0]), x, sums);
    if LAYOUT != SCALE {
        for (sums, scaled_sum) in sums.iter_mut().zip(x.of::<N>(Record::SCALED_SUM)) {
            let scaled_sum = broadcast_float(*scaled_sum);
            for (sum, scales) in sums.iter_mut().zip(scales) {
                *sum = vfmaq_f32(*sum, scales[1], scaled_sum);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn broadcast_words<const N: usize>(words: &[u32; N]) -> Dots<N> {
    words.map(|word| [vdupq_n_s32(word as i32); 4])
}

/// Adds the products of some quads of a block.
#[inline]
#[target_feature(enable = "neon")]
fn add_quads<
    W: Fn(usize, usize) -> int8x16_t,
    const DOT: bool,
    const BITS: usize,
    const N: usize,
>(
    quad: &W,
    quads: Range<usize>,
    x: Words<'_>,
    dots: &mut Dots<N>,
) {
    if DOT {
        for i in quads {
            let w: [int8x16_t; 4] = std::array::from_fn(|part| quad(i, part));
            for (dots, x) in dots.iter_mut().zip(x.of::<N>(i)) {
                let x = broadcast_bytes(*x);
                for (dot, w) in dots.iter_mut().zip(w) {
                    // SAFETY: only the kernels of `Isa::NeonDot` are made with `DOT`.
                    *dot = unsafe { dot_bytes(*dot, w, x) };
                }
            }
        }
        return;
    }
    let fitting = quads_in_16_bits(BITS);
    for first in quads.step_by(fitting) {
        for half in 0..2 {
            let mut words = [[vdupq_n_s16(0); 4]; N];
            for i in first..first + fitting {
                add_quad_in_16_bits(
                    [quad(i, 2 * half), quad(i, 2 * half + 1)],
                    x.of(i),
                    &mut words,
                );
            }
            for (dots, words) in dots.iter_mut().zip(words) {
                for (dot, words) in dots[2 * half..].iter_mut().zip(words.as_chunks::<2>().0) {
                    let pairs = words.map(|words| vpaddlq_s16(words));
                    *dot = vaddq_s32(*dot, vpaddq_s32(pairs[0], pairs[1]));
                }
            }
        }
    }
}

/// Quads whose products can be added in 16 bits.
const fn quads_in_16_bits(bits: usize) -> usize {
    match bits {
        4 | 5 => 8,
        6 => 4,
        _ => 2,
    }
}

/// Adds products of two registers of rows; a word belongs to one column of a row.
#[inline]
#[target_feature(enable = "neon")]
fn add_quad_in_16_bits<const N: usize>(
    w: [int8x16_t; 2],
    x: &[u32; N],
    words: &mut [[int16x8_t; 4]; N],
) {
    for (words, x) in words.iter_mut().zip(x) {
        let x = broadcast_bytes(*x);
        for (words, w) in words.as_chunks_mut::<2>().0.iter_mut().zip(w) {
            words[0] = vmlal_s8(words[0], vget_low_s8(w), vget_low_s8(x));
            words[1] = vmlal_high_s8(words[1], w, x);
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn add_dots<const N: usize>(
    dots: Dots<N>,
    scale: [float32x4_t; 4],
    x: Words<'_>,
    sums: &mut Running<N>,
) {
    for ((sums, dots), x_scale) in sums.iter_mut().zip(dots).zip(x.of::<N>(Record::SCALE)) {
        let x_scale = broadcast_float(*x_scale);
        for ((sum, dot), scale) in sums.iter_mut().zip(dots).zip(scale) {
            *sum = vfmaq_f32(*sum, vcvtq_f32_s32(dot), vmulq_f32(scale, x_scale));
        }
    }
}
