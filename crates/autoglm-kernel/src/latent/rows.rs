//! The inner loops: up to four heads of one query row over all tiles of positions.

use std::ops::Range;

use half::f16;

use super::{Call, LatentView};
use crate::pool::DisjointMut;
use crate::simd::{LANES, Simd, exp2, horizontal_max, sum_lanes, with_simd};

/// Positions in a tile; tiles begin at multiples of it, whatever the blocks. 64 rows of 576 halves
/// are 72 KiB, which stay in the second-level cache between the two passes over them.
const TILE: usize = 64;

/// Why a vector can be read at every multiple of its length.
const WHOLE_VECTORS: &str = "widths are multiples of the lanes";

/// Scores, then weights, of one head and tile.
type Scores = [f32; TILE];

/// Some heads of one query row.
pub(super) struct Unit {
    pub(super) span: usize,
    /// The row's number in its span.
    pub(super) offset: usize,
    pub(super) heads: Range<usize>,
}

impl Unit {
    /// Positions that the row sees.
    fn seen(&self, call: &Call<'_>) -> usize {
        call.spans[self.span].first_position + self.offset + 1
    }

    /// Multiply-adds, up to a factor, with the fixed work of a unit beside them.
    pub(super) fn cost(&self, call: &Call<'_>) -> usize {
        self.heads.len() * (self.seen(call) + LANES)
    }
}

/// Computes the `R` heads of a unit.
pub(super) fn attend<const R: usize>(call: &Call<'_>, unit: &Unit, out: &DisjointMut<'_, f32>) {
    let LatentView { latent, rope, .. } = *call.view;
    let (tokens, heads) = (call.rows(), call.q.heads);
    let row = call.spans[unit.span].queries.start + unit.offset;
    let head: [usize; R] = std::array::from_fn(|r| unit.heads.start + r);
    let latent_at = head.map(|head| (head * tokens + row) * latent);
    let rope_at = head.map(|head| (row * heads + head) * rope);
    // SAFETY: the heads of a unit and the units are different rows or heads, spans do not overlap,
    // and each unit is computed once.
    let mut out = latent_at.map(|start| unsafe { out.range(start..start + latent) });
    let queries = [
        latent_at.map(|start| &call.q.latent[start..start + latent]),
        rope_at.map(|start| &call.q.rope[start..start + rope]),
    ];
    with_simd!(call.variant, s => {
        let mut state = State {
            greatest: [f32::NEG_INFINITY; R],
            sums: [s.splat(0.0); R],
            scores: [[0.0; TILE]; R],
        };
        state.attend(s, call, unit, &queries, &mut out);
    });
}

/// The running state of the online softmax.
struct State<S: Simd, const R: usize> {
    /// The greatest score so far.
    greatest: [f32; R],
    /// The weights so far, relative to the greatest score, summed in lanes.
    sums: [S::V; R],
    scores: [Scores; R],
}

impl<S: Simd, const R: usize> State<S, R> {
    #[inline(always)]
    fn attend(
        &mut self,
        s: S,
        call: &Call<'_>,
        unit: &Unit,
        queries: &[[&[f32]; R]; 2],
        out: &mut [&mut [f32]; R],
    ) {
        for row in &mut *out {
            row.fill(0.0);
        }
        // Scores are kept as powers of two.
        let scale = call.scale * std::f32::consts::LOG2_E;
        let seen = unit.seen(call);
        for start in (0..seen).step_by(TILE) {
            let tile = tile_rows(call, unit, start, seen);
            self.score(s, &tile, queries, scale);
            self.soften(s, tile.len(), out);
            for d in (0..call.view.latent).step_by(LANES) {
                add_values(s, &tile, &self.scores, d, out);
            }
        }
        for (row, sum) in out.iter_mut().zip(self.sums) {
            multiply(s, row, 1.0 / sum_lanes(s, sum));
        }
    }

    /// The scores of a tile's positions, two at a time: each query vector is read once for both.
    #[inline(always)]
    fn score(&mut self, s: S, tile: &TileRows<'_>, queries: &[[&[f32]; R]; 2], scale: f32) {
        let mut j = 0;
        while j + 2 <= tile.len() {
            self.score_positions::<2>(s, tile, j, queries, scale);
            j += 2;
        }
        if j < tile.len() {
            self.score_positions::<1>(s, tile, j, queries, scale);
        }
    }

    /// `scores[r, j] = scale · Σ_d q[r, d]·k[j, d]`: sixteen chains over `d`, added in pairs.
    #[inline(always)]
    fn score_positions<const N: usize>(
        &mut self,
        s: S,
        tile: &TileRows<'_>,
        first: usize,
        queries: &[[&[f32]; R]; 2],
        scale: f32,
    ) {
        let mut sums = [[s.splat(0.0); N]; R];
        let mut before = 0;
        for queries in queries {
            let width = queries[0].len();
            let keys: [&[[f16; LANES]]; N] =
                std::array::from_fn(|n| tile.rows[first + n][before..before + width].as_chunks().0);
            let queries: [&[[f32; LANES]]; R] =
                std::array::from_fn(|r| queries[r][..width].as_chunks().0);
            for d in 0..width / LANES {
                let keys: [S::V; N] = std::array::from_fn(|n| s.load_f16(&keys[n][d]));
                for (sums, query) in sums.iter_mut().zip(queries) {
                    let query = s.load(&query[d]);
                    for (sum, key) in sums.iter_mut().zip(keys) {
                        *sum = s.fma(query, key, *sum);
                    }
                }
            }
            before += width;
        }
        for (scores, sums) in self.scores.iter_mut().zip(sums) {
            for (score, sum) in scores[first..first + N].iter_mut().zip(sums) {
                *score = scale * sum_lanes(s, sum);
            }
        }
    }

    /// Turns scores into weights relative to the greatest score so far, and brings what was summed
    /// before to the same scale.
    #[inline(always)]
    fn soften(&mut self, s: S, positions: usize, out: &mut [&mut [f32]; R]) {
        for (row, out) in out.iter_mut().enumerate() {
            let scores = &mut self.scores[row];
            scores[positions..].fill(f32::NEG_INFINITY);
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

/// The latent rows of a tile that are seen.
struct TileRows<'a> {
    rows: [&'a [f16]; TILE],
    len: usize,
}

impl TileRows<'_> {
    fn len(&self) -> usize {
        self.len
    }
}

/// The rows of positions `start..seen`, a tile of them at most.
#[inline(always)]
fn tile_rows<'a>(call: &Call<'a>, unit: &Unit, start: usize, seen: usize) -> TileRows<'a> {
    let view = call.view;
    let blocks = call.spans[unit.span].blocks;
    let width = view.latent + view.rope;
    let len = TILE.min(seen - start);
    let mut rows: [&[f16]; TILE] = [&[]; TILE];
    for (row, position) in rows[..len].iter_mut().zip(start..) {
        let block = blocks[position / view.block_tokens] as usize;
        let slot = block * view.block_tokens + position % view.block_tokens;
        *row = &view.rows[slot * width..][..width];
    }
    TileRows { rows, len }
}

/// `out[r, d..d+16] += Σ_j weights[r, j]·k[j, d..d+16]`, each a single chain over the positions in
/// ascending order.
#[inline(always)]
fn add_values<S: Simd, const R: usize>(
    s: S,
    tile: &TileRows<'_>,
    weights: &[Scores; R],
    d: usize,
    out: &mut [&mut [f32]; R],
) {
    let mut sums = [s.splat(0.0); R];
    for (sum, out) in sums.iter_mut().zip(out.iter()) {
        *sum = s.load(out[d..].first_chunk().expect(WHOLE_VECTORS));
    }
    for (j, row) in tile.rows[..tile.len()].iter().enumerate() {
        let vector = row[d..].first_chunk().expect(WHOLE_VECTORS);
        let value = s.load_f16(vector);
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum = s.fma(s.splat(weights[j]), value, *sum);
        }
    }
    for (sum, out) in sums.into_iter().zip(out) {
        let vector = out[d..].first_chunk_mut().expect(WHOLE_VECTORS);
        s.store(sum, vector);
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
