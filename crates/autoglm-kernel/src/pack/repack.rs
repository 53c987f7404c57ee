//! From rows of GGUF blocks to groups of 16 rows.

use crate::format::{
    BlockFormat, KScales, array, q4_k_values, q4_values, q5_k_values, q5_values, q6_k_values,
    q8_values,
};
use crate::lanes::{Halves, LANES, Line};

use super::coding::{BLOCK, QUADS, SUPER_BLOCKS};

/// The rows of a group in the format of the file; the last group of a matrix may be short of some.
pub(super) struct SourceRows<'a> {
    pub(super) format: BlockFormat,
    /// The bytes of at most 16 rows.
    pub(super) bytes: &'a [u8],
    pub(super) row_bytes: usize,
}

impl<'a> SourceRows<'a> {
    /// Every row with its lane.
    fn lanes(&self) -> impl Iterator<Item = (usize, &'a [u8])> {
        self.bytes.chunks_exact(self.row_bytes).enumerate()
    }

    /// The unsigned values of block `block` (32 columns) of a row.
    #[inline]
    fn values(&self, row: &[u8], block: usize) -> [u8; BLOCK] {
        let of_row = |blocks: usize| {
            let bytes = self.format.block_bytes();
            &row[block / blocks * bytes..][..bytes]
        };
        match self.format {
            BlockFormat::Q4_0 => q4_values(of_row(1), 2),
            BlockFormat::Q4_1 => q4_values(of_row(1), 4),
            BlockFormat::Q5_0 => q5_values(of_row(1), 2),
            BlockFormat::Q5_1 => q5_values(of_row(1), 4),
            BlockFormat::Q8_0 => q8_values(of_row(1)),
            BlockFormat::Q4K => q4_k_values(of_row(SUPER_BLOCKS), block % SUPER_BLOCKS),
            BlockFormat::Q5K => q5_k_values(of_row(SUPER_BLOCKS), block % SUPER_BLOCKS),
            BlockFormat::Q6K => q6_k_values(of_row(SUPER_BLOCKS), block % SUPER_BLOCKS),
            BlockFormat::F32 | BlockFormat::F16 | BlockFormat::Bf16 => {
                unreachable!("float formats have no integer values")
            }
        }
    }

    /// Writes the values of a group: `bits` lines a block.
    pub(super) fn pack_values(&self, bits: usize, out: &mut [Line]) {
        for (block, lines) in out.chunks_exact_mut(bits).enumerate() {
            let mut quads = [Line::ZERO; QUADS];
            for (lane, row) in self.lanes() {
                let values = self.values(row, block);
                for (quad, values) in quads.iter_mut().zip(values.chunks_exact(4)) {
                    quad.0[4 * lane..4 * lane + 4].copy_from_slice(values);
                }
            }
            pack_block(&quads, lines);
        }
    }

    /// Writes the scales of a group in the order of its [`super::coding::ScaleLayout`].
    pub(super) fn pack_scales(&self, out: &mut [Halves]) {
        let bytes = self.format.block_bytes();
        let words = out.len() * bytes / self.row_bytes;
        for (lane, row) in self.lanes() {
            let blocks = row.chunks_exact(bytes).zip(out.chunks_exact_mut(words));
            for (block, out) in blocks {
                self.pack_block_scales(block, |word, value| out[word].0[lane] = value);
            }
        }
    }

    /// Hands the scale words of one block of the file to `put`, with their places.
    #[inline]
    fn pack_block_scales(&self, block: &[u8], mut put: impl FnMut(usize, u16)) {
        let word_at = |offset| u16::from_le_bytes(array(block, offset));
        match self.format {
            BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 => put(0, word_at(0)),
            BlockFormat::Q4_1 | BlockFormat::Q5_1 => {
                put(0, word_at(0));
                put(1, word_at(2));
            }
            BlockFormat::Q4K | BlockFormat::Q5K => {
                put(0, word_at(0));
                put(1, word_at(2));
                let KScales { scales, mins } = KScales::read(block);
                for (i, pair) in scales.into_iter().zip(mins).enumerate() {
                    put(2 + i, u16::from_le_bytes([pair.0, pair.1]));
                }
            }
            BlockFormat::Q6K => {
                put(0, word_at(208));
                (0..SUPER_BLOCKS).for_each(|i| put(1 + i, word_at(192 + 2 * i)));
            }
            BlockFormat::F32 | BlockFormat::F16 | BlockFormat::Bf16 => {
                unreachable!("float formats have no scales")
            }
        }
    }

    /// Writes four bytes of each row to a line: a column in single precision, or two of bfloat16.
    pub(super) fn pack_words(&self, out: &mut [Line]) {
        for (lane, row) in self.lanes() {
            for (line, word) in out.iter_mut().zip(row.chunks(4)) {
                line.0[4 * lane..4 * lane + word.len()].copy_from_slice(word);
            }
        }
    }

    /// Writes half-precision columns: 16 words a column.
    pub(super) fn pack_halves(&self, out: &mut [Halves]) {
        for (lane, row) in self.lanes() {
            for (words, value) in out.iter_mut().zip(row.chunks_exact(2)) {
                words.0[lane] = u16::from_le_bytes(array(value, 0));
            }
        }
    }
}

/// Squeezes eight lines of unsigned values into as many as they have bits; see
/// [`super::coding::Coding`].
fn pack_block(quads: &[Line; QUADS], out: &mut [Line]) {
    let bits = out.len();
    if bits == 8 {
        out.copy_from_slice(quads);
        return;
    }
    let (nibbles, high) = out.split_at_mut(4);
    for i in 0..4 * LANES {
        for (k, line) in nibbles.iter_mut().enumerate() {
            line.0[i] = quads[k].0[i] & 0xf | (quads[k + 4].0[i] & 0xf) << 4;
        }
        for (k, quad) in quads.iter().enumerate() {
            match bits {
                5 => high[0].0[i] |= (quad.0[i] >> 4) << k,
                6 => high[k / 4].0[i] |= (quad.0[i] >> 4) << (2 * (k % 4)),
                _ => {}
            }
        }
    }
}
