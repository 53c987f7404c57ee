//! Weights as the kernels want them: repacked at load, 16 rows side by side.
//!
//! A quantised matrix keeps the bits of its format (a decoding step reads every weight once, so
//! its bytes are its time) in two arrays, values and scales, each a contiguous stream for a group
//! of 16 rows. [`coding::Coding`] says what lies where.

pub(crate) mod coding;
mod repack;
#[cfg(test)]
mod tests;
pub(crate) mod unpack;

use std::ops::Range;

use half::{bf16, f16};

use crate::error::KernelError;
use crate::format::BlockFormat;
use crate::lanes::{Floats, Halves, LANES, Line};
use crate::pages::Pages;
use crate::pool::Pool;

use coding::{BLOCK, Coding, Meaning, QUADS};
use repack::SourceRows;
use unpack::{CHUNK, ChunkScales, PackedChunk, packed_value};

/// A weight matrix `W: [rows, cols]`, repacked for [`crate::matmul`].
pub struct PackedMatrix {
    format: BlockFormat,
    rows: usize,
    cols: usize,
    rounds: bool,
    body: Body,
}

/// The weights of groups of 16 rows; the last group is filled up with zeros.
pub(crate) enum Body {
    Quantised(Quantised),
    /// The bits of 16 singles for every column.
    Single(Pages<Line>),
    /// 16 half-precision words for every column.
    Half(Pages<Halves>),
    /// 16 pairs of bfloat16 words for every two columns. Columns are filled up with zeros to whole
    /// blocks.
    Brain(Pages<Line>),
}

/// Bytes of a matrix that are packed before they are given back.
const STRIPE_BYTES: usize = 8 << 20;

impl Body {
    /// Groups of zeros.
    fn zeroed(format: BlockFormat, groups: usize, cols: usize) -> Result<Self, KernelError> {
        let elements = |of_group: usize| groups.saturating_mul(of_group);
        Ok(match (Coding::of(format), format) {
            (Some(coding), _) => {
                let blocks = cols / BLOCK;
                Self::Quantised(Quantised {
                    coding,
                    blocks,
                    values: Pages::zeroed(elements(blocks * coding.bits))?,
                    scales: Pages::zeroed(elements(coding.scale_words(blocks)))?,
                })
            }
            (None, BlockFormat::F16) => Self::Half(Pages::zeroed(elements(cols))?),
            (None, BlockFormat::Bf16) => Self::Brain(Pages::zeroed(elements(pairs(cols)))?),
            (None, _) => Self::Single(Pages::zeroed(elements(cols))?),
        })
    }

    /// Packs some groups, in parallel.
    fn fill<'a>(
        &mut self,
        pool: &Pool,
        groups: Range<usize>,
        cols: usize,
        source: &(impl Fn(usize) -> SourceRows<'a> + Sync),
    ) {
        match self {
            Self::Quantised(body) => {
                let bits = body.coding.bits;
                let (values, scales) = (body.blocks * bits, body.coding.scale_words(body.blocks));
                body.values
                    .fill_chunks(pool, groups.clone(), values, |group, out| {
                        source(group).pack_values(bits, out);
                    });
                body.scales.fill_chunks(pool, groups, scales, |group, out| {
                    source(group).pack_scales(out);
                });
            }
            Self::Half(words) => {
                words.fill_chunks(pool, groups, cols, |group, out| {
                    source(group).pack_halves(out);
                });
            }
            Self::Brain(lines) => {
                lines.fill_chunks(pool, groups, pairs(cols), |group, out| {
                    source(group).pack_words(out);
                });
            }
            Self::Single(lines) => {
                lines.fill_chunks(pool, groups, cols, |group, out| {
                    source(group).pack_words(out);
                });
            }
        }
    }
}

/// Lines of a group of bfloat16 weights: pairs of columns, in whole blocks.
pub(crate) fn pairs(cols: usize) -> usize {
    cols.div_ceil(BLOCK) * (BLOCK / 2)
}

/// Integers and scales; every group has the same number of both.
pub(crate) struct Quantised {
    pub(crate) coding: Coding,
    /// Blocks of 32 columns in a row.
    pub(crate) blocks: usize,
    values: Pages<Line>,
    scales: Pages<Halves>,
}

impl PackedMatrix {
    /// Repacks the `rows` rows of `cols` weights in `bytes`, in parallel.
    ///
    /// # Errors
    /// [`KernelError::Shape`] if the matrix is empty or a row is no whole number of blocks,
    /// [`KernelError::TooLarge`] if its size overflows, [`KernelError::Length`] if `bytes` has
    /// another length than the shape takes, [`KernelError::Memory`] if there is no memory.
    pub fn pack(
        pool: &Pool,
        format: BlockFormat,
        rows: usize,
        cols: usize,
        bytes: &[u8],
    ) -> Result<Self, KernelError> {
        Self::pack_in_stripes(pool, format, (rows, cols), bytes, &mut |_| {})
    }

    /// [`Self::pack`], stripe by stripe; `packed` is told of each part of `bytes` that is no longer
    /// needed, so that a large matrix need not be in memory twice.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub fn pack_in_stripes(
        pool: &Pool,
        format: BlockFormat,
        (rows, cols): (usize, usize),
        bytes: &[u8],
        packed: &mut dyn FnMut(&[u8]),
    ) -> Result<Self, KernelError> {
        let row_bytes = checked_row_bytes(format, rows, cols, bytes.len())?;
        let (groups, group_bytes) = (rows.div_ceil(LANES), LANES * row_bytes);
        let bytes_of = |groups: Range<usize>| {
            &bytes[groups.start * group_bytes..bytes.len().min(groups.end * group_bytes)]
        };
        let source = |group: usize| SourceRows {
            format,
            bytes: bytes_of(group..group + 1),
            row_bytes,
        };
        let mut body = Body::zeroed(format, groups, cols)?;
        let stripe_groups = (STRIPE_BYTES / group_bytes).max(1);
        for first in (0..groups).step_by(stripe_groups) {
            let stripe = first..groups.min(first + stripe_groups);
            body.fill(pool, stripe.clone(), cols, &source);
            packed(bytes_of(stripe));
        }
        Ok(Self {
            format,
            rows,
            cols,
            rounds: false,
            body,
        })
    }

    /// The same matrix, with which activations are rounded to bfloat16 where its own weights are
    /// that: less exact, and several times as fast where the processor multiplies such numbers in
    /// tiles. Matrices of other formats stay as they are.
    #[must_use]
    pub fn rounding_activations(self) -> Self {
        Self {
            rounds: self.format == BlockFormat::Bf16,
            ..self
        }
    }

    /// Whether activations are rounded to bfloat16 for it.
    pub(crate) fn rounds_activations(&self) -> bool {
        self.rounds
    }

    /// The bytes of memory that a matrix takes when it is packed; saturates where that is more
    /// than can be counted.
    pub fn packed_bytes(format: BlockFormat, rows: usize, cols: usize) -> usize {
        let row_bytes = match (Coding::of(format), format) {
            (Some(coding), _) => {
                let blocks = cols / BLOCK;
                let values = blocks * coding.bits * size_of::<Line>();
                values + coding.scale_words(blocks) * size_of::<Halves>()
            }
            (None, BlockFormat::F16) => cols.saturating_mul(size_of::<Halves>()),
            (None, BlockFormat::Bf16) => pairs(cols).saturating_mul(size_of::<Line>()),
            (None, _) => cols.saturating_mul(size_of::<Line>()),
        };
        rows.div_ceil(LANES).saturating_mul(row_bytes)
    }

    /// The rows: outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns: inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The format that it was packed from.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// The bytes of memory that it takes.
    pub fn size_bytes(&self) -> usize {
        match &self.body {
            Body::Quantised(body) => size_of_val(&*body.values) + size_of_val(&*body.scales),
            Body::Single(lines) | Body::Brain(lines) => size_of_val(&**lines),
            Body::Half(columns) => size_of_val(&**columns),
        }
    }

    /// Reads a row; the values are those of [`crate::dequantize`] on the bytes of the row.
    ///
    /// # Panics
    /// If there is no such row or `out` is not as long as a row.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {} rows", self.rows);
        assert_eq!(out.len(), self.cols, "columns of a row");
        let (group, lane) = (row / LANES, row % LANES);
        let columns = group * self.cols..(group + 1) * self.cols;
        match &self.body {
            Body::Quantised(body) => body.dequantize_row(group, lane, out),
            Body::Half(all) => {
                for (x, word) in out.iter_mut().zip(&all[columns]) {
                    *x = f16::from_bits(word.0[lane]).to_f32();
                }
            }
            Body::Brain(all) => {
                for (pair, line) in out.chunks_mut(2).zip(&all[group * pairs(self.cols)..]) {
                    for (i, x) in pair.iter_mut().enumerate() {
                        let at = 4 * lane + 2 * i;
                        *x = bf16::from_le_bytes(crate::format::array(&line.0, at)).to_f32();
                    }
                }
            }
            Body::Single(all) => {
                for (x, line) in out.iter_mut().zip(&all[columns]) {
                    *x = f32::from_le_bytes(crate::format::array(&line.0, 4 * lane));
                }
            }
        }
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }
}

/// The bytes of a row, when the shape is possible and `given_bytes` are exactly what it takes.
fn checked_row_bytes(
    format: BlockFormat,
    rows: usize,
    cols: usize,
    given_bytes: usize,
) -> Result<usize, KernelError> {
    let (name, block_len) = (format.name(), format.block_len());
    if rows == 0 || cols == 0 || !cols.is_multiple_of(block_len) {
        return Err(KernelError::Shape {
            format: name,
            rows,
            cols,
            block_len,
        });
    }
    let too_large = KernelError::TooLarge {
        format: name,
        rows,
        cols,
    };
    let row_bytes = format.row_bytes(cols).ok_or(too_large.clone())?;
    let wanted_bytes = rows.checked_mul(row_bytes).ok_or(too_large)?;
    if wanted_bytes == given_bytes {
        Ok(row_bytes)
    } else {
        Err(KernelError::Length {
            format: name,
            rows,
            cols,
            wanted_bytes,
            given_bytes,
        })
    }
}

impl Quantised {
    /// The chunks of a group, in order.
    pub(crate) fn chunks(&self, group: usize) -> impl Iterator<Item = PackedChunk<'_>> {
        (0..self.blocks)
            .step_by(CHUNK)
            .map(move |first| self.chunk(group, first))
    }

    /// The chunk of a group that begins at block `first`, a multiple of [`CHUNK`].
    pub(crate) fn chunk(&self, group: usize, first: usize) -> PackedChunk<'_> {
        let coding = self.coding;
        let blocks = CHUNK.min(self.blocks - first);
        let values = (group * self.blocks + first) * coding.bits;
        let scales = group * coding.scale_words(self.blocks) + coding.scale_words(first);
        PackedChunk {
            coding,
            values: &self.values[values..values + blocks * coding.bits],
            scales: &self.scales[scales..scales + coding.scale_words(blocks)],
        }
    }

    fn dequantize_row(&self, group: usize, lane: usize, out: &mut [f32]) {
        let mut scales = ChunkScales::ZERO;
        for (chunk, out) in self.chunks(group).zip(out.chunks_mut(CHUNK * BLOCK)) {
            scales.read(&chunk, widen);
            match chunk.coding.bits {
                4 => dequantize_lane::<4>(&chunk, &scales, lane, out),
                5 => dequantize_lane::<5>(&chunk, &scales, lane, out),
                6 => dequantize_lane::<6>(&chunk, &scales, lane, out),
                _ => dequantize_lane::<8>(&chunk, &scales, lane, out),
            }
        }
    }
}

/// Reads one row of a chunk.
fn dequantize_lane<const BITS: usize>(
    chunk: &PackedChunk<'_>,
    scales: &ChunkScales,
    lane: usize,
    out: &mut [f32],
) {
    let blocks = chunk.values.as_chunks::<BITS>().0.iter();
    for (b, (lines, out)) in blocks.zip(out.chunks_exact_mut(BLOCK)).enumerate() {
        for (column, x) in out.iter_mut().enumerate() {
            let q = packed_value(lines, column / 4, 4 * lane + column % 4) as f32;
            let scale = |i: usize| scales.scales[i].0[lane];
            *x = match chunk.coding.meaning {
                Meaning::Centred { shift } => scale(b) * (q - (1 << shift) as f32),
                Meaning::CentredHalves { shift } => {
                    scale(2 * b + column / (BLOCK / 2)) * (q - (1 << shift) as f32)
                }
                // The product of a scale (at most 17 bits) and a value is exact.
                Meaning::WithMinimum => scale(b) * q + scales.mins[b].0[lane],
            };
        }
    }
}

/// Half to single precision, in plain Rust.
pub(crate) fn widen(words: &Halves) -> Floats {
    Floats(words.0.map(|bits| f16::from_bits(bits).to_f32()))
}

const _: () = assert!(QUADS * 4 == BLOCK);
