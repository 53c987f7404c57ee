//! One tile of quantised activations, in words that a kernel broadcasts one after the other.

use crate::pack::coding::{BLOCK, Meaning, QUADS};

/// Words of a block of one row; a tile of `width` rows has `width` of each, side by side.
pub(crate) const RECORD: usize = QUADS + 10;

/// Where the words of a record are, in units of the tile's width. Words 0 to 7 are the quads: four
/// signed bytes `q` each.
pub(crate) struct Record;

impl Record {
    /// The scale `s`, single precision.
    pub(crate) const SCALE: usize = QUADS;
    /// `s·Σq`, single precision.
    pub(crate) const SCALED_SUM: usize = QUADS + 1;
    /// `-32·Σq` over the first 16 integers; the word after it, over the last 16.
    pub(crate) const HALF_OFFSETS: usize = QUADS + 2;
    /// `-8·Σq`, `-16·Σq`, `-128·Σq`.
    pub(crate) const OFFSETS: [usize; 3] = [QUADS + 4, QUADS + 5, QUADS + 6];
    /// `-8·Σq` as two 16-bit words: over the first two integers of every quad, and over the others.
    pub(crate) const PAIRS: usize = QUADS + 7;
    /// `-32·Σq` over the first 16 integers in the same way; the word after it, over the last 16.
    pub(crate) const HALF_PAIRS: usize = QUADS + 8;

    /// The word that holds `-2^shift·Σq`: what is added to the product with unsigned weights to
    /// give that with weights around zero. For weights with two scales, the word after it holds
    /// the second half.
    #[inline]
    pub(crate) fn offset(meaning: Meaning) -> usize {
        match meaning {
            Meaning::Centred { shift: 3 } => Self::OFFSETS[0],
            Meaning::Centred { shift: 4 } => Self::OFFSETS[1],
            Meaning::Centred { shift: 7 } => Self::OFFSETS[2],
            Meaning::CentredHalves { shift: 5 } => Self::HALF_OFFSETS,
            other => unreachable!("no format has values that mean {other:?}"),
        }
    }
}

/// A block of one row, quantised.
pub(crate) struct QuantisedBlock {
    /// The integers, four a word.
    pub(crate) quads: [u32; QUADS],
    pub(crate) scale: f32,
    /// For the first and the last 16 integers: the sum of the first two integers of every quad,
    /// and that of the others.
    pub(crate) pair_sums: [[i16; 2]; 2],
}

impl QuantisedBlock {
    /// What a block becomes whose numbers are all tiny, or not all finite.
    #[inline(always)]
    pub(crate) fn zero(scale: f32) -> Self {
        Self {
            quads: [0; QUADS],
            scale,
            pair_sums: [[0; 2]; 2],
        }
    }

    /// Writes the words of one row, `width` apart.
    #[inline(always)]
    fn write(&self, record: &mut [u32], width: usize) {
        let mut put = |word: usize, value: u32| record[word * width] = value;
        for (i, quad) in self.quads.into_iter().enumerate() {
            put(i, quad);
        }
        let half_sums = self.pair_sums.map(|[a, b]| i32::from(a) + i32::from(b));
        let sum = half_sums[0] + half_sums[1];
        put(Record::SCALE, self.scale.to_bits());
        put(Record::SCALED_SUM, (self.scale * sum as f32).to_bits());
        put(Record::HALF_OFFSETS, (-32 * half_sums[0]) as u32);
        put(Record::HALF_OFFSETS + 1, (-32 * half_sums[1]) as u32);
        put(Record::OFFSETS[0], (-8 * sum) as u32);
        put(Record::OFFSETS[1], (-16 * sum) as u32);
        put(Record::OFFSETS[2], (-128 * sum) as u32);
        let [first, last] = self.pair_sums;
        let both = [first[0] + last[0], first[1] + last[1]];
        put(Record::PAIRS, times_pair(-8, both));
        put(Record::HALF_PAIRS, times_pair(-32, first));
        put(Record::HALF_PAIRS + 1, times_pair(-32, last));
    }
}

/// A multiple of two 16-bit words, which it fits into: 8·127·32 and 16·127·8 do.
#[inline(always)]
fn times_pair(factor: i16, pair: [i16; 2]) -> u32 {
    let [low, high] = pair.map(|sum| u32::from((factor * sum) as u16));
    low | high << 16
}

/// Quantises the rows of a tile into records, each block with `quantize`; columns beyond the last
/// are zero.
#[inline(always)]
pub(crate) fn load_tile_with(
    rows: &[f32],
    cols: usize,
    records: &mut [u32],
    quantize: impl Fn(&[f32; BLOCK]) -> QuantisedBlock,
) {
    let width = rows.len() / cols;
    for (n, row) in rows.chunks_exact(cols).enumerate() {
        let mut records = records.chunks_exact_mut(RECORD * width);
        let (whole, rest) = row.as_chunks::<BLOCK>();
        // The records second: a zip takes from its first iterator even when the second has ended.
        for (x, record) in whole.iter().zip(records.by_ref()) {
            quantize(x).write(&mut record[n..], width);
        }
        if let Some(record) = records.next() {
            let mut x = [0.0; BLOCK];
            x[..rest.len()].copy_from_slice(rest);
            quantize(&x).write(&mut record[n..], width);
        }
    }
}

/// A block whose largest magnitude is below 2⁻¹¹⁹ becomes zero.
pub(crate) const LEAST_MAGNITUDE: f32 = f32::from_bits((127 - 119) << 23);

/// The scale of a block and its inverse, from the bits of its largest magnitude; the scale alone if
/// all integers are zero.
#[inline(always)]
pub(crate) fn scale_of(largest: u32) -> Result<(f32, f32), f32> {
    let largest = f32::from_bits(largest);
    if largest < LEAST_MAGNITUDE {
        Err(0.0)
    } else if largest.is_finite() {
        Ok((largest / 127.0, 127.0 / largest))
    } else {
        Err(f32::NAN)
    }
}

/// The definition of the quantisation; see [`super::Activations`].
pub(crate) fn load_tile(rows: &[f32], cols: usize, records: &mut [u32]) {
    load_tile_with(rows, cols, records, quantize);
}

fn quantize(x: &[f32; BLOCK]) -> QuantisedBlock {
    // Magnitudes compare like their bits; infinity and NaN are the largest.
    let magnitudes = x.iter().map(|x| x.to_bits() & (u32::MAX >> 1));
    let (scale, inverse) = match scale_of(magnitudes.fold(0, u32::max)) {
        Ok(scales) => scales,
        Err(scale) => return QuantisedBlock::zero(scale),
    };
    let values = x.map(|x| (x * inverse).round_ties_even() as i8);
    let mut quads = [0; QUADS];
    for (quad, values) in quads.iter_mut().zip(values.as_chunks::<4>().0) {
        *quad = u32::from_le_bytes(values.map(|q| q as u8));
    }
    QuantisedBlock {
        quads,
        scale,
        pair_sums: [
            pair_sums(&values[..BLOCK / 2]),
            pair_sums(&values[BLOCK / 2..]),
        ],
    }
}

fn pair_sums(values: &[i8]) -> [i16; 2] {
    values.as_chunks::<4>().0.iter().fold([0; 2], |sums, quad| {
        let quad = quad.map(i16::from);
        [sums[0] + quad[0] + quad[1], sums[1] + quad[2] + quad[3]]
    })
}
