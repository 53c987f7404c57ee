//! Quantised weights: `vpmaddubsw`, with the products of a block added in 16 bits.
//!
//! `vpmaddubsw` multiplies unsigned weights with signed activations and saturates at 16 bits; a
//! pair of its products is at most `2·63·127 = 16,002` for 6 bits. The additions that follow wrap
//! around, so only the last sum has to fit. It does if the weights are around zero: a block of 5
//! bits has 16 products in a word, at most `16·16·127 = 32,512`, half a block of 6 bits eight,
//! `8·32·127`. So the sums begin with `-2^(bits - 1)` times those of the activations. Of 8 bits only a
//! pair fits, with magnitudes for unsigned weights: `2·128·127 = 32,512`. It is added in 32 bits.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_cvtepi32_ps,
    _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_sub_epi32,
    _mm256_xor_si256,
};
use std::hint::black_box;

use super::TOKENS;
use super::packed::{
    AHEAD_BYTES, SCALE, SCALE_AND_MINIMUM, SUPER_HALVES, SUPER_WITH_MINIMUM, load_quad,
    packed_scales, unpack_block,
};
use super::registers::{
    Running, broadcast, broadcast_float, load, load_floats, load_sums, prefetch, store_sums,
};
use crate::activation::{RECORD, Record, TILE, Tile};
use crate::lanes::{Floats, Line};
use crate::pack::coding::{Meaning, QUADS, ScaleLayout};
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

// What the integers are; see `Meaning`.
const CENTRED_4: u8 = 0;
const CENTRED_5: u8 = 1;
const CENTRED_8: u8 = 2;
const HALVES_6: u8 = 3;
const MINIMUM_4: u8 = 4;
const MINIMUM_5: u8 = 5;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply(w: &Unpacked, x: Tile<'_>, sums: &mut [Floats]) {
    match (w.coding.meaning, w.coding.bits) {
        (Meaning::Centred { .. }, 4) => multiply_tile::<CENTRED_4>(w, x, sums),
        (Meaning::Centred { .. }, 5) => multiply_tile::<CENTRED_5>(w, x, sums),
        (Meaning::Centred { .. }, _) => multiply_tile::<CENTRED_8>(w, x, sums),
        (Meaning::CentredHalves { .. }, _) => multiply_tile::<HALVES_6>(w, x, sums),
        (Meaning::WithMinimum, 4) => multiply_tile::<MINIMUM_4>(w, x, sums),
        (Meaning::WithMinimum, _) => multiply_tile::<MINIMUM_5>(w, x, sums),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn stream(chunk: &PackedChunk<'_>, x: Tile<'_>, sums: &mut [Floats]) {
    match (chunk.coding.scales, chunk.coding.bits) {
        (ScaleLayout::Scale, 4) => stream_tile::<CENTRED_4, 4, SCALE>(chunk, x, sums),
        (ScaleLayout::Scale, 5) => stream_tile::<CENTRED_5, 5, SCALE>(chunk, x, sums),
        (ScaleLayout::Scale, _) => stream_tile::<CENTRED_8, 8, SCALE>(chunk, x, sums),
        (ScaleLayout::ScaleAndMinimum, 4) => {
            stream_tile::<MINIMUM_4, 4, SCALE_AND_MINIMUM>(chunk, x, sums);
        }
        (ScaleLayout::ScaleAndMinimum, _) => {
            stream_tile::<MINIMUM_5, 5, SCALE_AND_MINIMUM>(chunk, x, sums);
        }
        (ScaleLayout::SuperWithMinimum, 4) => {
            stream_tile::<MINIMUM_4, 4, SUPER_WITH_MINIMUM>(chunk, x, sums);
        }
        (ScaleLayout::SuperWithMinimum, _) => {
            stream_tile::<MINIMUM_5, 5, SUPER_WITH_MINIMUM>(chunk, x, sums);
        }
        (ScaleLayout::SuperHalves, _) => stream_tile::<HALVES_6, 6, SUPER_HALVES>(chunk, x, sums),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn stream_tile<const KIND: u8, const BITS: usize, const LAYOUT: u8>(
    chunk: &PackedChunk<'_>,
    x: Tile<'_>,
    sums: &mut [Floats],
) {
    match x.width {
        1 => stream_token::<KIND, BITS, LAYOUT>(chunk, whole(x), sums),
        2 => stream_blocks::<KIND, BITS, LAYOUT, 2, 0, _, _>(chunk, parts::<2>(x), sums),
        3 => stream_blocks::<KIND, BITS, LAYOUT, 3, 0, _, _>(chunk, parts::<3>(x), sums),
        TOKENS => {
            stream_blocks::<KIND, BITS, LAYOUT, TOKENS, 0, _, _>(chunk, parts::<TOKENS>(x), sums);
        }
        5 => stream_blocks::<KIND, BITS, LAYOUT, TOKENS, 1, _, _>(chunk, parts::<TOKENS>(x), sums),
        6 => stream_blocks::<KIND, BITS, LAYOUT, TOKENS, 2, _, _>(chunk, parts::<TOKENS>(x), sums),
        7 => stream_blocks::<KIND, BITS, LAYOUT, TOKENS, 3, _, _>(chunk, parts::<TOKENS>(x), sums),
        _ => {
            let halves = half_tile(x, 0).zip(half_tile(x, 1));
            stream_blocks::<KIND, BITS, LAYOUT, TOKENS, TOKENS, _, _>(chunk, halves, sums);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_tile<const KIND: u8>(w: &Unpacked, x: Tile<'_>, sums: &mut [Floats]) {
    match x.width {
        1 => multiply_blocks::<KIND, 1, _>(w, whole::<1>(x), sums),
        2 => multiply_blocks::<KIND, 2, _>(w, whole::<2>(x), sums),
        3 => multiply_blocks::<KIND, 3, _>(w, whole::<3>(x), sums),
        TOKENS => multiply_blocks::<KIND, TOKENS, _>(w, whole::<TOKENS>(x), sums),
        TILE => {
            for (half, sums) in sums.chunks_exact_mut(TOKENS).enumerate() {
                multiply_blocks::<KIND, TOKENS, _>(w, half_tile(x, half), sums);
            }
        }
        _ => {
            let (first, rest) = sums.split_at_mut(TOKENS);
            multiply_blocks::<KIND, TOKENS, _>(w, part(x, 0), first);
            match rest.len() {
                1 => multiply_blocks::<KIND, 1, _>(w, part(x, TOKENS), rest),
                2 => multiply_blocks::<KIND, 2, _>(w, part(x, TOKENS), rest),
                _ => multiply_blocks::<KIND, 3, _>(w, part(x, TOKENS), rest),
            }
        }
    }
}

/// The blocks of a tile of `N` tokens.
fn whole<const N: usize>(x: Tile<'_>) -> impl Iterator<Item = &[[u32; N]; RECORD]> {
    x.records.as_chunks::<N>().0.as_chunks().0.iter()
}

/// The blocks of half of a full tile.
fn half_tile(x: Tile<'_>, half: usize) -> impl Iterator<Item = HalfTile<'_>> {
    whole::<TILE>(x).map(move |record| HalfTile { record, half })
}

/// The blocks of a tile: those of its first `N` tokens, and those of the rest.
fn parts<const N: usize>(x: Tile<'_>) -> impl Iterator<Item = (PartTile<'_>, PartTile<'_>)> {
    part(x, 0).zip(part(x, N.min(x.width)))
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

/// Goes on with the chains of 16 rows and a token over packed blocks, which are unpacked in
/// registers.
#[target_feature(enable = "avx2,fma,f16c")]
fn stream_token<'a, const KIND: u8, const BITS: usize, const LAYOUT: u8>(
    chunk: &PackedChunk<'_>,
    x: impl Iterator<Item = &'a [[u32; 1]; RECORD]>,
    sums: &mut [Floats],
) {
    let mut running: Running<1> = load_sums(sums);
    let blocks = chunk.values.as_chunks::<BITS>().0.iter();
    for (b, (lines, x)) in blocks.zip(x).enumerate() {
        prefetch(lines, AHEAD_BYTES);
        let scales = both_packed_scales::<LAYOUT>(chunk, b);
        let quad = |quad| [load_quad(lines, quad, 0), load_quad(lines, quad, 1)];
        match KIND {
            CENTRED_8 => {
                let dots = dots_of_bytes(lines, x);
                add_dots(dots, scale_of_both(scales, 0), x, &mut running);
            }
            HALVES_6 => {
                for half in 0..2 {
                    let mut dots = first_dots_of_half(x, half);
                    for i in half * QUADS / 2..(half + 1) * QUADS / 2 {
                        add_quad(quad(i), x.words(i), &mut dots);
                    }
                    add_dots(
                        to_32_bits(dots),
                        scale_of_both(scales, half),
                        x,
                        &mut running,
                    );
                }
            }
            _ => {
                let mut dots = first_dots::<KIND, 1, _>(x);
                for i in 0..QUADS {
                    add_quad(quad(i), x.words(i), &mut dots);
                }
                add_block::<KIND, 1, _>(dots, scales, x, &mut running);
            }
        }
    }
    store_sums(running, sums);
}

/// Goes on with the chains of 16 rows and `N + M` tokens over packed blocks. Each is unpacked into
/// the first-level cache while the one before is multiplied.
#[target_feature(enable = "avx2,fma,f16c")]
fn stream_blocks<
    const KIND: u8,
    const BITS: usize,
    const LAYOUT: u8,
    const N: usize,
    const M: usize,
    X: Words<N>,
    Y: Words<M>,
>(
    chunk: &PackedChunk<'_>,
    x: impl Iterator<Item = (X, Y)>,
    sums: &mut [Floats],
) {
    let quads = black_box(QUADS);
    let (first, rest) = sums.split_at_mut(N);
    let mut running: Running<N> = load_sums(first);
    let mut running_rest: Running<M> = load_sums(rest);
    let mut unpacked = [Line::ZERO; QUADS];
    let blocks = chunk.values.as_chunks::<BITS>().0.iter();
    for (b, (lines, (x, x_rest))) in blocks.zip(x).enumerate() {
        prefetch(lines, AHEAD_BYTES);
        unpack_block(lines, &mut unpacked);
        let lines = &unpacked[..quads];
        let scales = both_packed_scales::<LAYOUT>(chunk, b);
        add_lines::<KIND, N, X>(lines, scales, x, &mut running);
        if M > 0 {
            add_lines::<KIND, M, Y>(lines, scales, x_rest, &mut running_rest);
        }
    }
    store_sums(running, first);
    store_sums(running_rest, rest);
}

/// Goes on with the chains of 16 rows and `N` tokens over unpacked blocks.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_blocks<const KIND: u8, const N: usize, X: Words<N>>(
    w: &Unpacked,
    x: impl Iterator<Item = X>,
    sums: &mut [Floats],
) {
    let quads = black_box(QUADS);
    let lines = w.values.as_flattened();
    let mut running: Running<N> = load_sums(sums);
    for (b, x) in x.enumerate() {
        let scales = [
            unpacked_scales::<KIND>(&w.scales, b, 0),
            unpacked_scales::<KIND>(&w.scales, b, 1),
        ];
        let lines = &lines[b * QUADS..][..quads];
        add_lines::<KIND, N, X>(lines, scales, x, &mut running);
    }
    store_sums(running, sums);
}

/// Goes on with the chains over the eight lines of an unpacked block.
///
/// Their number must be unknown to the compiler: unrolled, it would add the quads of one token
/// after the other and read the weights anew for each.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_lines<const KIND: u8, const N: usize, X: Words<N>>(
    lines: &[Line],
    scales: Scales,
    x: X,
    sums: &mut Running<N>,
) {
    match KIND {
        CENTRED_8 => {
            let dots = dots_of_bytes(lines, x);
            add_dots(dots, scale_of_both(scales, 0), x, sums);
        }
        HALVES_6 => {
            for (half, lines) in lines.chunks(lines.len() / 2).enumerate() {
                let mut dots = first_dots_of_half(x, half);
                for (i, line) in lines.iter().enumerate() {
                    let w = [load(line, 0), load(line, 1)];
                    add_quad(w, x.words(half * QUADS / 2 + i), &mut dots);
                }
                add_dots(to_32_bits(dots), scale_of_both(scales, half), x, sums);
            }
        }
        _ => {
            let mut dots = first_dots::<KIND, N, X>(x);
            for (quad, line) in lines.iter().enumerate() {
                let w = [load(line, 0), load(line, 1)];
                add_quad(w, x.words(quad), &mut dots);
            }
            add_block::<KIND, N, X>(dots, scales, x, sums);
        }
    }
}

/// Two scales for each register of rows; see [`packed_scales`].
type Scales = [[__m256; 2]; 2];

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn both_packed_scales<const LAYOUT: u8>(chunk: &PackedChunk<'_>, b: usize) -> Scales {
    [
        packed_scales::<LAYOUT>(chunk.scales, b, 0),
        packed_scales::<LAYOUT>(chunk.scales, b, 1),
    ]
}

/// Scale `i` for both registers of rows.
fn scale_of_both(scales: Scales, i: usize) -> [__m256; 2] {
    [scales[0][i], scales[1][i]]
}

/// The scales of block `b` of an unpacked chunk, as [`packed_scales`] gives them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn unpacked_scales<const KIND: u8>(w: &ChunkScales, b: usize, half: usize) -> [__m256; 2] {
    let ChunkScales { scales, mins } = w;
    match KIND {
        HALVES_6 => [
            load_floats(&scales[2 * b], half),
            load_floats(&scales[2 * b + 1], half),
        ],
        MINIMUM_4 | MINIMUM_5 => [load_floats(&scales[b], half), load_floats(&mins[b], half)],
        _ => [load_floats(&scales[b], half), _mm256_setzero_ps()],
    }
}

/// Goes on with the chains over a block with one scale.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_block<const KIND: u8, const N: usize, X: Words<N>>(
    dots: Dots<N>,
    scales: Scales,
    x: X,
    sums: &mut Running<N>,
) {
    let mut dots = to_32_bits(dots);
    if KIND == MINIMUM_5 {
        let offsets = x.words(Record::offset(Meaning::Centred { shift: 4 }));
        for (dots, offset) in dots.iter_mut().zip(offsets) {
            for dot in dots {
                *dot = _mm256_sub_epi32(*dot, broadcast(*offset));
            }
        }
    }
    add_dots(dots, scale_of_both(scales, 0), x, sums);
    if KIND == MINIMUM_4 || KIND == MINIMUM_5 {
        let mins = scale_of_both(scales, 1);
        for (sums, scaled_sum) in sums.iter_mut().zip(x.words(Record::SCALED_SUM)) {
            let scaled_sum = broadcast_float(*scaled_sum);
            for (sum, min) in sums.iter_mut().zip(mins) {
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

/// What the 16-bit sums of half a block begin with.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn first_dots_of_half<const N: usize, X: Words<N>>(x: X, half: usize) -> Dots<N> {
    let mut dots = [[_mm256_setzero_si256(); 2]; N];
    for (dots, pairs) in dots.iter_mut().zip(x.words(Record::HALF_PAIRS + half)) {
        *dots = [broadcast(*pairs); 2];
    }
    dots
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_quad<const N: usize>(w: [__m256i; 2], x: &[u32; N], dots: &mut Dots<N>) {
    for (dots, x) in dots.iter_mut().zip(x) {
        let x = broadcast(*x);
        for (dot, w) in dots.iter_mut().zip(w) {
            *dot = _mm256_add_epi16(*dot, _mm256_maddubs_epi16(w, x));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn to_32_bits<const N: usize>(dots: Dots<N>) -> Dots<N> {
    let ones = _mm256_set1_epi16(1);
    dots.map(|dots| dots.map(|dot| _mm256_madd_epi16(dot, ones)))
}

/// The products of a block of 8-bit values: their magnitudes times the activations with their
/// signs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dots_of_bytes<const N: usize, X: Words<N>>(lines: &[Line], x: X) -> Dots<N> {
    let (middle, one) = (_mm256_set1_epi8(-128), _mm256_set1_epi16(1));
    let mut dots = [[_mm256_setzero_si256(); 2]; N];
    for (quad, line) in lines.iter().enumerate() {
        let w = [0, 1].map(|half| _mm256_xor_si256(load(line, half), middle));
        let magnitudes = w.map(|w| _mm256_abs_epi8(w));
        for (dots, x) in dots.iter_mut().zip(x.words(quad)) {
            let x = broadcast(*x);
            for half in 0..2 {
                let signed = _mm256_sign_epi8(x, w[half]);
                let pairs = _mm256_maddubs_epi16(magnitudes[half], signed);
                dots[half] = _mm256_add_epi32(dots[half], _mm256_madd_epi16(pairs, one));
            }
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
