//! Rows of 16 lanes: the units that packed weights consist of. Lane `i` belongs to row `i` of a
//! group of 16 rows.

use std::mem::MaybeUninit;

use crate::error::KernelError;
use crate::pool::{DisjointMut, Pool};

/// Rows in a group: the 32-bit lanes of a 512-bit register.
pub(crate) const LANES: usize = 16;

/// Four bytes a lane.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 4 * LANES]);

/// A 16-bit word a lane.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Halves(pub(crate) [u16; LANES]);

/// A single-precision number a lane.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Floats(pub(crate) [f32; LANES]);

impl Line {
    pub(crate) const ZERO: Self = Self([0; 4 * LANES]);
}

impl Halves {
    pub(crate) const ZERO: Self = Self([0; LANES]);
}

impl Floats {
    pub(crate) const ZERO: Self = Self([0.0; LANES]);
}

/// `chunks` chunks of `chunk_len` copies of `zero`, each then handed to `fill` with its number.
///
/// The memory is first touched by the thread that fills it, so that the page faults of a large
/// matrix are shared among the threads.
///
/// # Errors
/// [`KernelError::Memory`] if there is no memory.
pub(crate) fn filled_in_chunks<T: Copy + Send + Sync>(
    pool: &Pool,
    (chunks, chunk_len): (usize, usize),
    zero: T,
    fill: impl Fn(usize, &mut [T]) + Sync,
) -> Result<Vec<T>, KernelError> {
    let size_bytes = |len: usize| len.saturating_mul(size_of::<T>());
    let len = chunks.checked_mul(chunk_len).unwrap_or(usize::MAX);
    let mut values: Vec<T> = Vec::new();
    values
        .try_reserve_exact(len)
        .map_err(|_| KernelError::Memory {
            size_bytes: size_bytes(len),
        })?;
    let spare = DisjointMut::new(&mut values.spare_capacity_mut()[..len]);
    pool.run(chunks, |chunk| {
        // SAFETY: every chunk number occurs in one task only, and the chunks do not overlap.
        let part = unsafe { spare.range(chunk * chunk_len..(chunk + 1) * chunk_len) };
        part.fill(MaybeUninit::new(zero));
        // SAFETY: the line above has initialised every element.
        fill(chunk, unsafe { part.assume_init_mut() });
    });
    // SAFETY: the capacity is at least `len`, and the tasks have initialised all chunks, which
    // make up `0..len`.
    unsafe { values.set_len(len) };
    Ok(values)
}
