//! The online softmax of up to six query rows of one key/value head, chunk by chunk.

use super::elements::Element;
use super::tile::{Scores, TILE, Tile, add_values, scale_weights, score_tile};
use super::work::Attention;
use crate::simd::{LANES, Simd, Variant, exp2, horizontal_max, sum_lanes, with_simd};

/// Tiles in a chunk. Each chunk is summed from nothing, and the sums are merged in order, so that
/// chunks may be computed by different threads. 512 positions: a merge costs one multiply-add
/// where the chunk cost 1,024.
pub(super) const CHUNK_TILES: usize = 8;

/// Rows `first..first + len` of a span and key/value head, where row `i` is query `i / n` and head
/// `i % n` of the `n` query heads that share the key/value head.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowBlock {
    pub(super) span: usize,
    pub(super) group: usize,
    pub(super) first: usize,
    pub(super) len: usize,
}

impl RowBlock {
    /// The position of row `row` of the block.
    pub(super) fn position<E>(&self, call: &Attention<'_, E>, row: usize) -> usize {
        let heads_per_group = call.params.heads / call.kv.heads;
        call.spans[self.span].first_position + (self.first + row) / heads_per_group
    }

    /// Where the row lies in `q` and `out`.
    pub(super) fn start<E>(&self, call: &Attention<'_, E>, row: usize) -> usize {
        let heads_per_group = call.params.heads / call.kv.heads;
        let row = self.first + row;
        let query = call.spans[self.span].queries.start + row / heads_per_group;
        let head = self.group * heads_per_group + row % heads_per_group;
        (query * call.params.heads + head) * call.kv.width
    }
}

/// What the softmax of a row knows besides the weighted sum of the values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The greatest score.
    pub(super) greatest: f32,
    /// The sum of the weights relative to it; 0 before the first position.
    pub(super) sum: f32,
}

impl Progress {
    pub(super) const NONE: Self = Self {
        greatest: f32::NEG_INFINITY,
        sum: 0.0,
    };
}

/// The rows of a block, ready to be computed.
pub(super) struct Rows<'a, E, const R: usize> {
    pub(super) call: &'a Attention<'a, E>,
    pub(super) block: RowBlock,
    pub(super) positions: [usize; R],
    pub(super) queries: [&'a [f32]; R],
}

impl<'a, E: Element, const R: usize> Rows<'a, E, R> {
    pub(super) fn new(call: &'a Attention<'a, E>, block: RowBlock) -> Self {
        let query = |row| {
            let start = block.start(call, row);
            &call.q[start..start + call.kv.width]
        };
        Self {
            call,
            block,
            positions: std::array::from_fn(|row| block.position(call, row)),
            queries: std::array::from_fn(query),
        }
    }

    /// `out = Σ_j weights[j]·v[j]` over the tiles of one chunk, not yet divided by the sums of the
    /// weights, which are returned.
    pub(super) fn chunk(&self, chunk: usize, out: &mut [&mut [f32]; R]) -> [Progress; R] {
        with_simd!(self.call.variant, s => self.chunk_with(s, chunk, out))
    }

    #[inline(always)]
    fn chunk_with<S: Simd>(&self, s: S, chunk: usize, out: &mut [&mut [f32]; R]) -> [Progress; R] {
        for row in &mut *out {
            row.fill(0.0);
        }
        let mut softmax = Softmax {
            greatest: [f32::NEG_INFINITY; R],
            sums: [s.splat(0.0); R],
            scores: [[0.0; TILE]; R],
        };
        let scale = score_scale(self.call);
        let tiles = self.call.tiles(&self.block);
        let (from, to) = (chunk * CHUNK_TILES, (chunk + 1) * CHUNK_TILES);
        for index in from.max(tiles.first)..to.min(tiles.end) {
            let tile = (
                tiles.at(index),
                (index + 1 < tiles.end).then(|| tiles.at(index + 1)),
            );
            let tile = Tile::<E, R>::new(self.call, &self.block, tile, &self.positions);
            score_tile(s, &tile, &self.queries, scale, &mut softmax.scores);
            let weights = softmax.weigh(s, self.call.params.soft_cap, &tile, out);
            if self.call.gates.is_some() {
                for (row, weights) in weights.into_iter().enumerate() {
                    let weight = [sum_lanes(s, weights), softmax.greatest[row]];
                    self.call.note(&self.block, row, index, weight);
                }
            }
            scale_weights(s, &tile, &mut softmax.scores);
            add_values(s, &tile, &softmax.scores, out);
        }
        std::array::from_fn(|row| Progress {
            greatest: softmax.greatest[row],
            sum: sum_lanes(s, softmax.sums[row]),
        })
    }
}

/// Scores are kept as powers of two, or, with a soft cap, as the exponents of its tanh.
fn score_scale<E>(call: &Attention<'_, E>) -> f32 {
    let scale = call.params.scale * std::f32::consts::LOG2_E;
    call.params.soft_cap.map_or(scale, |cap| 2.0 * scale / cap)
}

/// The running state of the online softmax inside a chunk.
struct Softmax<S: Simd, const R: usize> {
    /// The greatest score so far.
    greatest: [f32; R],
    /// The weights so far, relative to the greatest score, summed in lanes.
    sums: [S::V; R],
    scores: [Scores; R],
}

impl<S: Simd, const R: usize> Softmax<S, R> {
    /// Turns scores into weights relative to the greatest score so far, and brings what was summed
    /// before to the same scale. A row that sees nothing of the tile stays as it is. Returns the
    /// sums of the tile's weights, in lanes.
    #[inline(always)]
    fn weigh<E>(
        &mut self,
        s: S,
        soft_cap: Option<f32>,
        tile: &Tile<'_, E, R>,
        out: &mut [&mut [f32]; R],
    ) -> [S::V; R] {
        let mut weights = [s.splat(0.0); R];
        for (row, out) in out.iter_mut().enumerate() {
            let (from, to) = tile.visible[row];
            if from == to {
                continue;
            }
            let scores = &mut self.scores[row];
            if let Some(cap) = soft_cap {
                cap_scores(s, scores, cap);
            }
            scores[..from].fill(f32::NEG_INFINITY);
            scores[to..].fill(f32::NEG_INFINITY);
            let before = self.greatest[row];
            self.greatest[row] = greatest(s, scores, before);
            let factor = power(s, before - self.greatest[row]);
            weights[row] = weigh(s, scores, self.greatest[row]);
            self.sums[row] = s.fma(self.sums[row], s.splat(factor), weights[row]);
            if factor != 1.0 {
                multiply_with(s, out, factor);
            }
        }
        weights
    }
}

/// Adds the sum of a later chunk of the same row to `out`.
pub(super) fn merge(
    variant: Variant,
    (out, progress): (&mut [f32], &mut Progress),
    (chunk, of_chunk): (&[f32], Progress),
) {
    with_simd!(variant, s => merge_with(s, (out, progress), (chunk, of_chunk)));
}

#[inline(always)]
fn merge_with<S: Simd>(
    s: S,
    (out, progress): (&mut [f32], &mut Progress),
    (chunk, of_chunk): (&[f32], Progress),
) {
    if of_chunk.sum == 0.0 {
        return;
    }
    if progress.sum == 0.0 {
        out.copy_from_slice(chunk);
        *progress = of_chunk;
        return;
    }
    let greatest = if progress.greatest > of_chunk.greatest {
        progress.greatest
    } else {
        of_chunk.greatest
    };
    let factor = power(s, progress.greatest - greatest);
    let of_chunk_factor = power(s, of_chunk.greatest - greatest);
    let vectors = out.as_chunks_mut::<LANES>().0.iter_mut();
    for (out, chunk) in vectors.zip(chunk.as_chunks::<LANES>().0) {
        let scaled = s.mul(s.load(out), s.splat(factor));
        s.store(s.fma(s.load(chunk), s.splat(of_chunk_factor), scaled), out);
    }
    *progress = Progress {
        greatest,
        sum: of_chunk.sum.mul_add(of_chunk_factor, progress.sum * factor),
    };
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

/// Replaces scores by `2^(score − greatest)` and sums these in lanes.
#[inline(always)]
fn weigh<S: Simd>(s: S, scores: &mut Scores, greatest: f32) -> S::V {
    let mut sum = s.splat(0.0);
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

/// `x *= factor`.
pub(super) fn multiply(variant: Variant, x: &mut [f32], factor: f32) {
    with_simd!(variant, s => multiply_with(s, x, factor));
}

#[inline(always)]
fn multiply_with<S: Simd>(s: S, x: &mut [f32], factor: f32) {
    for x in x.as_chunks_mut().0 {
        s.store(s.mul(s.load(x), s.splat(factor)), x);
    }
}
