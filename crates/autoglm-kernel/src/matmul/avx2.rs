//! AVX2: eight rows are the lanes of a register, four tokens are multiplied at once.
//!
//! `vpmaddubsw` multiplies unsigned with signed bytes but adds pairs of products with saturation
//! at 16 bits. So the sums go over to 32 bits before they can reach it, and 8-bit values are cut
//! into nibbles first.

use std::arch::x86_64::*;

use crate::activation::{
    FloatTile, QuantisedBlock, RECORD, Record, Tile, load_tile_with, scale_of,
};
use crate::lanes::{Floats, Halves, LANES, Line};
use crate::pack::coding::{BLOCK, Meaning, QUADS};
use crate::pack::unpack::{PackedChunk, Unpacked};

use super::{FloatColumns, Kernels};

pub(super) const KERNELS: Kernels = Kernels {
    load_tile: |rows, cols, records| {
        // SAFETY: `Kernels::of` has made sure of the target features.
        unsafe { load_tile(rows, cols, records) }
    },
    unpack: |chunk, out| {
        // SAFETY: as above.
        unsafe { unpack(chunk, out) }
    },
    multiply: |w, x, sums| {
        // SAFETY: as above.
        unsafe { multiply(w, x, sums) }
    },
    stream: |chunk, scratch, x, sums| {
        // SAFETY: as above.
        unsafe { unpack(chunk, scratch) }
        // SAFETY: as above.
        unsafe { multiply(scratch, x, sums) }
    },
    multiply_floats: |w, x, sums| {
        // SAFETY: as above.
        unsafe { multiply_floats(w, x, sums) }
    },
};

/// Tokens that are multiplied at once: with four running sums of each kind and the weights, the 16
/// registers are in use.
const TOKENS: usize = 4;
/// Rows in a register.
const ROWS: usize = 8;

#[target_feature(enable = "avx2,fma,f16c")]
fn load_tile(rows: &[f32], cols: usize, records: &mut [u32]) {
    load_tile_with(rows, cols, records, |x| quantize(x));
}

#[target_feature(enable = "avx2,fma,f16c")]
fn unpack(chunk: &PackedChunk<'_>, out: &mut Unpacked) {
    out.read(chunk, |words| widen(words));
}

#[target_feature(enable = "avx2,fma,f16c")]
fn multiply(w: &Unpacked, x: Tile<'_>, sums: &mut [Floats]) {
    for first in (0..x.width).step_by(TOKENS) {
        let part = Part { first, x };
        let sums = &mut sums[first..x.width.min(first + TOKENS)];
        match sums.len() {
            1 => multiply_part::<1>(w, part, sums),
            2 => multiply_part::<2>(w, part, sums),
            3 => multiply_part::<3>(w, part, sums),
            _ => multiply_part::<TOKENS>(w, part, sums),
        }
    }
}

/// Some neighbouring tokens of a tile.
#[derive(Clone, Copy)]
struct Part<'a> {
    first: usize,
    x: Tile<'a>,
}

impl<'a> Part<'a> {
    /// The blocks of the tile.
    fn records(self) -> impl Iterator<Item = PartRecord<'a>> {
        let Tile { width, records } = self.x;
        let first = self.first;
        records
            .chunks_exact(RECORD * width)
            .map(move |record| PartRecord {
                words: &record[first..],
                width,
            })
    }
}

/// A block of some tokens.
#[derive(Clone, Copy)]
struct PartRecord<'a> {
    words: &'a [u32],
    width: usize,
}

impl PartRecord<'_> {
    /// Word `word` of each token.
    #[inline(always)]
    fn words<const N: usize>(&self, word: usize) -> &[u32; N] {
        let words = &self.words[word * self.width..];
        words.first_chunk().expect("a word for each token")
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_part<const N: usize>(w: &Unpacked, x: Part<'_>, sums: &mut [Floats]) {
    match w.coding.bits {
        4 => multiply_values::<4, N>(w, x, sums),
        5 => multiply_values::<5, N>(w, x, sums),
        6 => multiply_values::<6, N>(w, x, sums),
        _ => multiply_values::<8, N>(w, x, sums),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_values<const BITS: usize, const N: usize>(
    w: &Unpacked,
    x: Part<'_>,
    sums: &mut [Floats],
) {
    for half in 0..LANES / ROWS {
        let mut running = [_mm256_setzero_ps(); N];
        for (running, sums) in running.iter_mut().zip(&*sums) {
            *running = load_floats(sums, half);
        }
        for (b, record) in x.records().enumerate() {
            add_block::<BITS, N>(w, (b, half), record, &mut running);
        }
        for (running, sums) in running.into_iter().zip(&mut *sums) {
            store_floats(running, sums, half);
        }
    }
}

/// Goes on with the chains of eight rows and `N` tokens over block `b`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_block<const BITS: usize, const N: usize>(
    w: &Unpacked,
    (b, half): (usize, usize),
    x: PartRecord<'_>,
    sums: &mut [__m256; N],
) {
    let dots = |first: usize, len: usize| {
        let quads = &w.values[b][first..first + len];
        dots::<BITS, N>(quads, half, |i| x.words(first + i))
    };
    let scale = |i: usize| load_floats(&w.scales.scales[i], half);
    let meaning = w.coding.meaning;
    match meaning {
        Meaning::Centred { .. } => {
            let offsets = x.words(Record::offset(meaning));
            add_dots(scale(b), x, offsets, dots(0, QUADS), sums);
        }
        Meaning::CentredHalves { .. } => {
            for i in 0..2 {
                let offsets = x.words(Record::offset(meaning) + i);
                let dots = dots(i * QUADS / 2, QUADS / 2);
                add_dots(scale(2 * b + i), x, offsets, dots, sums);
            }
        }
        Meaning::WithMinimum => {
            add_dots(scale(b), x, &[0; N], dots(0, QUADS), sums);
            let min = load_floats(&w.scales.mins[b], half);
            for (sum, word) in sums.iter_mut().zip(x.words::<N>(Record::SCALED_SUM)) {
                *sum = _mm256_fmadd_ps(min, broadcast_float(*word), *sum);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_dots<const N: usize>(
    scale: __m256,
    x: PartRecord<'_>,
    offsets: &[u32; N],
    dots: [__m256i; N],
    sums: &mut [__m256; N],
) {
    let scales = x.words::<N>(Record::SCALE);
    for n in 0..N {
        let scale = _mm256_mul_ps(scale, broadcast_float(scales[n]));
        let dot = _mm256_add_epi32(dots[n], broadcast(offsets[n]));
        sums[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sums[n]);
    }
}

/// The integer products of the quads of eight rows with `N` tokens.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dots<'a, const BITS: usize, const N: usize>(
    quads: &[Line],
    half: usize,
    x: impl Fn(usize) -> &'a [u32; N],
) -> [__m256i; N] {
    if BITS == 8 {
        return dots_by_nibbles(quads, half, x);
    }
    // A pair of products is at most 2·127·(2^BITS - 1), and 16 bits hold 32,767: eight quads of
    // 4 bits, four of 5 bits, two of 6 bits.
    let quads_to_16_bits = 1 << (7 - BITS);
    let ones = _mm256_set1_epi16(1);
    let mut dots = [_mm256_setzero_si256(); N];
    for (i, quads) in quads.chunks(quads_to_16_bits).enumerate() {
        let mut narrow = [_mm256_setzero_si256(); N];
        for (j, quad) in quads.iter().enumerate() {
            let w = load(quad, half);
            for (narrow, x) in narrow.iter_mut().zip(x(i * quads_to_16_bits + j)) {
                *narrow = _mm256_add_epi16(*narrow, _mm256_maddubs_epi16(w, broadcast(*x)));
            }
        }
        for (dot, narrow) in dots.iter_mut().zip(narrow) {
            *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(narrow, ones));
        }
    }
    dots
}

/// The same for 8-bit values: nibbles are 4-bit values, so that eight quads fit into 16 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dots_by_nibbles<'a, const N: usize>(
    quads: &[Line],
    half: usize,
    x: impl Fn(usize) -> &'a [u32; N],
) -> [__m256i; N] {
    let nibble = _mm256_set1_epi8(0xf);
    let mut low = [_mm256_setzero_si256(); N];
    let mut high = [_mm256_setzero_si256(); N];
    for (i, quad) in quads.iter().enumerate() {
        let w = load(quad, half);
        let w_low = _mm256_and_si256(w, nibble);
        let w_high = _mm256_and_si256(_mm256_srli_epi16::<4>(w), nibble);
        for (n, x) in x(i).iter().enumerate() {
            let x = broadcast(*x);
            low[n] = _mm256_add_epi16(low[n], _mm256_maddubs_epi16(w_low, x));
            high[n] = _mm256_add_epi16(high[n], _mm256_maddubs_epi16(w_high, x));
        }
    }
    let (one, sixteen) = (_mm256_set1_epi16(1), _mm256_set1_epi16(16));
    for (low, high) in low.iter_mut().zip(high) {
        let high = _mm256_madd_epi16(high, sixteen);
        *low = _mm256_add_epi32(_mm256_madd_epi16(*low, one), high);
    }
    low
}

#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_floats(w: FloatColumns<'_>, x: FloatTile<'_>, sums: &mut [Floats]) {
    match w {
        FloatColumns::Single(w) => {
            let read = |line: &Line, half| _mm256_castsi256_ps(load(line, half));
            with_width!(x.width, multiply_columns[_](w, x, sums, read));
        }
        FloatColumns::Half(w) => {
            let read = |words: &Halves, half| _mm256_cvtph_ps(load_halves(words, half));
            with_width!(x.width, multiply_columns[_](w, x, sums, read));
        }
        FloatColumns::Brain(w) => {
            let read = |words: &Halves, half| {
                let wide = _mm256_cvtepu16_epi32(load_halves(words, half));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            };
            with_width!(x.width, multiply_columns[_](w, x, sums, read));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_columns<W, const N: usize>(
    w: &[W],
    x: FloatTile<'_>,
    sums: &mut [Floats],
    read: impl Fn(&W, usize) -> __m256,
) {
    for half in 0..LANES / ROWS {
        let mut running = [_mm256_setzero_ps(); N];
        for (w, x) in w.iter().zip(x.columns.as_chunks::<N>().0) {
            let w = read(w, half);
            for (running, x) in running.iter_mut().zip(x) {
                *running = _mm256_fmadd_ps(w, _mm256_set1_ps(*x), *running);
            }
        }
        for (running, sums) in running.into_iter().zip(&mut *sums) {
            store_floats(running, sums, half);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn quantize(x: &[f32; BLOCK]) -> QuantisedBlock {
    let x = load_block(x);
    let magnitude = |x: __m256| {
        let mask = _mm256_set1_epi32(i32::MAX);
        _mm256_and_si256(_mm256_castps_si256(x), mask)
    };
    let largest = x.map(magnitude);
    let largest = _mm256_max_epi32(
        _mm256_max_epi32(largest[0], largest[1]),
        _mm256_max_epi32(largest[2], largest[3]),
    );
    let largest = words(largest).into_iter().fold(0, u32::max);
    let (scale, inverse) = match scale_of(largest) {
        Ok(scales) => scales,
        Err(scale) => return QuantisedBlock::zero(scale),
    };
    let inverse = _mm256_set1_ps(inverse);
    // Rounds to the nearest integer, to the even one of two.
    let x = x.map(|x| _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse)));
    // Packing works on 128-bit halves: afterwards lane `2i + j` of the eight holds quad `j` of
    // register `i` for even quads, see the permutation.
    let narrow = _mm256_packs_epi16(
        _mm256_packs_epi32(x[0], x[1]),
        _mm256_packs_epi32(x[2], x[3]),
    );
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let values = _mm256_permutevar8x32_epi32(narrow, order);
    let sum = |a: __m256i, b: __m256i| {
        let words = words(_mm256_add_epi32(a, b));
        words.into_iter().fold(0, |sum, word| sum + word as i32)
    };
    QuantisedBlock {
        quads: words(values),
        scale,
        half_sums: [sum(x[0], x[1]), sum(x[2], x[3])],
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(words: &Halves) -> Floats {
    let mut out = Floats::ZERO;
    for half in 0..LANES / ROWS {
        store_floats(_mm256_cvtph_ps(load_halves(words, half)), &mut out, half);
    }
    out
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn broadcast(word: u32) -> __m256i {
    _mm256_set1_epi32(word as i32)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn broadcast_float(word: u32) -> __m256 {
    _mm256_set1_ps(f32::from_bits(word))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load(line: &Line, half: usize) -> __m256i {
    let bytes = &line.0.as_chunks::<32>().0[half];
    // SAFETY: these are 32 bytes on a multiple of 32, as a line lies on one of 64.
    unsafe { _mm256_load_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_halves(words: &Halves, half: usize) -> __m128i {
    let words = &words.0.as_chunks::<ROWS>().0[half];
    // SAFETY: these are 16 bytes.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_floats(floats: &Floats, half: usize) -> __m256 {
    let floats = &floats.0.as_chunks::<ROWS>().0[half];
    // SAFETY: these are eight floats.
    unsafe { _mm256_loadu_ps(floats.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store_floats(value: __m256, floats: &mut Floats, half: usize) {
    let floats = &mut floats.0.as_chunks_mut::<ROWS>().0[half];
    // SAFETY: these are eight floats.
    unsafe { _mm256_storeu_ps(floats.as_mut_ptr(), value) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_block(x: &[f32; BLOCK]) -> [__m256; 4] {
    let mut registers = [_mm256_setzero_ps(); 4];
    for (register, x) in registers.iter_mut().zip(x.as_chunks::<8>().0) {
        // SAFETY: these are eight floats.
        *register = unsafe { _mm256_loadu_ps(x.as_ptr()) };
    }
    registers
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn words(values: __m256i) -> [u32; QUADS] {
    let mut words = [0; QUADS];
    // SAFETY: these are 32 bytes.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), values) };
    words
}
