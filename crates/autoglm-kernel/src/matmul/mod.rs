//! Matrix products of packed weights and activations: `y = x·Wᵀ`.
//!
//! # Determinism
//! Every output is one chain of single-precision operations over the blocks of 32 columns, in
//! order: `y ← fma(dot, d·s, y)`, then for formats with a minimum `y ← fma(m, s·Σq, y)`, with the
//! scale `d` and minimum `m` of the weights, the scale `s` of the activations, and the exact
//! integer product `dot` (two of them, in order, for Q6_K, which has a scale for every 16
//! columns). For float formats it is `y ← fma(w, x, y)` over the columns in order. For BF16 weights
//! that ask for it, `x` is rounded to bfloat16, and a block of columns is two chains from zero,
//! `e ← fma(w, x, e)` over its even columns and `o` over its odd ones, and `y ← y + (e + o)`: what
//! processors with tiles of bfloat16 do in one instruction (Intel SDM, `TDPBF16PS`). A kernel
//! computes 16 rows in 16 lanes, so it never has to add across lanes, and the result has the same
//! bits for every instruction set, number of threads, and number of rows of `x`; but for bfloat16
//! tiles, which take magnitudes below 2⁻¹²⁶ for zero.

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
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod brain;
#[cfg(target_arch = "aarch64")]
mod neon;
mod output;
mod scalar;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ops::Range;

use crate::activation::{Activations, FloatTile, TILE, Tile, WIDE, WideTile};
use crate::isa::Isa;
use crate::lanes::{Floats, Halves, LANES, Line};
use crate::pack::unpack::{CHUNK, PackedChunk, Unpacked};
use crate::pack::{Body, PackedMatrix, Quantised};
use crate::pool::Pool;

use brain::{OneTile, PAIRS, WideBrains};
use output::Output;

/// One of the products of [`matmul_all`]: `y = x·Wᵀ + b`.
pub struct Product<'a> {
    /// `W: [rows, cols]`.
    pub w: &'a PackedMatrix,
    /// `b: [rows]`, added to each finished sum.
    pub bias: Option<&'a [f32]>,
    /// `y: [T, rows]`.
    pub y: &'a mut [f32],
}

/// The variants of the kernels for one instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    /// Quantises a tile of activations: rows, columns, records.
    pub(crate) load_tile: fn(&[f32], usize, &mut [u32]),
    /// Unpacks a chunk.
    unpack: Unpack,
    /// Goes on with the sums of a tile over an unpacked chunk.
    multiply: fn(&Unpacked, Tile<'_>, &mut [Floats]),
    /// The same for two groups of rows and a whole tile, where that is faster.
    multiply_two: Option<MultiplyTwo>,
    /// Goes on with the sums of a tile over a packed chunk, which is read only once; the unpacked
    /// one is scratch.
    stream: fn(&PackedChunk<'_>, &mut Unpacked, Tile<'_>, &mut [Floats]),
    /// Up to so many tiles are streamed; for more, chunks are unpacked first. The first tile brings
    /// a group into the cache, and nothing waits for memory without multiplying.
    streamed_tiles: usize,
    /// The sums of a tile over all columns of a group of float weights.
    multiply_floats: fn(FloatColumns<'_>, FloatTile<'_>, &mut [Floats]),
    /// The same for bfloat16 weights and activations.
    multiply_brains: fn(&[Line], FloatTile<'_>, &mut [Floats]),
    /// Products of more tokens than are streamed, where the machine has instructions for them.
    wide: Option<Wide>,
}

type MultiplyTwo = fn([&Unpacked; 2], Tile<'_>, &mut [[Floats; TILE]; 2]);

/// Kernels that multiply 16 tokens at once.
#[derive(Clone, Copy)]
struct Wide {
    /// Does the work of a task, which may call the others.
    session: fn(&mut dyn FnMut()),
    /// Unpacks a chunk for `multiply`.
    unpack: Unpack,
    /// Goes on with the sums of a wide tile over a chunk.
    multiply: fn(&Unpacked, WideTile<'_>, &mut [Floats; WIDE]),
    /// The same for bfloat16.
    brains: WideBrains,
}

/// All columns of a group of rows in a float format.
#[derive(Clone, Copy)]
enum FloatColumns<'a> {
    Single(&'a [Line]),
    Half(&'a [Halves]),
    /// Pairs of columns, in whole blocks.
    Brain(&'a [Line]),
}

impl Kernels {
    /// Whether activations of so many tiles are multiplied 16 tokens at once.
    pub(crate) fn multiplies_wide(&self, tiles: usize) -> bool {
        self.wide.is_some() && tiles > self.streamed_tiles
    }

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
            Isa::Amx => &amx::KERNELS,
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
/// `max|x| / 254` times the weight's magnitude, plus the rounding of the single-precision sums. For
/// weights that round activations, that of `x` in bfloat16: `|x| / 256` times the weight's magnitude.
///
/// # Panics
/// If the shapes do not fit together, or `x` was loaded for weights of other formats only.
pub fn matmul(pool: &Pool, w: &PackedMatrix, x: &Activations, y: &mut [f32]) {
    matmul_with(Kernels::best(), pool, w, x, y);
}

/// Several products with the same `x` in one run of the threads. Each has the bits that [`matmul`]
/// followed by [`crate::add_bias`] gives.
///
/// # Shapes
/// As [`matmul`], for each product.
///
/// # Panics
/// If the shapes do not fit together, or `x` was loaded for weights of other formats only.
pub fn matmul_all(pool: &Pool, x: &Activations, products: &mut [Product<'_>]) {
    matmul_all_with(Kernels::best(), pool, x, products);
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
    matmul_all_with(kernels, pool, x, &mut [Product { w, bias: None, y }]);
}

fn matmul_all_with(kernels: &Kernels, pool: &Pool, x: &Activations, products: &mut [Product<'_>]) {
    let mut end = 0;
    let parts: Vec<Part<'_>> = products
        .iter_mut()
        .map(|product| {
            let w = product.w;
            check_shapes(w, w.rows(), x, product.y);
            let bias_len = product.bias.map_or(w.rows(), <[f32]>::len);
            assert_eq!(
                bias_len,
                w.rows(),
                "elements of the bias of {} rows",
                w.rows()
            );
            let first = end;
            end += w.rows().div_ceil(LANES);
            Part {
                w,
                groups: first..end,
                y: Output::new(product.y, w.rows(), product.bias),
            }
        })
        .collect();
    let (unit, most) = if x.tiles() > kernels.streamed_tiles {
        (PANEL, usize::MAX)
    } else {
        (LEAST_GROUPS, MOST_TASKS)
    };
    for_each_task(pool, end, (unit, most), |task| {
        for part in &parts {
            let of_part = &part.groups;
            let (start, end) = (task.start.max(of_part.start), task.end.min(of_part.end));
            if start < end {
                part.multiply(kernels, x, start - of_part.start..end - of_part.start);
            }
        }
    });
}

/// A product as one part of a run: its groups among those of all products.
struct Part<'a> {
    w: &'a PackedMatrix,
    groups: Range<usize>,
    y: Output<'a>,
}

impl Part<'_> {
    /// Multiplies some of the matrix's groups.
    fn multiply(&self, kernels: &Kernels, x: &Activations, groups: Range<usize>) {
        let Self { w, y, .. } = self;
        match w.body() {
            Body::Quantised(body) if x.tiles() > kernels.streamed_tiles => {
                with_scratch(PANEL, |panel| {
                    multiply_share(kernels, (body, panel), x, y, groups);
                });
            }
            Body::Brain(lines)
                if w.rounds_activations()
                    && x.tiles() > kernels.streamed_tiles
                    && let Some(wide) = kernels.wide =>
            {
                brain::multiply_share(wide.brains, lines, x, y, groups);
            }
            _ => with_scratch(1, |scratch| {
                let (mut sums, mut rounded) = ([Floats::ZERO; TILE], Vec::new());
                for group in groups {
                    for tile in 0..x.tiles() {
                        let sums = &mut sums[..x.width(tile)];
                        let x = OneTile::of(w, (x, tile), &mut rounded);
                        sum_group(kernels, w, group, x, &mut scratch[0], sums);
                        y.finish(tile, rows_of(group, w.rows()), sums);
                    }
                }
            }),
        }
    }
}

fn matmul_rows_with(
    kernels: &Kernels,
    pool: &Pool,
    w: &PackedMatrix,
    (row_ids, x): (&[u32], &Activations),
    y: &mut [f32],
) {
    check_shapes(w, row_ids.len(), x, y);
    let missing = row_ids.iter().find(|row| **row as usize >= w.rows());
    assert!(missing.is_none(), "row {missing:?} of {} rows", w.rows());
    let y = Output::new(y, row_ids.len(), None);
    for_each_task(pool, row_ids.len(), (LANES, MOST_TASKS), |ids| {
        with_scratch(1, |scratch| {
            let (mut sums, mut rounded) = ([Floats::ZERO; TILE], Vec::new());
            for tile in 0..x.tiles() {
                let sums = &mut sums[..x.width(tile)];
                let x = OneTile::of(w, (x, tile), &mut rounded);
                let mut known = None;
                for i in ids.clone() {
                    let (group, lane) = (row_ids[i] as usize / LANES, row_ids[i] as usize % LANES);
                    if known != Some(group) {
                        sum_group(kernels, w, group, x, &mut scratch[0], sums);
                        known = Some(group);
                    }
                    y.store_lane(tile, i, sums, lane);
                }
            }
        });
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

/// Groups of a task that is streamed: some 10 KiB of a small model, half a microsecond.
const LEAST_GROUPS: usize = 2;
/// Tasks of such a run for each thread: enough that a thread which is held up, or has the slower
/// core, keeps the others waiting for a small part of the product only.
const MOST_TASKS: usize = 16;

/// Cuts `0..items` into contiguous tasks of even size, the same number for each thread: about one
/// for every `unit` items, but at most `most` for each.
fn for_each_task(
    pool: &Pool,
    items: usize,
    (unit, most): (usize, usize),
    f: impl Fn(Range<usize>) + Sync,
) {
    let threads = pool.threads();
    let tasks = items.min(threads * items.div_ceil(threads * unit).min(most));
    pool.run(tasks, |task| {
        f(task * items / tasks..(task + 1) * items / tasks);
    });
}

thread_local! {
    /// Unpacked chunks of a compute thread, kept between products: a fresh one would have to be
    /// initialised, which takes as long as a small share.
    static SCRATCH: RefCell<Vec<Unpacked>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with so many unpacked chunks of this thread.
fn with_scratch<R>(chunks: usize, f: impl FnOnce(&mut [Unpacked]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < chunks {
            scratch.resize_with(chunks, || Unpacked::EMPTY);
        }
        f(&mut scratch[..chunks])
    })
}

/// `sums` become the products of the 16 rows of `group` with the rows of one tile.
fn sum_group(
    kernels: &Kernels,
    w: &PackedMatrix,
    group: usize,
    x: OneTile<'_>,
    scratch: &mut Unpacked,
    sums: &mut [Floats],
) {
    sums.fill(Floats::ZERO);
    let columns = group * w.cols()..(group + 1) * w.cols();
    let floats = match w.body() {
        Body::Quantised(body) => {
            for (i, chunk) in body.chunks(group).enumerate() {
                (kernels.stream)(&chunk, scratch, x.all.tile(x.tile, i * CHUNK), sums);
            }
            return;
        }
        Body::Single(all) => FloatColumns::Single(&all[columns]),
        Body::Half(all) => FloatColumns::Half(&all[columns]),
        Body::Brain(all) => {
            let all = brain::lines_of(all, group, w.cols());
            if let Some(x) = x.rounded {
                return (kernels.multiply_brains)(all, x, sums);
            }
            FloatColumns::Brain(all)
        }
    };
    (kernels.multiply_floats)(floats, x.all.float_tile(x.tile), sums);
}

/// Groups of rows that are unpacked together. A chunk of a tile (13 KiB) is read into the first
/// level cache once and multiplied with all of them, which lie in the second (88 KiB).
const PANEL: usize = 4;

/// The products of a share of the groups with more tiles than are streamed. Every chunk is unpacked
/// once; between the chunks, the sums wait in `y`.
fn multiply_share(
    kernels: &Kernels,
    (w, panel): (&Quantised, &mut [Unpacked]),
    x: &Activations,
    y: &Output<'_>,
    share: Range<usize>,
) {
    let mut for_each_panel = |unpack: Unpack, multiply: &dyn Fn(&PanelChunk<'_>)| {
        for first_group in share.clone().step_by(PANEL) {
            let groups = first_group..share.end.min(first_group + PANEL);
            for first_block in (0..w.blocks).step_by(CHUNK) {
                for (group, unpacked) in groups.clone().zip(&mut *panel) {
                    unpack(&w.chunk(group, first_block), unpacked);
                }
                multiply(&PanelChunk {
                    groups: groups.clone(),
                    unpacked: panel,
                    first_block,
                    blocks: w.blocks,
                });
            }
        }
    };
    match kernels.wide {
        Some(wide) => (wide.session)(&mut || {
            for_each_panel(wide.unpack, &|chunk| {
                chunk.multiply_wide(wide.multiply, x, y);
            });
        }),
        None => for_each_panel(kernels.unpack, &|chunk| {
            chunk.multiply(kernels, x, y);
        }),
    }
}

/// Unpacks a chunk.
type Unpack = fn(&PackedChunk<'_>, &mut Unpacked);

/// A chunk of columns of the groups of a panel.
struct PanelChunk<'a> {
    groups: Range<usize>,
    unpacked: &'a [Unpacked],
    first_block: usize,
    /// Blocks in a row.
    blocks: usize,
}

impl PanelChunk<'_> {
    /// Goes on with the sums of all tiles.
    fn multiply(&self, kernels: &Kernels, x: &Activations, y: &Output<'_>) {
        let unpacked = &self.unpacked[..self.groups.len()];
        let mut sums = [[Floats::ZERO; TILE]; 2];
        for tile in 0..x.tiles() {
            let part = x.tile(tile, self.first_block);
            for (first, two) in self.groups.clone().step_by(2).zip(unpacked.chunks(2)) {
                let rows = |i: usize| rows_of(first + i, y.outputs);
                for (i, sums) in sums[..two.len()].iter_mut().enumerate() {
                    self.resume(y, tile, rows(i), &mut sums[..part.width]);
                }
                match (two, kernels.multiply_two) {
                    ([a, b], Some(multiply_two)) if part.width == TILE => {
                        multiply_two([a, b], part, &mut sums);
                    }
                    _ => {
                        for (w, sums) in two.iter().zip(&mut sums) {
                            (kernels.multiply)(w, part, &mut sums[..part.width]);
                        }
                    }
                }
                for (i, sums) in sums[..two.len()].iter_mut().enumerate() {
                    self.pause(y, tile, rows(i), &mut sums[..part.width]);
                }
            }
        }
    }

    /// The same, two tiles at once.
    fn multiply_wide(
        &self,
        multiply: fn(&Unpacked, WideTile<'_>, &mut [Floats; WIDE]),
        x: &Activations,
        y: &Output<'_>,
    ) {
        let mut sums = [Floats::ZERO; WIDE];
        for wide in 0..x.wide_tiles() {
            let part = x.wide_tile(wide, self.first_block);
            let tiles = [2 * wide, 2 * wide + 1];
            for (group, unpacked) in self.groups.clone().zip(self.unpacked) {
                let rows = rows_of(group, y.outputs);
                for (tile, sums) in tiles.into_iter().zip(sums.chunks_mut(TILE)) {
                    self.resume(y, tile, rows.clone(), sums);
                }
                multiply(unpacked, part, &mut sums);
                for (tile, sums) in tiles.into_iter().zip(sums.chunks_mut(TILE)) {
                    self.pause(y, tile, rows.clone(), sums);
                }
            }
        }
    }

    /// The sums so far.
    fn resume(&self, y: &Output<'_>, tile: usize, rows: Range<usize>, sums: &mut [Floats]) {
        if self.first_block > 0 {
            y.load(tile, rows, sums);
        } else {
            y.clear(sums);
        }
    }

    /// Stores the sums, which the last chunk completes.
    fn pause(&self, y: &Output<'_>, tile: usize, rows: Range<usize>, sums: &mut [Floats]) {
        if self.first_block + CHUNK < self.blocks {
            y.store(tile, rows, sums);
        } else {
            y.finish(tile, rows, sums);
        }
    }
}

/// The rows of a group; the last one may be short of some.
fn rows_of(group: usize, rows: usize) -> Range<usize> {
    group * LANES..rows.min((group + 1) * LANES)
}
