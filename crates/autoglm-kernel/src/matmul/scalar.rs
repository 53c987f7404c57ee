//! The definition of the products, in plain Rust.

use half::{bf16, f16};

use crate::activation::{FloatTile, RECORD, Record, Tile, load_tile};
use crate::format::array;
use crate::lanes::{Floats, LANES, Line};
use crate::pack::coding::{BLOCK, Meaning};
use crate::pack::unpack::{PackedChunk, Unpacked};
use crate::pack::widen;

use super::{FloatColumns, Kernels, PAIRS};

pub(super) const KERNELS: Kernels = Kernels {
    load_tile,
    unpack,
    multiply,
    multiply_two: None,
    stream,
    streamed_tiles: 2,
    multiply_floats,
    multiply_brains,
    wide: None,
};

fn unpack(chunk: &PackedChunk<'_>, out: &mut Unpacked) {
    out.read(chunk, widen);
}

fn stream(chunk: &PackedChunk<'_>, scratch: &mut Unpacked, x: Tile<'_>, sums: &mut [Floats]) {
    unpack(chunk, scratch);
    multiply(scratch, x, sums);
}

fn multiply(w: &Unpacked, x: Tile<'_>, sums: &mut [Floats]) {
    let records = x.records.chunks_exact(RECORD * x.width);
    for (block, record) in records.enumerate() {
        for (n, sums) in sums.iter_mut().enumerate() {
            let words = |i: usize| record[i * x.width + n];
            for (lane, sum) in sums.0.iter_mut().enumerate() {
                *sum = add_block(w, (block, lane), words, *sum);
            }
        }
    }
}

/// The sum after one more block.
fn add_block(
    w: &Unpacked,
    (block, lane): (usize, usize),
    x: impl Fn(usize) -> u32,
    sum: f32,
) -> f32 {
    let scale = |i: usize| w.scales.scales[i].0[lane] * f32::from_bits(x(Record::SCALE));
    let quads = &w.values[block];
    let meaning = w.coding.meaning;
    match meaning {
        Meaning::Centred { .. } => {
            let offset = x(Record::offset(meaning)) as i32;
            let dot = offset + dot(quads, lane, &x, 0);
            (dot as f32).mul_add(scale(block), sum)
        }
        Meaning::CentredHalves { .. } => (0..2).fold(sum, |sum, half| {
            let offset = x(Record::offset(meaning) + half) as i32;
            let quads = &quads[4 * half..4 * half + 4];
            let dot = offset + dot(quads, lane, &x, 4 * half);
            (dot as f32).mul_add(scale(2 * block + half), sum)
        }),
        Meaning::WithMinimum => {
            let sum = (dot(quads, lane, &x, 0) as f32).mul_add(scale(block), sum);
            let scaled_sum = f32::from_bits(x(Record::SCALED_SUM));
            w.scales.mins[block].0[lane].mul_add(scaled_sum, sum)
        }
    }
}

/// The integer product of the quads of a lane with the quads of the activations from `first` on.
fn dot(quads: &[Line], lane: usize, x: impl Fn(usize) -> u32, first: usize) -> i32 {
    let quads = quads.iter().enumerate();
    quads
        .flat_map(|(i, quad)| {
            let x = x(first + i).to_le_bytes();
            let w = quad.0[4 * lane..4 * lane + 4].iter();
            w.zip(x).map(|(w, x)| i32::from(*w) * i32::from(x as i8))
        })
        .sum()
}

fn multiply_floats(w: FloatColumns<'_>, x: FloatTile<'_>, sums: &mut [Floats]) {
    // Columns are filled up to whole blocks.
    let columns = match w {
        FloatColumns::Single(w) => w.len(),
        FloatColumns::Half(w) => w.len(),
        FloatColumns::Brain(w) => 2 * w.len(),
    };
    let columns = x.columns.chunks_exact(x.width).take(columns).enumerate();
    for (column, x) in columns {
        let w = column_of(w, column);
        for (sums, x) in sums.iter_mut().zip(x) {
            for lane in 0..LANES {
                sums.0[lane] = w.0[lane].mul_add(*x, sums.0[lane]);
            }
        }
    }
}

fn multiply_brains(w: &[Line], x: FloatTile<'_>, sums: &mut [Floats]) {
    let blocks = w.as_chunks::<PAIRS>().0.iter();
    for (w, x) in blocks.zip(x.columns.chunks_exact(BLOCK * x.width)) {
        let width = x.len() / BLOCK;
        for (n, sums) in sums.iter_mut().enumerate() {
            for (lane, sum) in sums.0.iter_mut().enumerate() {
                let (mut even, mut odd) = (0.0_f32, 0.0_f32);
                for (line, x) in w.iter().zip(x.chunks_exact(2 * width)) {
                    let word = u32::from_le_bytes(array(&line.0, 4 * lane));
                    even = f32::from_bits(word << 16).mul_add(x[n], even);
                    odd = f32::from_bits(word & 0xffff_0000).mul_add(x[width + n], odd);
                }
                *sum += even + odd;
            }
        }
    }
}

/// 16 weights of one column.
fn column_of(w: FloatColumns<'_>, column: usize) -> Floats {
    match w {
        FloatColumns::Half(words) => {
            Floats(words[column].0.map(|bits| f16::from_bits(bits).to_f32()))
        }
        FloatColumns::Brain(lines) => {
            let mut out = Floats::ZERO;
            for (lane, x) in out.0.iter_mut().enumerate() {
                let at = 4 * lane + 2 * (column % 2);
                *x = bf16::from_le_bytes(array(&lines[column / 2].0, at)).to_f32();
            }
            out
        }
        FloatColumns::Single(lines) => {
            let mut out = Floats::ZERO;
            for (x, bytes) in out.0.iter_mut().zip(lines[column].0.as_chunks::<4>().0) {
                *x = f32::from_le_bytes(*bytes);
            }
            out
        }
    }
}

const _: () = assert!(BLOCK / 2 == LANES);
