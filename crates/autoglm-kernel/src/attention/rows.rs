//! The inner loops: up to six query rows of one key/value head over all tiles of positions.

use half::f16;

use super::Attention;
use crate::pool::DisjointMut;
use crate::simd::{LANES, Simd, exp2, horizontal_max, sum_lanes, with_simd};

/// Groups of sixteen positions in a tile.
const TILE_GROUPS: usize = 4;

/// Positions in a tile; tiles begin at multiples of it, whatever the window and the blocks.
const TILE: usize = TILE_GROUPS * LANES;

/// Scores, then weights, of one row and tile.
type Scores = [f32; TILE];

/// Rows `first..first + len` of a span and key/value head, where row `i` is query `i / n` and head
/// `i % n` of the `n` query heads that share the key/value head.
pub(super) struct RowBlock {
    pub(super) span: usize,
    pub(super) group: usize,
    pub(super) first: usize,
    pub(super) len: usize,
}

impl RowBlock {
    /// The position of row `row` of the block.
    pub(super) fn position(&self, call: &Attention<'_>, row: usize) -> usize {
        let heads_per_group = call.params.heads / call.kv.heads;
        call.spans[self.span].first_position + (self.first + row) / heads_per_group
    }

    /// Where the row lies in `q` and `out`.
    fn start(&self, call: &Attention<'_>, row: usize) -> usize {
        let heads_per_group = call.params.heads / call.kv.heads;
        let row = self.first + row;
        let query = call.spans[self.span].queries.start + row / heads_per_group;
        let head = self.group * heads_per_group + row % heads_per_group;
        (query * call.params.heads + head) * call.kv.width
    }
}

/// Computes the `R` rows of a block.
pub(super) fn attend<const R: usize>(
    call: &Attention<'_>,
    block: &RowBlock,
    out: &DisjointMut<'_, f32>,
) {
    let width = call.kv.width;
    let starts: [usize; R] = std::array::from_fn(|row| block.start(call, row));
    // SAFETY: blocks of rows, and rows of a block, are different query rows or heads, spans do not
    // overlap, and each block is computed once.
    let mut out = starts.map(|start| unsafe { out.range(start..start + width) });
    let queries = starts.map(|start| &call.q[start..start + width]);
    let positions: [usize; R] = std::array::from_fn(|row| block.position(call, row));
    with_simd!(call.variant, s => {
        let mut rows = Rows {
            positions,
            greatest: [f32::NEG_INFINITY; R],
            sums: [s.splat(0.0); R],
            scores: [[0.0; TILE]; R],
        };
        rows.attend(s, call, block, &queries, &mut out);
    });
}

/// Scores are kept as powers of two, or, with a soft cap, as the exponents of its tanh.
fn score_scale(call: &Attention<'_>) -> f32 {
    let scale = call.params.scale * std::f32::consts::LOG2_E;
    call.params.soft_cap.map_or(scale, |cap| 2.0 * scale / cap)
}

/// The running state of the online softmax.
struct Rows<S: Simd, const R: usize> {
    positions: [usize; R],
    /// The greatest score so far.
    greatest: [f32; R],
    /// The weights so far, relative to the greatest score, summed in lanes.
    sums: [S::V; R],
    scores: [Scores; R],
}

impl<S: Simd, const R: usize> Rows<S, R> {
    #[inline(always)]
    fn attend(
        &mut self,
        s: S,
        call: &Attention<'_>,
        block: &RowBlock,
        queries: &[&[f32]; R],
        out: &mut [&mut [f32]; R],
    ) {
        for row in &mut *out {
            row.fill(0.0);
        }
        let scale = score_scale(call);
        let first = call.first_visible(self.positions[0]) / TILE;
        let last = self.positions[R - 1] / TILE;
        for tile in first..=last {
            let tile = Tile::<R>::new(call, block, tile, &self.positions);
            score_tile(s, &tile, queries, scale, &mut self.scores);
            self.soften(s, call, &tile, out);
            add_values(s, &tile, &self.scores, out);
        }
        for (row, sum) in out.iter_mut().zip(self.sums) {
            multiply(s, row, 1.0 / sum_lanes(s, sum));
        }
    }

    /// Turns scores into weights relative to the greatest score so far, and brings what was summed
    /// before to the same scale. A row that sees nothing of the tile stays as it is.
    #[inline(always)]
    fn soften(
        &mut self,
        s: S,
        call: &Attention<'_>,
        tile: &Tile<'_, R>,
        out: &mut [&mut [f32]; R],
    ) {
        for (row, out) in out.iter_mut().enumerate() {
            let (from, to) = tile.visible[row];
            if from == to {
                continue;
            }
            let scores = &mut self.scores[row];
            if let Some(cap) = call.params.soft_cap {
                cap_scores(s, scores, cap);
            }
            scores[..from].fill(f32::NEG_INFINITY);
            scores[to..].fill(f32::NEG_INFINITY);
            let before = self.greatest[row];
            self.greatest[row] = greatest(s, scores, before);
            let factor = power(s, before - self.greatest[row]);
            let sum = s.mul(self.sums[row], s.splat(factor));
            self.sums[row] = weigh(s, scores, self.greatest[row], sum);
            if factor != 1.0 {
                multiply(s, out, factor);
            }
        }
    }
}

/// One tile as the rows of a block see it.
struct Tile<'a, const R: usize> {
    /// The positions that each row sees, from the tile's first: from, to.
    visible: [(usize, usize); R],
    /// The groups of sixteen positions that some row sees: from, to.
    groups: (usize, usize),
    /// `[D, 16]` for each such group.
    keys: [&'a [f16]; TILE_GROUPS],
    /// `[16, D]` for each such group.
    values: [&'a [f16]; TILE_GROUPS],
    width: usize,
}

impl<'a, const R: usize> Tile<'a, R> {
    #[inline(always)]
    fn new(call: &Attention<'a>, block: &RowBlock, tile: usize, positions: &[usize; R]) -> Self {
        let start = tile * TILE;
        let visible = positions.map(|position| {
            let to = (position + 1).saturating_sub(start).min(TILE);
            (
                call.first_visible(position).saturating_sub(start).min(to),
                to,
            )
        });
        // Positions ascend, so the first row sees the earliest and the last row the latest.
        let groups = (visible[0].0 / LANES, visible[R - 1].1.div_ceil(LANES));
        let mut keys: [&[f16]; TILE_GROUPS] = [&[]; TILE_GROUPS];
        let mut values = keys;
        for group in groups.0..groups.1 {
            let part = group_range(call, block, start + group * LANES);
            keys[group] = &call.kv.keys[part.clone()];
            values[group] = &call.kv.values[part];
        }
        Self {
            visible,
            groups,
            keys,
            values,
            width: call.kv.width,
        }
    }
}

/// Where the sixteen positions from `position` on lie in the cache.
fn group_range(call: &Attention<'_>, block: &RowBlock, position: usize) -> std::ops::Range<usize> {
    let kv = call.kv;
    let page = call.spans[block.span].blocks[position / kv.block_tokens] as usize;
    let offset = position % kv.block_tokens;
    let start = ((page * kv.heads + block.group) * kv.block_tokens + offset) * kv.width;
    start..start + LANES * kv.width
}

/// `scores[r, j] = scale · Σ_d q[r, d]·k[j, d]`, each sum a single chain over ascending `d`.
#[inline(always)]
fn score_tile<S: Simd, const R: usize>(
    s: S,
    tile: &Tile<'_, R>,
    queries: &[&[f32]; R],
    scale: f32,
    scores: &mut [Scores; R],
) {
    let (mut group, end) = tile.groups;
    while group < end {
        group += match (S::WIDE, end - group) {
            (true, 4) => score_groups::<S, R, 4>(s, tile, queries, group, scale, scores),
            (true, 3) => score_groups::<S, R, 3>(s, tile, queries, group, scale, scores),
            (true, 2) => score_groups::<S, R, 2>(s, tile, queries, group, scale, scores),
            _ => score_groups::<S, R, 1>(s, tile, queries, group, scale, scores),
        };
    }
}

#[inline(always)]
fn score_groups<S: Simd, const R: usize, const C: usize>(
    s: S,
    tile: &Tile<'_, R>,
    queries: &[&[f32]; R],
    group: usize,
    scale: f32,
    scores: &mut [Scores; R],
) -> usize {
    let width = tile.width;
    let queries: [&[f32]; R] = std::array::from_fn(|r| &queries[r][..width]);
    let keys: [&[[f16; LANES]]; C] =
        std::array::from_fn(|c| &tile.keys[group + c].as_chunks().0[..width]);
    let mut sums = [[s.splat(0.0); C]; R];
    for d in 0..width {
        let keys: [S::V; C] = std::array::from_fn(|c| s.load_f16(&keys[c][d]));
        for (sums, query) in sums.iter_mut().zip(queries) {
            let query = s.splat(query[d]);
            for (sum, key) in sums.iter_mut().zip(keys) {
                *sum = s.fma(query, key, *sum);
            }
        }
    }
    for (sums, scores) in sums.into_iter().zip(scores) {
        let groups = &mut scores[group * LANES..][..C * LANES];
        for (sum, scores) in sums.into_iter().zip(groups.as_chunks_mut().0) {
            s.store(s.mul(sum, s.splat(scale)), scores);
        }
    }
    C
}

/// `out[r, d] += Σ_j weights[r, j]·v[j, d]`, each a single chain over the positions that the row
/// sees, in ascending order. Those that all rows see are added together, the few before and behind
/// them row by row.
#[inline(always)]
fn add_values<S: Simd, const R: usize>(
    s: S,
    tile: &Tile<'_, R>,
    weights: &[Scores; R],
    out: &mut [&mut [f32]; R],
) {
    let from = tile.visible[R - 1].0;
    let to = tile.visible[0].1.max(from);
    for row in 0..R {
        let (row_from, row_to) = tile.visible[row];
        let one = std::array::from_ref(&weights[row]);
        add_positions(
            s,
            tile,
            one,
            (row_from, from.min(row_to)),
            &mut [&mut *out[row]],
        );
    }
    add_positions(s, tile, weights, (from, to), out);
    for row in 0..R {
        let (row_from, row_to) = tile.visible[row];
        let one = std::array::from_ref(&weights[row]);
        add_positions(
            s,
            tile,
            one,
            (to.max(row_from), row_to),
            &mut [&mut *out[row]],
        );
    }
}

#[inline(always)]
fn add_positions<S: Simd, const R: usize, const N: usize>(
    s: S,
    tile: &Tile<'_, N>,
    weights: &[Scores; R],
    positions: (usize, usize),
    out: &mut [&mut [f32]; R],
) {
    if positions.0 >= positions.1 {
        return;
    }
    let mut d = 0;
    while d < tile.width {
        d += LANES
            * match (S::WIDE, (tile.width - d) / LANES) {
                (true, 4..) => add_columns::<S, R, N, 4>(s, tile, weights, positions, d, out),
                (true, 3) => add_columns::<S, R, N, 3>(s, tile, weights, positions, d, out),
                (true, 2) => add_columns::<S, R, N, 2>(s, tile, weights, positions, d, out),
                _ => add_columns::<S, R, N, 1>(s, tile, weights, positions, d, out),
            };
    }
}

#[inline(always)]
fn add_columns<S: Simd, const R: usize, const N: usize, const C: usize>(
    s: S,
    tile: &Tile<'_, N>,
    weights: &[Scores; R],
    positions: (usize, usize),
    d: usize,
    out: &mut [&mut [f32]; R],
) -> usize {
    let mut sums = [[s.splat(0.0); C]; R];
    for (sums, out) in sums.iter_mut().zip(out.iter()) {
        for (sum, out) in sums.iter_mut().zip(out[d..][..C * LANES].as_chunks().0) {
            *sum = s.load(out);
        }
    }
    for j in positions.0..positions.1 {
        let row = &tile.values[j / LANES][j % LANES * tile.width + d..][..C * LANES];
        let row = row.as_chunks().0;
        let values: [S::V; C] = std::array::from_fn(|c| s.load_f16(&row[c]));
        for (sums, weights) in sums.iter_mut().zip(weights) {
            let weight = s.splat(weights[j]);
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = s.fma(weight, value, *sum);
            }
        }
    }
    for (sums, out) in sums.into_iter().zip(out) {
        for (sum, out) in sums
            .into_iter()
            .zip(out[d..][..C * LANES].as_chunks_mut().0)
        {
            s.store(sum, out);
        }
    }
    C
}

/// `cap·tanh(x/cap)` as a power of two, from `2·log₂e·x/cap`: `tanh(y) = 1 − 2/(1 + e^2y)`.
#[inline(always)]
fn cap_scores<S: Simd>(s: S, scores: &mut Scores, cap: f32) {
    let (one, cap) = (s.splat(1.0), s.splat(cap * std::f32::consts::LOG2_E));
    for scores in scores.as_chunks_mut().0 {
        let e = exp2(s, s.load(scores));
        let tanh = s.sub(one, s.div(s.splat(2.0), s.add(one, e)));
        s.store(s.mul(cap, tanh), scores);
    }
}

/// The greatest of the scores and `before`.
#[inline(always)]
fn greatest<S: Simd>(s: S, scores: &Scores, before: f32) -> f32 {
    let mut greatest = s.splat(before);
    for scores in scores.as_chunks().0 {
        greatest = s.max(s.load(scores), greatest);
    }
    horizontal_max(s, greatest)
}

/// Replaces scores by `2^(score − greatest)` and adds them to `sum`.
#[inline(always)]
fn weigh<S: Simd>(s: S, scores: &mut Scores, greatest: f32, mut sum: S::V) -> S::V {
    for scores in scores.as_chunks_mut().0 {
        let weights = exp2(s, s.sub(s.load(scores), s.splat(greatest)));
        sum = s.add(sum, weights);
        s.store(weights, scores);
    }
    sum
}

#[inline(always)]
fn power<S: Simd>(s: S, exponent: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(exp2(s, s.splat(exponent)), &mut lanes);
    lanes[0]
}

#[inline(always)]
fn multiply<S: Simd>(s: S, x: &mut [f32], factor: f32) {
    for x in x.as_chunks_mut().0 {
        s.store(s.mul(s.load(x), s.splat(factor)), x);
    }
}
