//! Rotary position embedding.

mod table;
#[cfg(test)]
mod tests;

pub use table::{RopeParams, RopeStyle, RopeTable};

use crate::elementwise::chunk_len;
use crate::pool::Pool;
use crate::simd::{LANES, Simd, Variant, padded, with_simd};
use table::Rotation;

/// Rotates the heads of every row by its position, in place.
///
/// Pair `i` of a head turns by the angle `θᵢ = position · scale / factorᵢ · base^(−2i/rotated)`; the
/// dimensions behind the rotated ones stay as they are.
///
/// # Shapes
/// `positions: [T]`, `x: [T, heads, D]` with the table's width D.
///
/// # Panics
/// If `x` has another length than the shapes say, or a position is not below the table's limit.
///
/// # Source
/// Su et al., `RoFormer`: Enhanced Transformer with Rotary Position Embedding, 2021, equation 34.
pub fn rope(pool: &Pool, table: &RopeTable, positions: &[u32], heads: usize, x: &mut [f32]) {
    rope_with(Variant::best(), pool, table, positions, heads, x);
}

fn rope_with(
    variant: Variant,
    pool: &Pool,
    table: &RopeTable,
    positions: &[u32],
    heads: usize,
    x: &mut [f32],
) {
    let row_len = heads * table.width();
    assert_eq!(
        x.len(),
        positions.len() * row_len,
        "rope: x has not {} rows of {heads} heads of {}",
        positions.len(),
        table.width()
    );
    if row_len == 0 {
        return;
    }
    table.prepare(positions);
    let chunk_len = chunk_len(pool, x.len(), row_len);
    pool.for_each_chunk(x, chunk_len, |chunk, x| {
        let positions = &positions[chunk * chunk_len / row_len..];
        with_simd!(variant, s => rotate_rows(s, table, positions, row_len, x));
    });
}

#[inline(always)]
fn rotate_rows<S: Simd>(s: S, table: &RopeTable, positions: &[u32], row_len: usize, x: &mut [f32]) {
    for (row, position) in x.chunks_exact_mut(row_len).zip(positions) {
        let rotation = table.rotation(*position);
        for head in row.chunks_exact_mut(table.width()) {
            let head = &mut head[..table.rotated()];
            match table.style() {
                RopeStyle::Interleaved => rotate_neighbours(s, rotation, head),
                RopeStyle::HalfSplit => rotate_halves(s, rotation, head),
            }
        }
    }
}

/// `y[2i] = x[2i]·cos − x[2i+1]·sin`, `y[2i+1] = x[2i+1]·cos + x[2i]·sin`; the table repeats the
/// cosines and carries the signs of the sines.
#[inline(always)]
fn rotate_neighbours<S: Simd>(s: S, rotation: Rotation<'_>, x: &mut [f32]) {
    let (vectors, rest) = x.as_chunks_mut::<LANES>();
    let (cos, cos_rest) = rotation.cos.as_chunks::<LANES>();
    let (sin, sin_rest) = rotation.sin.as_chunks::<LANES>();
    for ((x, cos), sin) in vectors.iter_mut().zip(cos).zip(sin) {
        neighbours(s, x, cos, sin);
    }
    if !rest.is_empty() {
        let mut lanes = padded(rest, 0.0);
        neighbours(
            s,
            &mut lanes,
            &padded(cos_rest, 0.0),
            &padded(sin_rest, 0.0),
        );
        rest.copy_from_slice(&lanes[..rest.len()]);
    }
}

#[inline(always)]
fn neighbours<S: Simd>(s: S, x: &mut [f32; LANES], cos: &[f32; LANES], sin: &[f32; LANES]) {
    let v = s.load(x);
    let turned = s.mul(s.swap_pairs(v), s.load(sin));
    s.store(s.fma(v, s.load(cos), turned), x);
}

/// `y[i] = x[i]·cos − x[i+half]·sin`, `y[i+half] = x[i+half]·cos + x[i]·sin`.
#[inline(always)]
fn rotate_halves<S: Simd>(s: S, rotation: Rotation<'_>, x: &mut [f32]) {
    let (a, b) = x.split_at_mut(x.len() / 2);
    let (a, a_rest) = a.as_chunks_mut::<LANES>();
    let (b, b_rest) = b.as_chunks_mut::<LANES>();
    let (cos, cos_rest) = rotation.cos.as_chunks::<LANES>();
    let (sin, sin_rest) = rotation.sin.as_chunks::<LANES>();
    for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
        halves(s, a, b, cos, sin);
    }
    if !a_rest.is_empty() {
        let (mut a, mut b) = (padded(a_rest, 0.0), padded(b_rest, 0.0));
        halves(
            s,
            &mut a,
            &mut b,
            &padded(cos_rest, 0.0),
            &padded(sin_rest, 0.0),
        );
        a_rest.copy_from_slice(&a[..a_rest.len()]);
        b_rest.copy_from_slice(&b[..b_rest.len()]);
    }
}

#[inline(always)]
fn halves<S: Simd>(
    s: S,
    a: &mut [f32; LANES],
    b: &mut [f32; LANES],
    cos: &[f32; LANES],
    sin: &[f32; LANES],
) {
    let (x, y) = (s.load(a), s.load(b));
    let (cos, sin) = (s.load(cos), s.load(sin));
    let negated = s.sub(s.splat(0.0), sin);
    s.store(s.fma(x, cos, s.mul(y, negated)), a);
    s.store(s.fma(y, cos, s.mul(x, sin)), b);
}
