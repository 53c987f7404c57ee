//! AVX-512 with VNNI: 16 rows are the lanes of a register, eight tokens the tile.
//!
//! `vpdpbusd` multiplies the four unsigned bytes of every lane with four signed ones that a token
//! broadcasts, and adds them up exactly.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm256_load_si256, _mm256_set_m128i,
    _mm256_storeu_si256, _mm512_abs_ps, _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512,
    _mm512_castsi512_ps, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps, _mm512_cvtph_ps,
    _mm512_cvtps_epi32, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_ps, _mm512_load_si512,
    _mm512_loadu_ps, _mm512_max_epi32, _mm512_mul_ps, _mm512_reduce_max_epi32, _mm512_rol_epi32,
    _mm512_ror_epi32, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_slli_epi32, _mm512_srli_epi16, _mm512_store_ps,
    _mm512_ternarylogic_epi32,
};

use crate::activation::{
    FloatTile, QuantisedBlock, RECORD, Record, TILE, Tile, load_tile_with, scale_of,
};
use crate::lanes::{Floats, Halves, Line};
use crate::pack::coding::{BLOCK, Meaning, QUADS};
use crate::pack::unpack::{CHUNK, ChunkScales, PackedChunk, Unpacked};

use super::avx2::{load_if_whole, pair_sums};
use super::{FloatColumns, Kernels, PAIRS};

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
    multiply_two: Some(|w, x, sums| {
        // SAFETY: as above.
        unsafe { multiply_two(w, x, sums) }
    }),
    stream: |chunk, scratch, x, sums| {
        // SAFETY: as above.
        unsafe { stream(chunk, scratch, x, sums) }
    },
    streamed_tiles: 16,
    multiply_floats: |w, x, sums| {
        // SAFETY: as above.
        unsafe { multiply_floats(w, x, sums) }
    },
    multiply_brains: |w, x, sums| {
        // SAFETY: as above.
        unsafe { with_width!(x.width, multiply_brains[](w, x, sums)) }
    },
    wide: None,
};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn load_tile(rows: &[f32], cols: usize, records: &mut [u32]) {
    if !load_if_whole(rows, cols, records) {
        load_tile_with(rows, cols, records, |x| quantize(x));
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn quantize(x: &[f32; BLOCK]) -> QuantisedBlock {
    let (first, second) = load_block(x);
    let magnitude = |x: __m512| _mm512_castps_si512(_mm512_abs_ps(x));
    let largest = _mm512_max_epi32(magnitude(first), magnitude(second));
    let (scale, inverse) = match scale_of(_mm512_reduce_max_epi32(largest) as u32) {
        Ok(scales) => scales,
        Err(scale) => return QuantisedBlock::zero(scale),
    };
    let inverse = _mm512_set1_ps(inverse);
    // Rounds to the nearest integer, to the even one of two.
    let round = |x: __m512| _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x, inverse)));
    let values = _mm256_set_m128i(round(second), round(first));
    QuantisedBlock {
        quads: words(values),
        scale,
        pair_sums: pair_sums(values),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn unpack(chunk: &PackedChunk<'_>, out: &mut Unpacked) {
    out.read(chunk, |words| widen(words));
}

/// What a tile of `N` tokens is: for every block and word of the record, a word for each token.
type Records<const N: usize> = [[[u32; N]; RECORD]];

fn records<const N: usize>(x: Tile<'_>) -> &Records<N> {
    x.records.as_chunks::<N>().0.as_chunks().0
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply(w: &Unpacked, x: Tile<'_>, sums: &mut [Floats]) {
    match w.coding.meaning {
        Meaning::Centred { .. } => {
            with_width!(x.width, multiply_tile[CENTRED](w, x, sums));
        }
        Meaning::CentredHalves { .. } => {
            with_width!(x.width, multiply_tile[HALVES](w, x, sums));
        }
        Meaning::WithMinimum => {
            with_width!(x.width, multiply_tile[MINIMUM](w, x, sums));
        }
    }
}

/// The variants of [`Meaning`] as constants.
const CENTRED: u8 = 0;
const HALVES: u8 = 1;
const MINIMUM: u8 = 2;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_tile<const MEANING: u8, const N: usize>(
    w: &Unpacked,
    x: Tile<'_>,
    sums: &mut [Floats],
) {
    let mut sums = Sums::<N>::load(sums);
    let offset = offset::<MEANING>(w.coding.meaning);
    for (b, (quads, record)) in w.values.iter().zip(records::<N>(x)).enumerate() {
        let words = |word: usize| &record[word];
        let quad_pair = |_, i: usize| (load(&quads[i]), load(&quads[i + 4]));
        let [dots] = dots::<MEANING, 1, N>(words, offset, quad_pair);
        sums.add::<MEANING>(&w.scales, b, words, dots);
    }
    sums.store();
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_two(w: [&Unpacked; 2], x: Tile<'_>, sums: &mut [[Floats; TILE]; 2]) {
    for half in 0..TILE / HALF {
        match w[0].coding.meaning {
            Meaning::Centred { .. } => multiply_half::<CENTRED>(w, x, half, sums),
            Meaning::CentredHalves { .. } => multiply_half::<HALVES>(w, x, half, sums),
            Meaning::WithMinimum => multiply_half::<MINIMUM>(w, x, half, sums),
        }
    }
}

/// Tokens that are multiplied with two groups of rows at once. Each of their words is loaded once
/// for two products; with one group, loads and not products would be the limit.
const HALF: usize = TILE / 2;

/// Two groups with one half of a tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_half<const MEANING: u8>(
    w: [&Unpacked; 2],
    x: Tile<'_>,
    half: usize,
    [first, second]: &mut [[Floats; TILE]; 2],
) {
    let tokens = HALF * half..HALF * (half + 1);
    let mut first = Sums::<HALF>::load(&mut first[tokens.clone()]);
    let mut second = Sums::<HALF>::load(&mut second[tokens]);
    let offset = offset::<MEANING>(w[0].coding.meaning);
    let quads = w[0].values.iter().zip(&w[1].values);
    for (b, (quads, record)) in quads.zip(records::<TILE>(x)).enumerate() {
        let quads = [quads.0, quads.1];
        // The remainder spares a check, as in `Sums::add`.
        let words = |word: usize| &record[word].as_chunks::<HALF>().0[half % 2];
        let quad_pair = |r: usize, i: usize| (load(&quads[r][i]), load(&quads[r][i + 4]));
        let dots = dots::<MEANING, 2, HALF>(words, offset, quad_pair);
        first.add::<MEANING>(&w[0].scales, b, words, dots[0]);
        second.add::<MEANING>(&w[1].scales, b, words, dots[1]);
    }
    first.store();
    second.store();
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn stream(chunk: &PackedChunk<'_>, scratch: &mut Unpacked, x: Tile<'_>, sums: &mut [Floats]) {
    // The scales of the next chunk follow those of this one.
    prefetch(chunk.scales, chunk.scales.len());
    scratch.scales.read(chunk, |words| widen(words));
    match (chunk.coding.meaning, chunk.coding.bits) {
        (Meaning::Centred { .. }, 4) => {
            with_width!(x.width, stream_tile[CENTRED, 4](chunk, scratch, x, sums));
        }
        (Meaning::Centred { .. }, 5) => {
            with_width!(x.width, stream_tile[CENTRED, 5](chunk, scratch, x, sums));
        }
        (Meaning::Centred { .. }, _) => {
            with_width!(x.width, stream_tile[CENTRED, 8](chunk, scratch, x, sums));
        }
        (Meaning::CentredHalves { .. }, _) => {
            with_width!(x.width, stream_tile[HALVES, 6](chunk, scratch, x, sums));
        }
        (Meaning::WithMinimum, 4) => {
            with_width!(x.width, stream_tile[MINIMUM, 4](chunk, scratch, x, sums));
        }
        (Meaning::WithMinimum, _) => {
            with_width!(x.width, stream_tile[MINIMUM, 5](chunk, scratch, x, sums));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn stream_tile<const MEANING: u8, const BITS: usize, const N: usize>(
    chunk: &PackedChunk<'_>,
    scratch: &Unpacked,
    x: Tile<'_>,
    sums: &mut [Floats],
) {
    let mut sums = Sums::<N>::load(sums);
    let offset = offset::<MEANING>(chunk.coding.meaning);
    let blocks = chunk.values.as_chunks::<BITS>().0;
    for (b, (lines, record)) in blocks.iter().zip(records::<N>(x)).enumerate() {
        prefetch(lines, AHEAD);
        let mut high = HighBits::load(lines);
        let words = |word: usize| &record[word];
        let quad_pair = |_, i: usize| quad_pair(lines, i, &mut high);
        let [dots] = dots::<MEANING, 1, N>(words, offset, quad_pair);
        sums.add::<MEANING>(&scratch.scales, b, words, dots);
    }
    sums.store();
}

/// Lines between the one that is multiplied and the one that is fetched into the second-level
/// cache: the prefetcher of the machine stops at the end of every page. Of 32, 64, 96, 128 and 192,
/// 128 is the fastest on a machine that reads 80 GB/s, and from 64 on they are alike on one that
/// reads 50.
const AHEAD: usize = 128;

/// Asks for what lies `ahead` elements behind the given ones, which may be nothing.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn prefetch<T>(elements: &[T], ahead: usize) {
    const { assert!(64 % size_of::<T>() == 0) };
    for element in elements.iter().step_by(64 / size_of::<T>()) {
        let address = std::ptr::from_ref(element).wrapping_add(ahead);
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
}

/// The bits above the nibbles, turned so that those of the next pair of quads are bits 4 and 5 of
/// every byte.
struct HighBits {
    first: __m512i,
    second: __m512i,
}

impl HighBits {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    fn load<const BITS: usize>(lines: &[Line; BITS]) -> Self {
        match BITS {
            5 => {
                let second = load(&lines[4]);
                let first = _mm512_rol_epi32::<4>(second);
                Self { first, second }
            }
            6 => Self {
                first: _mm512_rol_epi32::<4>(load(&lines[4])),
                second: _mm512_rol_epi32::<4>(load(&lines[5])),
            },
            _ => Self {
                first: _mm512_setzero_si512(),
                second: _mm512_setzero_si512(),
            },
        }
    }
}

/// Quads `i` and `i + 4` of a packed block, taken in order of `i`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn quad_pair<const BITS: usize>(
    lines: &[Line; BITS],
    i: usize,
    high: &mut HighBits,
) -> (__m512i, __m512i) {
    let line = load(&lines[i]);
    if BITS == 8 {
        return (line, load(&lines[i + 4]));
    }
    let nibble = _mm512_set1_epi8(0xf);
    let first = _mm512_and_si512(line, nibble);
    let second = _mm512_and_si512(_mm512_srli_epi16::<4>(line), nibble);
    if BITS == 4 {
        return (first, second);
    }
    let mask = _mm512_set1_epi8(if BITS == 5 { 0x10 } else { 0x30 });
    // a | (b & c)
    let pair = (
        _mm512_ternarylogic_epi32::<0xf8>(first, high.first, mask),
        _mm512_ternarylogic_epi32::<0xf8>(second, high.second, mask),
    );
    (high.first, high.second) = if BITS == 5 {
        (
            _mm512_ror_epi32::<1>(high.first),
            _mm512_ror_epi32::<1>(high.second),
        )
    } else {
        (
            _mm512_ror_epi32::<2>(high.first),
            _mm512_ror_epi32::<2>(high.second),
        )
    };
    pair
}

/// The word of a record that a product begins with; none for weights with a minimum.
fn offset<const MEANING: u8>(meaning: Meaning) -> usize {
    if MEANING == MINIMUM {
        0
    } else {
        Record::offset(meaning)
    }
}

/// The integer products of a block of `R` groups of rows with `N` tokens: of the whole block
/// first, or of its halves. `words` are those of the block's record, `quad_pair` gives quads `i` and
/// `i + 4` of a group.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn dots<'a, const MEANING: u8, const R: usize, const N: usize>(
    words: impl Fn(usize) -> &'a [u32; N],
    offset: usize,
    mut quad_pair: impl FnMut(usize, usize) -> (__m512i, __m512i),
) -> [[[__m512i; N]; 2]; R] {
    let second = usize::from(MEANING == HALVES);
    let mut dots = [[[_mm512_setzero_si512(); N]; 2]; R];
    if MEANING != MINIMUM {
        for half in 0..=second {
            let offsets = words(offset + half).map(|word| broadcast(word));
            for dots in &mut dots {
                dots[half] = offsets;
            }
        }
    }
    for i in 0..QUADS / 2 {
        let mut w = [(_mm512_setzero_si512(), _mm512_setzero_si512()); R];
        for (r, w) in w.iter_mut().enumerate() {
            *w = quad_pair(r, i);
        }
        let (x_first, x_second) = (words(i), words(i + 4));
        for n in 0..N {
            let (x_first, x_second) = (broadcast(x_first[n]), broadcast(x_second[n]));
            for (dots, w) in dots.iter_mut().zip(&w) {
                dots[0][n] = _mm512_dpbusd_epi32(dots[0][n], w.0, x_first);
                dots[second][n] = _mm512_dpbusd_epi32(dots[second][n], w.1, x_second);
            }
        }
    }
    dots
}

/// The running sums of a tile, in registers.
struct Sums<'a, const N: usize> {
    sums: [__m512; N],
    home: &'a mut [Floats; N],
}

impl<'a, const N: usize> Sums<'a, N> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    fn load(home: &'a mut [Floats]) -> Self {
        let home: &mut [Floats; N] = home.try_into().expect("a sum for each token");
        let sums = home.each_ref().map(|home| load_floats(home));
        Self { sums, home }
    }

    /// Goes on with the chain of block `b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    fn add<'w, const MEANING: u8>(
        &mut self,
        w: &ChunkScales,
        b: usize,
        words: impl Fn(usize) -> &'w [u32; N],
        dots: [[__m512i; N]; 2],
    ) {
        // It is below `CHUNK` already. A check would part the loads of the record from the
        // products, which then took them by way of general registers, at half the speed.
        let b = b % CHUNK;
        let scales = words(Record::SCALE);
        if MEANING == HALVES {
            self.add_dots(&w.scales[2 * b], scales, dots[0]);
            self.add_dots(&w.scales[2 * b + 1], scales, dots[1]);
        } else {
            self.add_dots(&w.scales[b], scales, dots[0]);
        }
        if MEANING == MINIMUM {
            let min = load_floats(&w.mins[b]);
            for (sum, word) in self.sums.iter_mut().zip(words(Record::SCALED_SUM)) {
                let scaled_sum = broadcast_float(*word);
                *sum = _mm512_fmadd_ps(min, scaled_sum, *sum);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    fn add_dots(&mut self, scale: &Floats, scales: &[u32; N], dots: [__m512i; N]) {
        let scale = load_floats(scale);
        for (n, sum) in self.sums.iter_mut().enumerate() {
            let scale = _mm512_mul_ps(scale, broadcast_float(scales[n]));
            *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[n]), scale, *sum);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    fn store(self) {
        for (home, sum) in self.home.iter_mut().zip(self.sums) {
            store_floats(sum, home);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_floats(w: FloatColumns<'_>, x: FloatTile<'_>, sums: &mut [Floats]) {
    match w {
        FloatColumns::Single(w) => {
            let read = |line: &Line| _mm512_castsi512_ps(load(line));
            with_width!(x.width, multiply_columns[_](w, x, sums, read));
        }
        FloatColumns::Half(w) => {
            let read = |words: &Halves| _mm512_cvtph_ps(load_halves(words));
            with_width!(x.width, multiply_columns[_](w, x, sums, read));
        }
        FloatColumns::Brain(w) => {
            with_width!(x.width, multiply_pairs[](w, x, sums));
        }
    }
}

/// bfloat16 weights with activations in single precision, in one chain.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_pairs<const N: usize>(w: &[Line], x: FloatTile<'_>, sums: &mut [Floats]) {
    let mut sums = Sums::<N>::load(sums);
    let x: &[[[f32; N]; 2]] = x.columns.as_chunks().0.as_chunks().0;
    for (line, pair) in w.iter().zip(x) {
        prefetch(std::slice::from_ref(line), AHEAD);
        for (w, x) in halves(load(line)).into_iter().zip(pair) {
            for (sum, x) in sums.sums.iter_mut().zip(x) {
                *sum = _mm512_fmadd_ps(w, _mm512_set1_ps(*x), *sum);
            }
        }
    }
    sums.store();
}

/// The numbers of both columns of a pair.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn halves(line: __m512i) -> [__m512; 2] {
    let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    [_mm512_slli_epi32::<16>(line), _mm512_and_si512(line, high)].map(|x| _mm512_castsi512_ps(x))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_columns<W, const N: usize>(
    w: &[W],
    x: FloatTile<'_>,
    sums: &mut [Floats],
    read: impl Fn(&W) -> __m512,
) {
    let mut sums = Sums::<N>::load(sums);
    for (w, x) in w.iter().zip(x.columns.as_chunks::<N>().0) {
        prefetch(std::slice::from_ref(w), AHEAD * (64 / size_of::<W>()));
        let w = read(w);
        for (sum, x) in sums.sums.iter_mut().zip(x) {
            *sum = _mm512_fmadd_ps(w, _mm512_set1_ps(*x), *sum);
        }
    }
    sums.store();
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_brains<const N: usize>(w: &[Line], x: FloatTile<'_>, sums: &mut [Floats]) {
    let mut sums = Sums::<N>::load(sums);
    let x: &[[[[f32; N]; 2]; PAIRS]] = x.columns.as_chunks().0.as_chunks().0.as_chunks().0;
    for (w, x) in w.as_chunks::<PAIRS>().0.iter().zip(x) {
        prefetch(w, AHEAD);
        let (mut even, mut odd) = ([_mm512_setzero_ps(); N], [_mm512_setzero_ps(); N]);
        for (line, [x_even, x_odd]) in w.iter().zip(x) {
            let [w_even, w_odd] = halves(load(line));
            for n in 0..N {
                even[n] = _mm512_fmadd_ps(w_even, _mm512_set1_ps(x_even[n]), even[n]);
                odd[n] = _mm512_fmadd_ps(w_odd, _mm512_set1_ps(x_odd[n]), odd[n]);
            }
        }
        for (sum, (even, odd)) in sums.sums.iter_mut().zip(even.into_iter().zip(odd)) {
            *sum = _mm512_add_ps(*sum, _mm512_add_ps(even, odd));
        }
    }
    sums.store();
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) fn widen(words: &Halves) -> Floats {
    let mut out = Floats::ZERO;
    store_floats(_mm512_cvtph_ps(load_halves(words)), &mut out);
    out
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn broadcast(word: u32) -> __m512i {
    _mm512_set1_epi32(word as i32)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn broadcast_float(word: u32) -> __m512 {
    _mm512_set1_ps(f32::from_bits(word))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn load(line: &Line) -> __m512i {
    // SAFETY: a line is 64 bytes on a multiple of 64.
    unsafe { _mm512_load_si512(std::ptr::from_ref(line).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn load_block(x: &[f32; BLOCK]) -> (__m512, __m512) {
    let (first, second) = x.split_at(BLOCK / 2);
    // SAFETY: a half has 16 floats.
    let first = unsafe { _mm512_loadu_ps(first.as_ptr()) };
    // SAFETY: as above.
    let second = unsafe { _mm512_loadu_ps(second.as_ptr()) };
    (first, second)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn words(values: __m256i) -> [u32; QUADS] {
    let mut words = [0; QUADS];
    // SAFETY: these are 32 bytes.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), values) };
    words
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn load_halves(words: &Halves) -> __m256i {
    // SAFETY: these are 32 bytes on a multiple of 32.
    unsafe { _mm256_load_si256(std::ptr::from_ref(words).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn load_floats(floats: &Floats) -> __m512 {
    // SAFETY: these are 16 floats on a multiple of 64 bytes.
    unsafe { _mm512_load_ps(floats.0.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn store_floats(value: __m512, floats: &mut Floats) {
    // SAFETY: these are 16 floats on a multiple of 64 bytes.
    unsafe { _mm512_store_ps(floats.0.as_mut_ptr(), value) }
}
