//! Many small matrix products at once, such as one for every head.

#[cfg(test)]
mod tests;

use crate::activation::Activations;
use crate::matmul::matmul;
use crate::pack::PackedMatrix;
use crate::pool::{DisjointMut, Pool};

/// `y[n] = x[n]·W[n]ᵀ` for every matrix, each computed by one thread: the same bits as
/// [`matmul`]. `scratch` is kept between calls.
///
/// # Shapes
/// `w: [N]` of `[rows, cols]`, `x: [N, T, cols]`, `y: [N, T, rows]`.
///
/// # Panics
/// If the matrices differ in shape, or a slice has another length than the shapes say.
pub fn matmul_each(
    pool: &Pool,
    w: &[PackedMatrix],
    x: &[f32],
    scratch: &mut Vec<Activations>,
    y: &mut [f32],
) {
    let Some(first) = w.first() else { return };
    let (rows, cols) = (first.rows(), first.cols());
    if let Some(odd) = w.iter().find(|w| (w.rows(), w.cols()) != (rows, cols)) {
        panic!(
            "matmul_each: a matrix of {} rows by {} among those of {rows} by {cols}",
            odd.rows(),
            odd.cols()
        );
    }
    let tokens = x.len() / (w.len() * cols);
    assert_eq!(
        (x.len(), y.len()),
        (w.len() * tokens * cols, w.len() * tokens * rows),
        "matmul_each: elements of x and y for {} matrices of {rows} rows by {cols}",
        w.len()
    );
    if tokens == 0 {
        return;
    }
    let tasks = pool.threads().min(w.len());
    scratch.resize_with(tasks.max(scratch.len()), Activations::new);
    let scratch = DisjointMut::new(scratch);
    let y = DisjointMut::new(y);
    pool.run(tasks, |task| {
        // SAFETY: every task has a scratch of its own.
        let [activations] = (unsafe { scratch.range(task..task + 1) }) else {
            unreachable!("a range of one element")
        };
        for n in task * w.len() / tasks..(task + 1) * w.len() / tasks {
            let x = &x[n * tokens * cols..][..tokens * cols];
            // SAFETY: every matrix belongs to one task, and its outputs to no other matrix.
            let y = unsafe { y.range(n * tokens * rows..(n + 1) * tokens * rows) };
            activations.load_for(pool, x, cols, &[&w[n]]);
            matmul(pool, &w[n], activations, y);
        }
    });
}
