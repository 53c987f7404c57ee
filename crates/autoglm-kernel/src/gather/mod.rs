//! Rows taken out of a matrix, and weighted rows added back into it.

#[cfg(test)]
mod tests;

use crate::elementwise::{assert_rows, chunk_len, zip_in_place};
use crate::pool::{DisjointMut, Pool};
use crate::simd::{Simd, Variant, with_simd};

/// `out[i] = x[rows[i]]`; `out` gets the length that it needs.
///
/// # Shapes
/// `x: [T, width]`, `rows: [N]`, `out: [N, width]`.
///
/// # Panics
/// If `x` is not rows of `width` or there is no such row.
pub fn gather_rows(pool: &Pool, x: &[f32], width: usize, rows: &[u32], out: &mut Vec<f32>) {
    assert_rows("gather_rows", x.len(), width);
    out.resize(rows.len() * width, 0.0);
    let chunk_len = chunk_len(pool, out.len(), width);
    pool.for_each_chunk(out, chunk_len, |chunk, out| {
        let rows = &rows[chunk * chunk_len / width..];
        for (out, &row) in out.chunks_exact_mut(width).zip(rows) {
            out.copy_from_slice(&x[row as usize * width..][..width]);
        }
    });
}

/// `y[rows[i]] = fma(weights[i], x[i], y[rows[i]])`, element by element.
///
/// # Shapes
/// `x: [N, width]`, `rows, weights: [N]`, `y: [T, width]`.
///
/// # Panics
/// If the lengths do not fit together, the rows do not ascend, or there is no such row.
pub fn scatter_rows(
    pool: &Pool,
    x: &[f32],
    width: usize,
    (rows, weights): (&[u32], &[f32]),
    y: &mut [f32],
) {
    scatter_rows_with(Variant::best(), pool, (x, width), (rows, weights), y);
}

fn scatter_rows_with(
    variant: Variant,
    pool: &Pool,
    (x, width): (&[f32], usize),
    (rows, weights): (&[u32], &[f32]),
    y: &mut [f32],
) {
    assert_rows("scatter_rows", y.len(), width);
    assert_eq!(x.len(), rows.len() * width, "scatter_rows: a row for each");
    assert_eq!(
        weights.len(),
        rows.len(),
        "scatter_rows: a weight for each row"
    );
    assert!(
        rows.is_sorted_by(|a, b| a < b),
        "scatter_rows: rows do not ascend"
    );
    let per_task = chunk_len(pool, x.len(), width) / width;
    let y = DisjointMut::new(y);
    pool.run(rows.len().div_ceil(per_task), |task| {
        let first = task * per_task;
        for i in first..rows.len().min(first + per_task) {
            let start = rows[i] as usize * width;
            // SAFETY: rows ascend, so each occurs once, and every index belongs to one task.
            let y = unsafe { y.range(start..start + width) };
            let x = &x[i * width..][..width];
            with_simd!(variant, s => {
                let weight = s.splat(weights[i]);
                zip_in_place(s, y, x, #[inline(always)] |y, x| s.fma(weight, x, y));
            });
        }
    });
}
