//! Matrix products of packed weights and activations: `y = x·Wᵀ`.
//!
//! # Determinism
//! Every output is one chain of single-precision operations over the blocks of 32 columns, in
//! order: `y ← fma(dot, d·s, y)`, then for formats with a minimum `y ← fma(m, s·Σq, y)`, with the
//! scale `d` and minimum `m` of the weights, the scale `s` of the activations, and the exact
//! integer product `dot` (two of them, in order, for Q6_K, which has a scale for every 16
//! columns). For float formats it is `y ← fma(w, x, y)` over the columns in order. A kernel
//! computes 16 rows in 16 lanes, so it never has to add across lanes, and the result has the same
//! bits for every instruction set, number of threads, and number of rows of `x`.

/// Calls a function whose last constant parameter is the width of a tile; those before it stand in
/// the brackets.
#[cfg(target_arch = "x86_64")]
macro_rules! with_width {
    ($width:expr, $f:ident[$($generic:tt),*]($($argument:expr),*)) => {
        match $width {
            1 => $f::<$($generic,)* 1>($($argument),*),
            2 => $f::<$($generic,)* 2>($($argument),*),
            3 => $f::<$($generic,)* 3>($($argument),*),
            4 => $f::<$($generic,)* 4>($($argument),*),
            5 => $f::<$($generic,)* 5>($($argument),*),
            6 => $f::<$($generic,)* 6>($($argument),*),
            7 => $f::<$($generic,)* 7>($($argument),*),
            8 => $f::<$($generic,)* 8>($($argument),*),
            width => unreachable!("a tile of {width} rows"),
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::activation::{Activations, FloatTile, TILE, Tile};
use crate::isa::Isa;
use crate::lanes::{Floats, Halves, LANES, Line};
use crate::pack::unpack::{CHUNK, PackedChunk, Unpacked};
use crate::pack::{Body, PackedMatrix, Quantised};
use crate::pool::{DisjointMut, Pool};

/// The variants of the kernels for one instruction set.
pub(crate) struct Kernels {
    /// Quantises a tile of activations: rows, columns, records.
    pub(crate) load_tile: fn(&[f32], usize, &mut [u32]),
    /// Unpacks a chunk.
    unpack: fn(&PackedChunk<'_>, &mut Unpacked),
    /// Goes on with the sums of a tile over an unpacked chunk.
    multiply: fn(&Unpacked, Tile<'_>, &mut [Floats]),
    /// Goes on with the sums of a tile over a packed chunk, which is read only once; the unpacked
    /// one is scratch.
    stream: fn(&PackedChunk<'_>, &mut Unpacked, Tile<'_>, &mut [Floats]),
    /// The sums of a tile over all columns of a group of float weights.
    multiply_floats: fn(FloatColumns<'_>, FloatTile<'_>, &mut [Floats]),
}

/// All columns of a group of rows in a float format.
#[derive(Clone, Copy)]
enum FloatColumns<'a> {
    Single(&'a [Line]),
    Half(&'a [Halves]),
    Brain(&'a [Halves]),
}

impl Kernels {
    /// The kernels of the fastest instruction set.
    pub(crate) fn best() -> &'static Self {
        Self::of(Isa::best())
    }

    /// The kernels of an instruction set. Nothing else reaches those of `avx2`, `avx512` and
    /// `neon`, so they may count on their target features.
    ///
    /// # Panics
    /// If this machine does not have it.
    pub(crate) fn of(isa: Isa) -> &'static Self {
        assert!(isa.is_available(), "this machine has no {}", isa.name());
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &avx512::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &avx2::KERNELS,
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => &neon::DOT_KERNELS,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => &neon::KERNELS,
            _ => &scalar::KERNELS,
        }
    }
}

/// `y[t, r] = Σ_c W[r, c]·x[t, c]`.
///
/// # Shapes
/// `w: [rows, cols]`, `x: [T, cols]`, `y: [T, rows]`.
///
/// # Accuracy
/// For quantised weights, that of `x` in 8 bits: every product of a block is off by at most
/// `max|x| / 254` times the weight's magnitude, plus the rounding of the single-precision sums.
///
/// # Panics
/// If the shapes do not fit together, or `x` was loaded for weights of other formats only.
pub fn matmul(pool: &Pool, w: &PackedMatrix, x: &Activations, y: &mut [f32]) {
    matmul_with(Kernels::best(), pool, w, x, y);
}

/// Only some rows of [`matmul`]: `y[t, i] = Σ_c W[row_ids[i], c]·x[t, c]`, with the same bits. The
/// groups of 16 rows in which none of them lies are not touched.
///
/// # Shapes
/// `w: [rows, cols]`, `x: [T, cols]`, `y: [T, row_ids.len()]`.
///
/// # Panics
/// If the shapes do not fit together, there is no such row, or `x` was loaded for weights of other
/// formats only.
pub fn matmul_rows(pool: &Pool, w: &PackedMatrix, row_ids: &[u32], x: &Activations, y: &mut [f32]) {
    matmul_rows_with(Kernels::best(), pool, w, (row_ids, x), y);
}

fn matmul_with(kernels: &Kernels, pool: &Pool, w: &PackedMatrix, x: &Activations, y: &mut [f32]) {
    check_shapes(w, w.rows(), x, y);
    let groups = w.rows().div_ceil(LANES);
    let y = Output::new(y, w.rows());
    for_each_share(pool, groups, |groups| match w.body() {
        Body::Quantised(body) if x.tiles() > 1 => {
            multiply_share(kernels, body, x, &y, groups);
        }
        _ => {
            let mut scratch = Unpacked::EMPTY;
            for group in groups {
                for tile in 0..x.tiles() {
                    let sums = group_sums(kernels, w, group, (x, tile), &mut scratch);
                    y.store(tile, rows_of(group, w.rows()), &sums);
                }
            }
        }
    });
}

fn matmul_rows_with(
    kernels: &Kernels,
    pool: &Pool,
    w: &PackedMatrix,
    (row_ids, x): (&[u32], &Activations),
    y: &mut [f32],
) {
    check_shapes(w, row_ids.len(), x, y);
    if let Some(row) = row_ids.iter().find(|row| **row as usize >= w.rows()) {
        panic!("row {row} of {} rows", w.rows());
    }
    let y = Output::new(y, row_ids.len());
    for_each_share(pool, row_ids.len(), |ids| {
        let mut scratch = Unpacked::EMPTY;
        for tile in 0..x.tiles() {
            let mut known = None;
            for i in ids.clone() {
                let (group, lane) = (row_ids[i] as usize / LANES, row_ids[i] as usize % LANES);
                let sums = match known {
                    Some((of, sums)) if of == group => sums,
                    _ => group_sums(kernels, w, group, (x, tile), &mut scratch),
                };
                known = Some((group, sums));
                y.store_lane(tile, i, &sums, lane);
            }
        }
    });
}

fn check_shapes(w: &PackedMatrix, outputs: usize, x: &Activations, y: &[f32]) {
    assert_eq!(x.cols(), w.cols(), "columns of x and of the weights");
    assert_eq!(
        y.len(),
        x.rows() * outputs,
        "outputs of {} rows by {outputs}",
        x.rows()
    );
}

/// Cuts `0..items` into one contiguous share for each thread.
fn for_each_share(pool: &Pool, items: usize, f: impl Fn(Range<usize>) + Sync) {
    let shares = pool.threads().min(items);
    pool.run(shares, |share| {
        f(share * items / shares..(share + 1) * items / shares);
    });
}

/// The products of the 16 rows of `group` with the rows of one tile.
fn group_sums(
    kernels: &Kernels,
    w: &PackedMatrix,
    group: usize,
    (x, tile): (&Activations, usize),
    scratch: &mut Unpacked,
) -> [Floats; TILE] {
    let mut sums = [Floats::ZERO; TILE];
    let columns = group * w.cols()..(group + 1) * w.cols();
    let floats = match w.body() {
        Body::Quantised(body) => {
            for (i, chunk) in body.chunks(group).enumerate() {
                let x = x.tile(tile, i * CHUNK);
                (kernels.stream)(&chunk, scratch, x, &mut sums[..x.width]);
            }
            return sums;
        }
        Body::Single(all) => FloatColumns::Single(&all[columns]),
        Body::Half(all) => FloatColumns::Half(&all[columns]),
        Body::Brain(all) => FloatColumns::Brain(&all[columns]),
    };
    let x = x.float_tile(tile);
    (kernels.multiply_floats)(floats, x, &mut sums[..x.width]);
    sums
}

/// Groups of rows that are unpacked together. A chunk of a tile (13 KiB) is read into the first
/// level cache once and multiplied with all of them, which lie in the second (88 KiB).
const PANEL: usize = 4;

/// The products of a share of the groups with more than one tile. Every chunk is unpacked once;
/// between the chunks, the sums wait in `y`.
fn multiply_share(
    kernels: &Kernels,
    w: &Quantised,
    x: &Activations,
    y: &Output<'_>,
    share: Range<usize>,
) {
    #[expect(
        clippy::large_stack_arrays,
        reason = "threads have megabytes, and the heap would be asked for every product"
    )]
    let mut panel = [Unpacked::EMPTY; PANEL];
    for first_group in share.clone().step_by(PANEL) {
        let groups = first_group..share.end.min(first_group + PANEL);
        for first_block in (0..w.blocks).step_by(CHUNK) {
            for (group, unpacked) in groups.clone().zip(&mut panel) {
                (kernels.unpack)(&w.chunk(group, first_block), unpacked);
            }
            for tile in 0..x.tiles() {
                let part = x.tile(tile, first_block);
                for (group, unpacked) in groups.clone().zip(&panel) {
                    let rows = rows_of(group, y.outputs);
                    let mut sums = [Floats::ZERO; TILE];
                    if first_block > 0 {
                        y.load(tile, rows.clone(), &mut sums);
                    }
                    (kernels.multiply)(unpacked, part, &mut sums[..part.width]);
                    y.store(tile, rows, &sums);
                }
            }
        }
    }
}

/// The rows of a group; the last one may be short of some.
fn rows_of(group: usize, rows: usize) -> Range<usize> {
    group * LANES..rows.min((group + 1) * LANES)
}

/// `y: [T, outputs]`, of which every task reads and writes columns of its own.
struct Output<'a> {
    y: DisjointMut<'a, f32>,
    rows: usize,
    outputs: usize,
}

impl<'a> Output<'a> {
    fn new(y: &'a mut [f32], outputs: usize) -> Self {
        Self {
            rows: y.len().checked_div(outputs).unwrap_or(0),
            outputs,
            y: DisjointMut::new(y),
        }
    }

    fn load(&self, tile: usize, columns: Range<usize>, sums: &mut [Floats; TILE]) {
        self.for_each_row(tile, columns, |n, y| match <&[f32; LANES]>::try_from(&*y) {
            Ok(y) => sums[n].0 = *y,
            Err(_) => sums[n].0[..y.len()].copy_from_slice(y),
        });
    }

    fn store(&self, tile: usize, columns: Range<usize>, sums: &[Floats; TILE]) {
        self.for_each_row(tile, columns, |n, y| {
            match <&mut [f32; LANES]>::try_from(&mut *y) {
                Ok(y) => *y = sums[n].0,
                Err(_) => y.copy_from_slice(&sums[n].0[..y.len()]),
            }
        });
    }

    fn store_lane(&self, tile: usize, column: usize, sums: &[Floats; TILE], lane: usize) {
        self.for_each_row(tile, column..column + 1, |n, y| y[0] = sums[n].0[lane]);
    }

    /// Hands over these columns of every row of a tile, with its number in the tile.
    #[inline]
    fn for_each_row(
        &self,
        tile: usize,
        columns: Range<usize>,
        mut f: impl FnMut(usize, &mut [f32]),
    ) {
        let first = tile * TILE;
        for row in first..self.rows.min(first + TILE) {
            let start = row * self.outputs;
            // SAFETY: every column belongs to one share and so to one task, which holds one part
            // at a time.
            let part = unsafe { self.y.range(start + columns.start..start + columns.end) };
            f(row - first, part);
        }
    }
}
