//! From the packed form back to one byte a value and one single-precision scale a block.
//!
//! These functions are plain Rust. The SIMD variants inline them into functions with wider target
//! features, where the compiler vectorises them; what they compute is the same everywhere.

use crate::lanes::{Floats, Halves, LANES, Line};

use super::coding::{Coding, Meaning, QUADS, SUPER_BLOCKS, ScaleLayout};

/// Blocks that are unpacked at a time: 1,024 columns of 16 rows are 16 KiB of values and 6 KiB of
/// scales. It is a multiple of a super-block.
pub(crate) const CHUNK: usize = 32;

const _: () = assert!(CHUNK.is_multiple_of(SUPER_BLOCKS));

/// At most [`CHUNK`] packed blocks of a group of rows.
#[derive(Clone, Copy)]
pub(crate) struct PackedChunk<'a> {
    pub(crate) coding: Coding,
    /// `coding.bits` lines a block.
    pub(crate) values: &'a [Line],
    /// `coding.scale_words(blocks)` in all.
    pub(crate) scales: &'a [Halves],
}

/// Scales and minima of a chunk of a group of rows.
pub(crate) struct ChunkScales {
    /// One a block, or two where a block has two scales.
    pub(crate) scales: [Floats; 2 * CHUNK],
    /// One a block; only where the format has minima.
    pub(crate) mins: [Floats; CHUNK],
}

/// A chunk of a group of rows, one byte a value.
pub(crate) struct Unpacked {
    pub(crate) coding: Coding,
    pub(crate) blocks: usize,
    pub(crate) values: [[Line; QUADS]; CHUNK],
    pub(crate) scales: ChunkScales,
}

impl ChunkScales {
    pub(crate) const ZERO: Self = Self {
        scales: [Floats::ZERO; 2 * CHUNK],
        mins: [Floats::ZERO; CHUNK],
    };

    /// Reads the scales of a chunk. `widen` turns half into single precision.
    #[inline(always)]
    pub(crate) fn read(&mut self, chunk: &PackedChunk<'_>, widen: impl Fn(&Halves) -> Floats) {
        match chunk.coding.scales {
            ScaleLayout::Scale => {
                for (scale, word) in self.scales.iter_mut().zip(chunk.scales) {
                    *scale = widen(word);
                }
            }
            ScaleLayout::ScaleAndMinimum => {
                for (b, words) in chunk.scales.as_chunks::<2>().0.iter().enumerate() {
                    self.scales[b] = widen(&words[0]);
                    self.mins[b] = widen(&words[1]);
                }
            }
            ScaleLayout::SuperWithMinimum => {
                for (s, words) in chunk.scales.as_chunks::<10>().0.iter().enumerate() {
                    let (d, dmin) = (widen(&words[0]), widen(&words[1]));
                    for (i, word) in words[2..].iter().enumerate() {
                        let b = SUPER_BLOCKS * s + i;
                        self.scales[b] = map_lanes(&d, word, |d, word| d * (word & 0xff) as f32);
                        self.mins[b] = map_lanes(&dmin, word, |d, word| -(d * (word >> 8) as f32));
                    }
                }
            }
            ScaleLayout::SuperHalves => {
                for (s, words) in chunk.scales.as_chunks::<9>().0.iter().enumerate() {
                    let d = widen(&words[0]);
                    for (i, word) in words[1..].iter().enumerate() {
                        let b = 2 * (SUPER_BLOCKS * s + i);
                        self.scales[b] = map_lanes(&d, word, |d, word| d * (word as i8) as f32);
                        self.scales[b + 1] =
                            map_lanes(&d, word, |d, word| d * ((word >> 8) as i8) as f32);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn map_lanes(d: &Floats, word: &Halves, f: impl Fn(f32, u16) -> f32) -> Floats {
    let mut out = Floats::ZERO;
    for i in 0..LANES {
        out.0[i] = f(d.0[i], word.0[i]);
    }
    out
}

impl Unpacked {
    pub(crate) const EMPTY: Self = Self {
        coding: Coding {
            bits: 8,
            meaning: Meaning::WithMinimum,
            scales: ScaleLayout::Scale,
        },
        blocks: 0,
        values: [[Line::ZERO; QUADS]; CHUNK],
        scales: ChunkScales::ZERO,
    };

    /// Unpacks a chunk. `widen` turns half into single precision.
    #[inline(always)]
    pub(crate) fn read(&mut self, chunk: &PackedChunk<'_>, widen: impl Fn(&Halves) -> Floats) {
        self.coding = chunk.coding;
        self.blocks = chunk.values.len() / chunk.coding.bits;
        match chunk.coding.bits {
            4 => unpack_values::<4>(chunk.values, &mut self.values),
            5 => unpack_values::<5>(chunk.values, &mut self.values),
            6 => unpack_values::<6>(chunk.values, &mut self.values),
            _ => unpack_values::<8>(chunk.values, &mut self.values),
        }
        self.scales.read(chunk, widen);
    }
}

#[inline(always)]
fn unpack_values<const BITS: usize>(packed: &[Line], out: &mut [[Line; QUADS]; CHUNK]) {
    for (packed, out) in packed.as_chunks::<BITS>().0.iter().zip(out) {
        for (quad, out) in out.iter_mut().enumerate() {
            for (i, value) in out.0.iter_mut().enumerate() {
                *value = packed_value(packed, quad, i);
            }
        }
    }
}

/// The value in byte `i` of quad `quad` of a block; see [`Coding`].
#[inline(always)]
pub(crate) fn packed_value<const BITS: usize>(block: &[Line; BITS], quad: usize, i: usize) -> u8 {
    if BITS == 8 {
        return block[quad].0[i];
    }
    let low = block[quad % 4].0[i] >> (4 * (quad / 4)) & 0xf;
    match BITS {
        5 => low | (block[4].0[i] >> quad & 1) << 4,
        6 => low | (block[4 + quad / 4].0[i] >> (2 * (quad % 4)) & 3) << 4,
        _ => low,
    }
}
