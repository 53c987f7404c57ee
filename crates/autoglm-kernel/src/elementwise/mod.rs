//! Operations on each element by itself: sums, biases, scaling.

#[cfg(test)]
mod tests;

use crate::pool::Pool;
use crate::simd::{LANES, Simd, Variant, padded, with_simd};

/// Elements below which a second thread costs more than it saves: 32 KiB of `f32` pass through a
/// core in about a microsecond, the price of waking another.
const ELEMENTS_PER_TASK: usize = 8 * 1024;

/// `x += y`.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign(pool: &Pool, x: &mut [f32], y: &[f32]) {
    add_assign_with(Variant::best(), pool, x, y);
}

/// Adds the bias to every row of `x`.
///
/// # Shapes
/// `x: [T, C]`, `bias: [C]`.
///
/// # Panics
/// If `bias` is empty or its length does not divide that of `x`.
pub fn add_bias(pool: &Pool, x: &mut [f32], bias: &[f32]) {
    add_bias_with(Variant::best(), pool, x, bias);
}

/// `x *= factor`.
pub fn scale(pool: &Pool, x: &mut [f32], factor: f32) {
    scale_with(Variant::best(), pool, x, factor);
}

fn add_assign_with(variant: Variant, pool: &Pool, x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "add_assign: x and y differ in length");
    let chunk_len = chunk_len(pool, x.len(), LANES);
    pool.for_each_chunk(x, chunk_len, |chunk, x| {
        let y = &y[chunk * chunk_len..][..x.len()];
        add_rows(variant, x, y);
    });
}

/// [`add_assign`] on the calling thread.
pub(crate) fn add_rows(variant: Variant, x: &mut [f32], y: &[f32]) {
    with_simd!(variant, s => add_row(s, x, y));
}

fn add_bias_with(variant: Variant, pool: &Pool, x: &mut [f32], bias: &[f32]) {
    assert_rows("add_bias", x.len(), bias.len());
    let chunk_len = chunk_len(pool, x.len(), bias.len());
    pool.for_each_chunk(x, chunk_len, |_, rows| {
        with_simd!(variant, s => {
            for row in rows.chunks_exact_mut(bias.len()) {
                add_row(s, row, bias);
            }
        });
    });
}

fn scale_with(variant: Variant, pool: &Pool, x: &mut [f32], factor: f32) {
    let chunk_len = chunk_len(pool, x.len(), LANES);
    pool.for_each_chunk(x, chunk_len, |_, x| {
        with_simd!(variant, s => map_in_place(s, x, #[inline(always)] |x| s.mul(x, s.splat(factor))));
    });
}

#[inline(always)]
fn add_row<S: Simd>(s: S, x: &mut [f32], y: &[f32]) {
    zip_in_place(
        s,
        x,
        y,
        #[inline(always)]
        |x, y| s.add(x, y),
    );
}

/// `x = f(x)`; a last part of fewer than [`LANES`] elements is computed in padded lanes.
#[inline(always)]
pub(crate) fn map_in_place<S: Simd>(s: S, x: &mut [f32], f: impl Fn(S::V) -> S::V) {
    let (vectors, rest) = x.as_chunks_mut::<LANES>();
    for vector in vectors {
        s.store(f(s.load(vector)), vector);
    }
    if !rest.is_empty() {
        let mut lanes = padded(rest, 0.0);
        s.store(f(s.load(&lanes)), &mut lanes);
        rest.copy_from_slice(&lanes[..rest.len()]);
    }
}

/// `x = f(x, y)`, as [`map_in_place`].
#[inline(always)]
pub(crate) fn zip_in_place<S: Simd>(
    s: S,
    x: &mut [f32],
    y: &[f32],
    f: impl Fn(S::V, S::V) -> S::V,
) {
    let (vectors, rest) = x.as_chunks_mut::<LANES>();
    let (y_vectors, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in vectors.iter_mut().zip(y_vectors) {
        s.store(f(s.load(x), s.load(y)), x);
    }
    if !rest.is_empty() {
        let mut lanes = padded(rest, 0.0);
        s.store(f(s.load(&lanes), s.load(&padded(y_rest, 0.0))), &mut lanes);
        rest.copy_from_slice(&lanes[..rest.len()]);
    }
}

/// How many of `len` elements a task takes: whole `unit`s, an even share for every thread, but not
/// so few that sharing costs more than it saves.
pub(crate) fn chunk_len(pool: &Pool, len: usize, unit: usize) -> usize {
    let share = len.div_ceil(pool.threads()).max(ELEMENTS_PER_TASK);
    share.div_ceil(unit) * unit
}

/// Panics unless `len` elements are whole rows of `columns`.
pub(crate) fn assert_rows(op: &str, len: usize, columns: usize) {
    assert!(
        columns > 0 && len.is_multiple_of(columns),
        "{op}: {len} elements are not rows of {columns}"
    );
}
