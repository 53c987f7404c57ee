//! A whole tile of activations as 8-bit integers, a block of all its rows at once: behind the
//! quads, a lane is a row, so that scales and sums are computed for all rows and stored as they are.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_andnot_ps, _mm256_andnot_si256,
    _mm256_blendv_ps, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmpgt_epi32,
    _mm256_cvtepi32_ps, _mm256_div_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_max_epi32,
    _mm256_mul_ps, _mm256_mullo_epi16, _mm256_permute2x128_si256, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256, _mm256_slli_epi32,
    _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_epi32, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};

use crate::activation::{LEAST_MAGNITUDE, RECORD, Record, TILE};
use crate::pack::coding::{BLOCK, QUADS};

use super::quantize::{load_block, magnitudes, rounded};

const _: () = assert!(TILE == 8 && QUADS == 8);

/// One word of every row.
type Word = [u32; TILE];

/// Quantises the rows of a whole tile, whose columns are whole blocks.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_whole_tile(rows: &[f32], cols: usize, records: &mut [u32]) {
    let records: &mut [[Word; RECORD]] = records.as_chunks_mut().0.as_chunks_mut().0;
    let rows: [&[[f32; BLOCK]]; TILE] =
        std::array::from_fn(|n| rows[n * cols..][..cols].as_chunks().0);
    for (b, record) in records.iter_mut().enumerate() {
        load_record(rows.map(|row| &row[b]), record);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_record(rows: [&[f32; BLOCK]; TILE], record: &mut [Word; RECORD]) {
    let largest = largest(rows.map(|row| magnitudes(&load_block(row))));
    let (scale, inverse, is_wild) = scales(largest);
    let mut inverses = [0.0_f32; TILE];
    // SAFETY: these are eight floats.
    unsafe { _mm256_storeu_ps(inverses.as_mut_ptr(), inverse) };
    let mut values = [_mm256_setzero_si256(); TILE];
    for ((values, row), inverse) in values.iter_mut().zip(rows).zip(inverses) {
        *values = rounded(load_block(row), _mm256_set1_ps(inverse));
    }
    let quads = transpose(values).map(|quads| _mm256_andnot_si256(is_wild, quads));
    for (word, quads) in record.iter_mut().zip(quads) {
        store(quads, word);
    }
    store(_mm256_castps_si256(scale), &mut record[Record::SCALE]);
    store_sums(&quads, scale, record);
}

/// The words that are made of the sums of the integers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store_sums(quads: &[__m256i; QUADS], scale: __m256, record: &mut [Word; RECORD]) {
    let one = _mm256_set1_epi8(1);
    let pair_sums = |quads: &[__m256i]| {
        let pairs = quads.iter().map(|quad| _mm256_maddubs_epi16(one, *quad));
        pairs.fold(_mm256_setzero_si256(), |sum, pairs| {
            _mm256_add_epi16(sum, pairs)
        })
    };
    let (first, last) = quads.split_at(QUADS / 2);
    let pairs = [pair_sums(first), pair_sums(last)];
    let halves = pairs.map(|pairs| _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    let sum = _mm256_add_epi32(halves[0], halves[1]);
    let scaled = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sum));
    store(_mm256_castps_si256(scaled), &mut record[Record::SCALED_SUM]);
    for (half, (pairs, sum)) in pairs.into_iter().zip(halves).enumerate() {
        let [offsets, both] = [Record::HALF_OFFSETS, Record::HALF_PAIRS].map(|word| word + half);
        store(minus(_mm256_slli_epi32::<5>(sum)), &mut record[offsets]);
        store(
            _mm256_mullo_epi16(pairs, _mm256_set1_epi16(-32)),
            &mut record[both],
        );
    }
    let [by_8, by_16, by_128] = Record::OFFSETS;
    store(minus(_mm256_slli_epi32::<3>(sum)), &mut record[by_8]);
    store(minus(_mm256_slli_epi32::<4>(sum)), &mut record[by_16]);
    store(minus(_mm256_slli_epi32::<7>(sum)), &mut record[by_128]);
    let both = _mm256_add_epi16(pairs[0], pairs[1]);
    store(
        _mm256_mullo_epi16(both, _mm256_set1_epi16(-8)),
        &mut record[Record::PAIRS],
    );
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn minus(x: __m256i) -> __m256i {
    _mm256_sub_epi32(_mm256_setzero_si256(), x)
}

/// The scales of the rows and their inverses from the largest magnitudes, as
/// [`crate::activation::scale_of`] has them, and which rows are not all finite. The inverse is 0 in a
/// row of tiny numbers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scales(largest: __m256i) -> (__m256, __m256, __m256i) {
    let limit = _mm256_set1_ps(127.0);
    let infinite = f32::INFINITY.to_bits() as i32;
    // Magnitudes compare like their bits; infinity and NaN are the largest.
    let is_tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(LEAST_MAGNITUDE.to_bits() as i32), largest);
    let is_wild = _mm256_cmpgt_epi32(largest, _mm256_set1_epi32(infinite - 1));
    let [tiny, wild, largest] = [is_tiny, is_wild, largest].map(|x| _mm256_castsi256_ps(x));
    let scale = _mm256_andnot_ps(tiny, _mm256_div_ps(largest, limit));
    let scale = _mm256_blendv_ps(scale, _mm256_set1_ps(f32::NAN), wild);
    let inverse = _mm256_andnot_ps(tiny, _mm256_div_ps(limit, largest));
    (scale, inverse, is_wild)
}

/// The largest lane of each of eight registers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn largest(rows: [__m256i; TILE]) -> __m256i {
    // A half of 128 bits for each row.
    let halves = [0, 1, 2, 3].map(|n| {
        _mm256_max_epi32(
            _mm256_permute2x128_si256::<0x20>(rows[n], rows[n + 4]),
            _mm256_permute2x128_si256::<0x31>(rows[n], rows[n + 4]),
        )
    });
    let pairs = [0, 2].map(|n| {
        _mm256_max_epi32(
            _mm256_unpacklo_epi32(halves[n], halves[n + 1]),
            _mm256_unpackhi_epi32(halves[n], halves[n + 1]),
        )
    });
    _mm256_max_epi32(
        _mm256_unpacklo_epi64(pairs[0], pairs[1]),
        _mm256_unpackhi_epi64(pairs[0], pairs[1]),
    )
}

/// Lane `n` of register `i` becomes lane `i` of register `n`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
    // Of each four rows: lanes 0 and 4 in the first register, 1 and 5 in the second, and so on.
    let of_four = |first: usize| {
        let low = [0, 2].map(|n| _mm256_unpacklo_epi32(rows[first + n], rows[first + n + 1]));
        let high = [0, 2].map(|n| _mm256_unpackhi_epi32(rows[first + n], rows[first + n + 1]));
        [
            _mm256_unpacklo_epi64(low[0], low[1]),
            _mm256_unpackhi_epi64(low[0], low[1]),
            _mm256_unpacklo_epi64(high[0], high[1]),
            _mm256_unpackhi_epi64(high[0], high[1]),
        ]
    };
    let (first, last) = (of_four(0), of_four(4));
    let low = |n: usize| _mm256_permute2x128_si256::<0x20>(first[n], last[n]);
    let high = |n: usize| _mm256_permute2x128_si256::<0x31>(first[n], last[n]);
    [
        low(0),
        low(1),
        low(2),
        low(3),
        high(0),
        high(1),
        high(2),
        high(3),
    ]
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store(values: __m256i, word: &mut Word) {
    // SAFETY: these are 32 bytes.
    unsafe { _mm256_storeu_si256(word.as_mut_ptr().cast(), values) };
}
