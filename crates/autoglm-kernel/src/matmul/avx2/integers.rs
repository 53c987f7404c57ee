//! Quantised weights: `vpmaddubsw`, with the products of a block added in 16 bits.
//!
//! `vpmaddubsw` multiplies unsigned weights with signed activations and saturates at 16 bits; a
//! pair of its products is at most `2·63·127 = 16,002` for 6 bits. The additions that follow wrap
//! around, so only the last sum has to fit. It does if the weights are around zero: a block of 5
//! bits has 16 products in a word, at most `16·16·127 = 32,512`, half a block of 6 bits eight,
//! `8·32·127`. So the sums begin with `-2^(bits - 1)` times those of the activations. 8-bit values
//! are cut into nibbles.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi32_ps,
    _mm256_cvtepu16_epi32, _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps,
    _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_slli_epi16, _mm256_slli_epi32, _mm256_srai_epi32,
    _mm256_srli_epi16, _mm256_srli_epi32, _mm256_sub_epi32, _mm256_xor_ps,
};

use super::TOKENS;
use super::registers::{
    Running, broadcast, broadcast_float, load, load_floats, load_halves, load_sums, prefetch,
    store_sums, widen,
};
use crate::activation::{RECORD, Record, TILE, Tile};
use crate::lanes::{Floats, Halves, Line};
use crate::pack::coding::{Meaning, QUADS, SUPER_BLOCKS, ScaleLayout};
use crate::pack::unpack::{ChunkScales, PackedChunk, Unpacked};

/// The words of a block of `N` tokens.
trait Words<const N: usize>: Copy {
    fn words(&self, word: usize) -> &[u32; N];
}

/// All tokens of a tile.
impl<const N: usize> Words<N> for &[[u32; N]; RECORD] {
    #[inline(always)]
    fn words(&self, word: usize) -> &[u32; N] {
        &self[word]
    }
}

/// Half of the tokens of a full tile.
#[derive(Clone, Copy)]
struct HalfTile<'a> {
    record: &'a [[u32; TILE]; RECORD],
    half: usize,
}

impl Words<TOKENS> for HalfTile<'_> {
    #[inline(always)]
    fn words(&self, word: usize) -> &[u32; TOKENS] {
        &self.record[word].as_chunks().0[self.half]
    }
}

/// Some tokens of a tile of any width.
#[derive(Clone, Copy)]
struct PartTile<'a> {
    /// The record, from the first of the tokens on.
    record: &'a [u32],
    width: usize,
}

impl<const N: usize> Words<N> for PartTile<'_> {
    #[inline(always)]
    fn words(&self, word: usize) -> &[u32; N] {
        let words = &self.record[word * self.width..];
        words.first_chunk().expect("a word for each token")
    }
}

/// A chunk of weights: packed, or unpacked.
#[derive(Clone, Copy)]
struct Weights<'a> {
    lines: &'a [Line],
    /// The packed scales.
    words: &'a [Halves],
    /// The unpacked scales.
    scales: &'a ChunkScales,
}

// What the integers are; see `Meaning`.
const CENTRED_4: u8 = 0;
const CENTRED_5: u8 = 1;
const CENTRED_8: u8 = 2;
const HALVES_6: u8 = 3;
const MINIMUM_4: u8 = 4;
const MINIMUM_5: u8 = 5;

// Where the scales are; see `ScaleLayout`.
const UNPACKED: u8 = 0;
const SCALE: u8 = 1;
const SCALE_AND_MINIMUM: u8 = 2;
const SUPER_WITH_MINIMUM: u8 = 3;
const SUPER_HALVES: u8 = 4;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply(w: &Unpacked, x: Tile<'_>, sums: &mut [Floats]) {
    let weights = Weights {
        lines: w.values.as_flattened(),
        words: &[],
        scales: &w.scales,
    };
    match (w.coding.meaning, w.coding.bits) {
        (Meaning::Centred { .. }, 4) => {
            multiply_tile::<CENTRED_4, QUADS, UNPACKED>(weights, x, sums);
        }
        (Meaning::Centred { .. }, 5) => {
            multiply_tile::<CENTRED_5, QUADS, UNPACKED>(weights, x, sums);
        }
        (Meaning::Centred { .. }, _) => {
            multiply_tile::<CENTRED_8, QUADS, UNPACKED>(weights, x, sums);
        }
        (Meaning::CentredHalves { .. }, _) => {
            multiply_tile::<HALVES_6, QUADS, UNPACKED>(weights, x, sums);
        }
        (Meaning::WithMinimum, 4) => {
            multiply_tile::<MINIMUM_4, QUADS, UNPACKED>(weights, x, sums);
        }
        (Meaning::WithMinimum, _) => {
            multiply_tile::<MINIMUM_5, QUADS, UNPACKED>(weights, x, sums);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn stream(chunk: &PackedChunk<'_>, x: Tile<'_>, sums: &mut [Floats]) {
    let weights = Weights {
        lines: chunk.values,
        words: chunk.scales,
        scales: &ChunkScales::ZERO,
    };
    match (chunk.coding.scales, chunk.coding.bits) {
        (ScaleLayout::Scale, 4) => multiply_tile::<CENTRED_4, 4, SCALE>(weights, x, sums),
        (ScaleLayout::Scale, 5) => multiply_tile::<CENTRED_5, 5, SCALE>(weights, x, sums),
        (ScaleLayout::Scale, _) => multiply_tile::<CENTRED_8, 8, SCALE>(weights, x, sums),
        (ScaleLayout::ScaleAndMinimum, 4) => {
            multiply_tile::<MINIMUM_4, 4, SCALE_AND_MINIMUM>(weights, x, sums);
        }
        (ScaleLayout::ScaleAndMinimum, _) => {
            multiply_tile::<MINIMUM_5, 5, SCALE_AND_MINIMUM>(weights, x, sums);
        }
        (ScaleLayout::SuperWithMinimum, 4) => {
            multiply_tile::<MINIMUM_4, 4, SUPER_WITH_MINIMUM>(weights, x, sums);
        }
        (ScaleLayout::SuperWithMinimum, _) => {
            multiply_tile::<MINIMUM_5, 5, SUPER_WITH_MINIMUM>(weights, x, sums);
        }
        (ScaleLayout::SuperHalves, _) => {
            multiply_tile::<HALVES_6, 6, SUPER_HALVES>(weights, x, sums);
        }
    }
}

/// A block of weights is `READ` lines.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_tile<const KIND: u8, const READ: usize, const LAYOUT: u8>(
    w: Weights<'_>,
    x: Tile<'_>,
    sums: &mut [Floats],
) {
    match x.width {
        1 => multiply_blocks::<KIND, READ, LAYOUT, 1, _>(w, whole::<1>(x), sums),
        2 => multiply_blocks::<KIND, READ, LAYOUT, 2, _>(w, whole::<2>(x), sums),
        3 => multiply_blocks::<KIND, READ, LAYOUT, 3, _>(w, whole::<3>(x), sums),
        TOKENS => multiply_blocks::<KIND, READ, LAYOUT, TOKENS, _>(w, whole::<TOKENS>(x), sums),
        TILE => {
            for (half, sums) in sums.chunks_exact_mut(TOKENS).enumerate() {
                let x = whole::<TILE>(x).map(|record| HalfTile { record, half });
                multiply_blocks::<KIND, READ, LAYOUT, TOKENS, _>(w, x, sums);
            }
        }
        _ => {
            let (first, rest) = sums.split_at_mut(TOKENS);
            multiply_blocks::<KIND, READ, LAYOUT, TOKENS, _>(w, part(x, 0), first);
            match rest.len() {
                1 => multiply_blocks::<KIND, READ, LAYOUT, 1, _>(w, part(x, TOKENS), rest),
                2 => multiply_blocks::<KIND, READ, LAYOUT, 2, _>(w, part(x, TOKENS), rest),
                _ => multiply_blocks::<KIND, READ, LAYOUT, 3, _>(w, part(x, TOKENS), rest),
            }
        }
    }
}

/// The blocks of a tile of `N` tokens.
fn whole<const N: usize>(x: Tile<'_>) -> impl Iterator<Item = &[[u32; N]; RECORD]> {
    x.records.as_chunks::<N>().0.as_chunks().0.iter()
}

/// The blocks of a tile, from token `first` on.
fn part(x: Tile<'_>, first: usize) -> impl Iterator<Item = PartTile<'_>> {
    let width = x.width;
    let records = x.records.chunks_exact(RECORD * width);
    records.map(move |record| PartTile {
        record: &record[first..],
        width,
    })
}

/// How far ahead of the block that is multiplied one is fetched: half a page.
const AHEAD_BYTES: usize = 2048;

/// Goes on with the chains of 16 rows and `N` tokens.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_blocks<
    const KIND: u8,
    const READ: usize,
    const LAYOUT: u8,
    const N: usize,
    X: Words<N>,
>(
    w: Weights<'_>,
    x: impl Iterator<Item = X>,
    sums: &mut [Floats],
) {
    let mut running: Running<N> = load_sums(sums);
    let blocks = w.lines.as_chunks::<READ>().0.iter();
    for (b, (lines, x)) in blocks.zip(x).enumerate() {
        if LAYOUT != UNPACKED {
            prefetch(lines, AHEAD_BYTES);
        }
        let scales = [
            block_scales::<KIND, LAYOUT>(w, b, 0),
            block_scales::<KIND, LAYOUT>(w, b, 1),
        ];
        add_block::<KIND, READ, N, X>(lines, scales, x, &mut running);
    }
    store_sums(running, sums);
}

/// The scales of eight rows: that of block `b`, and its minimum or the scale of its second half
/// where there are such.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn block_scales<const KIND: u8, const LAYOUT: u8>(
    w: Weights<'_>,
    b: usize,
    half: usize,
) -> [__m256; 2] {
    match LAYOUT {
        SCALE => [widen(&w.words[b], half), _mm256_setzero_ps()],
        SCALE_AND_MINIMUM => {
            let words = &w.words.as_chunks::<2>().0[b];
            [widen(&words[0], half), widen(&words[1], half)]
        }
        SUPER_WITH_MINIMUM => {
            let words = &w.words.as_chunks::<{ 2 + SUPER_BLOCKS }>().0[b / SUPER_BLOCKS];
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
            let words = &w.words.as_chunks::<{ 1 + SUPER_BLOCKS }>().0[b / SUPER_BLOCKS];
            let word = _mm256_cvtepu16_epi32(load_halves(&words[1 + b % SUPER_BLOCKS], half));
            let d = widen(&words[0], half);
            let high = _mm256_slli_epi32::<16>(word);
            let scales = [
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<8>(high)),
                _mm256_srai_epi32::<24>(high),
            ];
            scales.map(|scale| _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale)))
        }
        _ => {
            let ChunkScales { scales, mins } = w.scales;
            match KIND {
                HALVES_6 => [
                    load_floats(&scales[2 * b], half),
                    load_floats(&scales[2 * b + 1], half),
                ],
                MINIMUM_4 | MINIMUM_5 => {
                    [load_floats(&scales[b], half), load_floats(&mins[b], half)]
                }
                _ => [load_floats(&scales[b], half), _mm256_setzero_ps()],
            }
        }
    }
}

/// Goes on with the chains over a block. `scales` are those of [`block_scales`] for both registers
/// of rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_block<const KIND: u8, const READ: usize, const N: usize, X: Words<N>>(
    lines: &[Line; READ],
    scales: [[__m256; 2]; 2],
    x: X,
    sums: &mut Running<N>,
) {
    let scale = [scales[0][0], scales[1][0]];
    let second = [scales[0][1], scales[1][1]];
    match KIND {
        CENTRED_8 => {
            let dots = dots_of_bytes::<READ, N, X>(lines, x);
            add_dots(dots, scale, x, sums);
        }
        HALVES_6 => {
            for (half, scale) in [scale, second].into_iter().enumerate() {
                let mut dots = [[_mm256_setzero_si256(); 2]; N];
                for (dots, pairs) in dots.iter_mut().zip(x.words(Record::HALF_PAIRS + half)) {
                    *dots = [broadcast(*pairs); 2];
                }
                for quad in 0..QUADS / 2 {
                    add_quad::<READ, N, X>(lines, half * QUADS / 2 + quad, x, &mut dots);
                }
                add_dots(to_32_bits(dots), scale, x, sums);
            }
        }
        _ => {
            let mut dots = first_dots::<KIND, N, X>(x);
            for quad in 0..QUADS {
                add_quad::<READ, N, X>(lines, quad, x, &mut dots);
            }
            let mut dots = to_32_bits(dots);
            if KIND == MINIMUM_5 {
                let offsets = x.words(Record::offset(Meaning::Centred { shift: 4 }));
                for (dots, offset) in dots.iter_mut().zip(offsets) {
                    *dots = dots.map(|dot| _mm256_sub_epi32(dot, broadcast(*offset)));
                }
            }
            add_dots(dots, scale, x, sums);
        }
    }
    if KIND == MINIMUM_4 || KIND == MINIMUM_5 {
        for (sums, scaled_sum) in sums.iter_mut().zip(x.words(Record::SCALED_SUM)) {
            let scaled_sum = broadcast_float(*scaled_sum);
            for (sum, min) in sums.iter_mut().zip(second) {
                *sum = _mm256_fmadd_ps(min, scaled_sum, *sum);
            }
        }
    }
}

/// The products of a block or half of one: for each token those of both registers of rows.
type Dots<const N: usize> = [[__m256i; 2]; N];

/// What the 16-bit sums of a block begin with.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn first_dots<const KIND: u8, const N: usize, X: Words<N>>(x: X) -> Dots<N> {
    let mut dots = [[_mm256_setzero_si256(); 2]; N];
    if KIND == MINIMUM_4 {
        return dots;
    }
    for (dots, pairs) in dots.iter_mut().zip(x.words(Record::PAIRS)) {
        let eight = broadcast(*pairs);
        let first = if KIND == CENTRED_4 {
            eight
        } else {
            _mm256_add_epi16(eight, eight)
        };
        *dots = [first; 2];
    }
    dots
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_quad<const READ: usize, const N: usize, X: Words<N>>(
    lines: &[Line; READ],
    quad: usize,
    x: X,
    dots: &mut Dots<N>,
) {
    let w = [load_quad(lines, quad, 0), load_quad(lines, quad, 1)];
    for (dots, x) in dots.iter_mut().zip(x.words(quad)) {
        let x = broadcast(*x);
        for (dot, w) in dots.iter_mut().zip(w) {
            *dot = _mm256_add_epi16(*dot, _mm256_maddubs_epi16(w, x));
        }
    }
}

/// Eight rows of a quad of a packed block (4, 5 or 6 lines), or of an unpacked one (8 lines).
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_quad<const READ: usize>(lines: &[Line; READ], quad: usize, half: usize) -> __m256i {
    if READ == QUADS {
        return load(&lines[quad], half);
    }
    let line = load(&lines[quad % 4], half);
    let nibbles = if quad < 4 {
        line
    } else {
        _mm256_srli_epi16::<4>(line)
    };
    let low = _mm256_and_si256(nibbles, _mm256_set1_epi8(0xf));
    match READ {
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

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn to_32_bits<const N: usize>(dots: Dots<N>) -> Dots<N> {
    let ones = _mm256_set1_epi16(1);
    dots.map(|dots| dots.map(|dot| _mm256_madd_epi16(dot, ones)))
}

/// The products of a block of 8-bit values: nibbles are 4-bit values, so that their sums fit into
/// 16 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dots_of_bytes<const READ: usize, const N: usize, X: Words<N>>(
    lines: &[Line; READ],
    x: X,
) -> Dots<N> {
    let nibble = _mm256_set1_epi8(0xf);
    let (one, sixteen) = (_mm256_set1_epi16(1), _mm256_set1_epi16(16));
    let mut dots = [[_mm256_setzero_si256(); 2]; N];
    for half in 0..2 {
        let mut low = [_mm256_setzero_si256(); N];
        let mut high = [_mm256_setzero_si256(); N];
        for (quad, line) in lines.iter().enumerate() {
            let w = load(line, half);
            let w_low = _mm256_and_si256(w, nibble);
            let w_high = _mm256_and_si256(_mm256_srli_epi16::<4>(w), nibble);
            for (n, x) in x.words(quad).iter().enumerate() {
                let x = broadcast(*x);
                low[n] = _mm256_add_epi16(low[n], _mm256_maddubs_epi16(w_low, x));
                high[n] = _mm256_add_epi16(high[n], _mm256_maddubs_epi16(w_high, x));
            }
        }
        let offsets = x.words(Record::offset(Meaning::Centred { shift: 7 }));
        for n in 0..N {
            let low = _mm256_add_epi32(_mm256_madd_epi16(low[n], one), broadcast(offsets[n]));
            dots[n][half] = _mm256_add_epi32(low, _mm256_madd_epi16(high[n], sixteen));
        }
    }
    dots
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_dots<const N: usize, X: Words<N>>(
    dots: Dots<N>,
    scale: [__m256; 2],
    x: X,
    sums: &mut Running<N>,
) {
    let scales = x.words(Record::SCALE);
    for n in 0..N {
        let x_scale = broadcast_float(scales[n]);
        for half in 0..2 {
            let scale = _mm256_mul_ps(scale[half], x_scale);
            sums[n][half] =
                _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[n][half]), scale, sums[n][half]);
        }
    }
}
