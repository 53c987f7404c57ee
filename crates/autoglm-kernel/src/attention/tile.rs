//! The two inner loops: scores of a tile of positions, and the sum of its weighted values.

#![expect(
    clippy::needless_range_loop,
    reason = "iterators and closures over arrays of vectors keep these out of registers"
)]

use super::elements::{Element, Paged, Stored};
use super::rows::RowBlock;
use super::work::Attention;
use crate::simd::{LANES, Simd};

/// Groups of sixteen positions in a tile.
pub(super) const TILE_GROUPS: usize = 4;

/// Positions in a tile; tiles begin at multiples of it, whatever the window and the blocks.
pub(super) const TILE: usize = TILE_GROUPS * LANES;

/// Scores, then weights, of one row and tile.
pub(super) type Scores = [f32; TILE];

/// Sixteen vectors: a step over sixteen channels of keys, or over sixteen positions of values.
type Square<E> = [[E; LANES]; LANES];

/// One tile as the rows of a block see it.
pub(super) struct Tile<'a, E, const R: usize> {
    /// The positions that each row sees, from the tile's first: from, to.
    pub(super) visible: [(usize, usize); R],
    /// The groups of sixteen positions that some row sees: from, to.
    groups: (usize, usize),
    keys: [Group<'a, E>; TILE_GROUPS],
    values: [Group<'a, E>; TILE_GROUPS],
    /// The keys of the tile that comes next, to be asked for early.
    next_keys: [Group<'a, E>; TILE_GROUPS],
    width: usize,
}

/// Keys or values of sixteen positions and one head.
#[derive(Clone, Copy)]
struct Group<'a, E> {
    /// One square for every sixteen channels, `stride` elements apart.
    elements: &'a [E],
    stride: usize,
    /// One for each position, where the type has scales.
    scales: &'a [f32],
}

impl<'a, E: Element> Group<'a, E> {
    const NONE: Self = Self {
        elements: &[],
        stride: 0,
        scales: &[],
    };

    #[inline(always)]
    fn square(&self, index: usize) -> &'a Square<E> {
        let square = &self.elements[index * self.stride..][..LANES * LANES];
        let (rows, _) = square.as_chunks::<LANES>();
        rows.first_chunk().expect("sixteen times sixteen elements")
    }

    /// Asks for the cache lines of a square.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, s: S, index: usize) {
        if !self.elements.is_empty() {
            let rows_per_line = 64 / size_of::<[E; LANES]>();
            for row in self.square(index).iter().step_by(rows_per_line) {
                s.prefetch(row);
            }
        }
    }

    #[inline(always)]
    fn scales(&self) -> &'a [f32; LANES] {
        self.scales
            .first_chunk()
            .expect("a scale for each position")
    }
}

impl<'a, E: Element, const R: usize> Tile<'a, E, R> {
    /// Tile `tile` for rows that see these positions last; `next` is the tile that follows.
    #[inline(always)]
    pub(super) fn new(
        call: &Attention<'a, E>,
        block: &RowBlock,
        (tile, next): (usize, Option<usize>),
        last_visible: &[usize; R],
    ) -> Self {
        let start = tile * TILE;
        let visible = last_visible.map(|last| {
            let to = (last + 1).saturating_sub(start).min(TILE);
            let from = call.first_visible(last).saturating_sub(start);
            (from.min(to), to)
        });
        // They ascend, so the first row sees the earliest and the last row the latest.
        let groups = (visible[0].0 / LANES, visible[R - 1].1.div_ceil(LANES));
        let mut this = Self {
            visible,
            groups,
            keys: [Group::NONE; TILE_GROUPS],
            values: [Group::NONE; TILE_GROUPS],
            next_keys: [Group::NONE; TILE_GROUPS],
            width: call.kv.width,
        };
        for group in groups.0..groups.1 {
            let place = Place::new(call, block, start + group * LANES);
            this.keys[group] = place.keys(&call.kv);
            this.values[group] = place.values(&call.kv);
        }
        if let Some(next) = next {
            let held = call.spans[block.span].blocks.len() * call.kv.block_tokens;
            let in_blocks = held.saturating_sub(next * TILE) / LANES;
            for group in 0..in_blocks.min(TILE_GROUPS) {
                let place = Place::new(call, block, next * TILE + group * LANES);
                this.next_keys[group] = place.keys(&call.kv);
            }
        }
        this
    }
}

/// Where sixteen positions lie in the cache.
struct Place {
    /// The first slot of the head's block, counted over all blocks and heads.
    block_start: usize,
    /// Slots from there.
    offset: usize,
}

impl Place {
    #[inline(always)]
    fn new<E>(call: &Attention<'_, E>, block: &RowBlock, position: usize) -> Self {
        let kv = &call.kv;
        let page = call.spans[block.span].blocks[position / kv.block_tokens] as usize;
        Self {
            block_start: (page * kv.heads + block.group) * kv.block_tokens,
            offset: position % kv.block_tokens,
        }
    }

    /// `[D/16, 16, 16]`: channels, positions side by side.
    #[inline(always)]
    fn keys<'a, E: Element>(&self, kv: &Paged<'a, E>) -> Group<'a, E> {
        let start = (self.block_start + self.offset) * kv.width;
        Group {
            elements: &kv.keys.elements[start..start + LANES * kv.width],
            stride: LANES * LANES,
            scales: self.scales(&kv.keys),
        }
    }

    /// `[D/16, 16, 16]`: positions, channels side by side.
    #[inline(always)]
    fn values<'a, E: Element>(&self, kv: &Paged<'a, E>) -> Group<'a, E> {
        let start = self.block_start * kv.width + self.offset * LANES;
        let end = (self.block_start + kv.block_tokens) * kv.width;
        Group {
            elements: &kv.values.elements[start..end],
            stride: kv.block_tokens * LANES,
            scales: self.scales(&kv.values),
        }
    }

    #[inline(always)]
    fn scales<'a, E: Element>(&self, stored: &Stored<'a, E>) -> &'a [f32] {
        if E::SCALED {
            &stored.scales[self.block_start + self.offset..][..LANES]
        } else {
            &[]
        }
    }
}

/// `scores[r, j] = scale · Σ_d q[r, d]·k[j, d]`, each sum a single chain over ascending `d`.
#[inline(always)]
pub(super) fn score_tile<S: Simd, E: Element, const R: usize>(
    s: S,
    tile: &Tile<'_, E, R>,
    queries: &[&[f32]; R],
    scale: f32,
    scores: &mut [Scores; R],
) {
    let (mut group, end) = tile.groups;
    while group < end {
        group += match groups_at_once::<S, R>().min(end - group) {
            4.. => score_groups::<S, E, R, 4>(s, tile, queries, group, scale, scores),
            3 => score_groups::<S, E, R, 3>(s, tile, queries, group, scale, scores),
            2 => score_groups::<S, E, R, 2>(s, tile, queries, group, scale, scores),
            _ => score_groups::<S, E, R, 1>(s, tile, queries, group, scale, scores),
        };
    }
}

/// Vectors of results beside each other: as many as fill the registers, which hides the latency
/// of the multiply-adds.
#[inline(always)]
const fn groups_at_once<S: Simd, const R: usize>() -> usize {
    match (S::WIDE, R) {
        (true, _) | (false, 1) => 4,
        (false, 2) => 2,
        _ => 1,
    }
}

#[inline(always)]
fn score_groups<S: Simd, E: Element, const R: usize, const C: usize>(
    s: S,
    tile: &Tile<'_, E, R>,
    queries: &[&[f32]; R],
    group: usize,
    scale: f32,
    scores: &mut [Scores; R],
) -> usize {
    let mut sums = [[s.splat(0.0); C]; R];
    let mut keys = [s.splat(0.0); C];
    for square in 0..tile.width / LANES {
        let mut squares = [tile.keys[group].square(square); C];
        for c in 1..C {
            squares[c] = tile.keys[group + c].square(square);
        }
        for c in 0..C {
            tile.values[group + c].prefetch(s, square);
        }
        let mut vectors = [vector(queries[0], square); R];
        for r in 1..R {
            vectors[r] = vector(queries[r], square);
        }
        for d in 0..LANES {
            for c in 0..C {
                keys[c] = E::load(s, &squares[c][d]);
            }
            for r in 0..R {
                let query = s.splat(vectors[r][d]);
                for c in 0..C {
                    sums[r][c] = s.fma(query, keys[c], sums[r][c]);
                }
            }
        }
    }
    for c in 0..C {
        let mut factor = s.splat(scale);
        if E::SCALED {
            factor = s.mul(factor, s.load(tile.keys[group + c].scales()));
        }
        for (sums, scores) in sums.iter().zip(&mut *scores) {
            s.store(s.mul(sums[c], factor), vector_mut(scores, group + c));
        }
    }
    C
}

/// `out[r, d] += Σ_j weights[r, j]·v[j, d]`, each a single chain over the positions that the row
/// sees, in ascending order. Those that all rows see are added together, the few before and behind
/// them row by row.
#[inline(always)]
pub(super) fn add_values<S: Simd, E: Element, const R: usize>(
    s: S,
    tile: &Tile<'_, E, R>,
    weights: &[Scores; R],
    out: &mut [&mut [f32]; R],
) {
    let from = tile.visible[R - 1].0;
    let to = tile.visible[0].1.max(from);
    for row in 0..R {
        let (row_from, row_to) = tile.visible[row];
        let one = std::array::from_ref(&weights[row]);
        let before = (row_from, from.min(row_to));
        add_positions(s, tile, one, before, &mut [&mut *out[row]]);
    }
    add_positions(s, tile, weights, (from, to), out);
    for row in 0..R {
        let (row_from, row_to) = tile.visible[row];
        let one = std::array::from_ref(&weights[row]);
        let behind = (to.max(row_from), row_to);
        add_positions(s, tile, one, behind, &mut [&mut *out[row]]);
    }
}

/// Weights times the scales of the values, where these have scales.
#[inline(always)]
pub(super) fn scale_weights<S: Simd, E: Element, const R: usize>(
    s: S,
    tile: &Tile<'_, E, R>,
    weights: &mut [Scores; R],
) {
    if E::SCALED {
        for group in tile.groups.0..tile.groups.1 {
            let scales = s.load(tile.values[group].scales());
            for weights in &mut *weights {
                let weights = vector_mut(weights, group);
                s.store(s.mul(s.load(weights), scales), weights);
            }
        }
    }
}

#[inline(always)]
fn add_positions<S: Simd, E: Element, const R: usize, const N: usize>(
    s: S,
    tile: &Tile<'_, E, N>,
    weights: &[Scores; R],
    positions: (usize, usize),
    out: &mut [&mut [f32]; R],
) {
    if positions.0 >= positions.1 {
        return;
    }
    let (mut square, end) = (0, tile.width / LANES);
    while square < end {
        square += match groups_at_once::<S, R>().min(end - square) {
            4.. => add_columns::<S, E, R, N, 4>(s, tile, weights, positions, square, out),
            3 => add_columns::<S, E, R, N, 3>(s, tile, weights, positions, square, out),
            2 => add_columns::<S, E, R, N, 2>(s, tile, weights, positions, square, out),
            _ => add_columns::<S, E, R, N, 1>(s, tile, weights, positions, square, out),
        };
    }
}

#[inline(always)]
fn add_columns<S: Simd, E: Element, const R: usize, const N: usize, const C: usize>(
    s: S,
    tile: &Tile<'_, E, N>,
    weights: &[Scores; R],
    (from, to): (usize, usize),
    square: usize,
    out: &mut [&mut [f32]; R],
) -> usize {
    let mut sums = [[s.splat(0.0); C]; R];
    let mut values = [s.splat(0.0); C];
    for r in 0..R {
        for c in 0..C {
            sums[r][c] = s.load(vector(&*out[r], square + c));
        }
    }
    for group in from / LANES..to.div_ceil(LANES) {
        let mut squares = [tile.values[group].square(square); C];
        for c in 0..C {
            squares[c] = tile.values[group].square(square + c);
            tile.next_keys[group].prefetch(s, square + c);
        }
        let mut vectors = [vector(&weights[0], group); R];
        for r in 1..R {
            vectors[r] = vector(&weights[r], group);
        }
        let start = group * LANES;
        for j in from.saturating_sub(start)..(to - start).min(LANES) {
            for c in 0..C {
                values[c] = E::load(s, &squares[c][j]);
            }
            for r in 0..R {
                let weight = s.splat(vectors[r][j]);
                for c in 0..C {
                    sums[r][c] = s.fma(weight, values[c], sums[r][c]);
                }
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            s.store(sums[r][c], vector_mut(out[r], square + c));
        }
    }
    C
}

/// The `index`-th sixteen elements.
#[inline(always)]
fn vector(x: &[f32], index: usize) -> &[f32; LANES] {
    x[index * LANES..]
        .first_chunk()
        .expect("rows are whole vectors")
}

/// The `index`-th sixteen elements.
#[inline(always)]
fn vector_mut(x: &mut [f32], index: usize) -> &mut [f32; LANES] {
    x[index * LANES..]
        .first_chunk_mut()
        .expect("rows are whole vectors")
}
