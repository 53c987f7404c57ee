//! One tile of quantised activations, in words that a kernel broadcasts one after the other.

use crate::pack::coding::{BLOCK, QUADS};

/// Words of a block of one row; a tile of `width` rows has `width` of each, side by side.
pub(crate) const RECORD: usize = QUADS + 5;

/// Where the words of a record are, in units of the tile's width. Words 0 to 7 are the quads: four
/// signed bytes each.
pub(crate) struct Record;

impl Record {
    /// The scale, single precision.
    pub(crate) const SCALE: usize = QUADS;
    /// Minus the sum of the integers.
    pub(crate) const NEGATIVE_SUM: usize = QUADS + 1;
    /// Minus the sum of the first 16 integers; the word after it, of the last 16.
    pub(crate) const NEGATIVE_HALF_SUMS: usize = QUADS + 2;
    /// The scale times the sum of the integers, single precision.
    pub(crate) const SCALED_SUM: usize = QUADS + 4;
}

/// Quantises the rows of a tile into records; columns beyond the last are zero.
///
/// It is inlined into functions of every instruction set, where the compiler vectorises it.
#[inline(always)]
pub(crate) fn load_tile(rows: &[f32], cols: usize, records: &mut [u32]) {
    let width = rows.len() / cols;
    for (n, row) in rows.chunks_exact(cols).enumerate() {
        let records = records.chunks_exact_mut(RECORD * width);
        let (whole, rest) = row.as_chunks::<BLOCK>();
        for (record, x) in records.zip(whole.iter().copied().chain(padded(rest))) {
            put_block(&quantize(&x), &mut record[n..], width);
        }
    }
}

/// The last columns filled up to a block; none if there are none.
#[inline(always)]
fn padded(rest: &[f32]) -> Option<[f32; BLOCK]> {
    let mut block = [0.0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    (!rest.is_empty()).then_some(block)
}

struct QuantisedBlock {
    values: [i8; BLOCK],
    scale: f32,
}

/// See [`super::Activations`].
#[inline(always)]
fn quantize(x: &[f32; BLOCK]) -> QuantisedBlock {
    // Magnitudes compare like their bits; infinity and NaN are the largest.
    let largest = x
        .iter()
        .fold(0, |largest, x| largest.max(x.to_bits() & (u32::MAX >> 1)));
    let largest = f32::from_bits(largest);
    if largest < f32::from_bits((127 - 119) << 23) {
        return QuantisedBlock {
            values: [0; BLOCK],
            scale: 0.0,
        };
    }
    if !largest.is_finite() {
        return QuantisedBlock {
            values: [0; BLOCK],
            scale: f32::NAN,
        };
    }
    let inverse = 127.0 / largest;
    QuantisedBlock {
        values: x.map(|x| round(x * inverse)),
        scale: largest / 127.0,
    }
}

/// Rounds a number of at most 127 in magnitude to the nearest integer, to the even one of two.
#[inline(always)]
fn round(x: f32) -> i8 {
    // From 1.5·2²³ on, a unit in the last place is one, so the addition rounds to an integer, and
    // the low bits of the sum are its two's complement.
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT).to_bits() as i8
}

/// Writes the words of one row, `width` apart.
#[inline(always)]
fn put_block(block: &QuantisedBlock, record: &mut [u32], width: usize) {
    for (i, quad) in block.values.as_chunks::<4>().0.iter().enumerate() {
        record[i * width] = u32::from_le_bytes(quad.map(|q| q as u8));
    }
    let sum = |values: &[i8]| values.iter().map(|q| i32::from(*q)).sum::<i32>();
    let (first, second) = block.values.split_at(BLOCK / 2);
    let (first, second) = (sum(first), sum(second));
    let scaled_sum = block.scale * (first + second) as f32;
    let mut put = |word: usize, value: u32| record[word * width] = value;
    put(Record::SCALE, block.scale.to_bits());
    put(Record::NEGATIVE_SUM, -(first + second) as u32);
    put(Record::NEGATIVE_HALF_SUMS, -first as u32);
    put(Record::NEGATIVE_HALF_SUMS + 1, -second as u32);
    put(Record::SCALED_SUM, scaled_sum.to_bits());
}
