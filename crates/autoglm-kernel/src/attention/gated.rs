//! Attention of single rows to a few tiles of their positions: the first, the last, and those of
//! the rest whose keys may matter most. For the others their blocks' means stand. Measures how much
//! each part mattered.

use half::f16;

use super::elements::{Element, with_paged};
use super::rows::greatest;
use super::summaries::{Summary, check_summaries};
use super::tile::TILE;
use super::work::{Attention, Gates};
use super::{AttentionParams, AttentionSpan, KvView, check_layout};
use crate::pool::{DisjointMut, Pool};
use crate::simd::{LANES, Simd, Variant, exp2, sum_lanes, with_simd};

/// Which tiles of [`Gate::TILE`] positions a row attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Of the first tiles.
    pub sinks: usize,
    /// Of the last tiles; at least 1, which holds the row itself.
    pub recent: usize,
    /// Of the tiles between them, those with the greatest bound of the scores.
    pub selected: usize,
}

impl Gate {
    /// Positions in a tile.
    pub const TILE: usize = TILE;
}

/// What a gated row paid attention to, as means over the heads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateMeasure {
    /// The share of the weights on selected tiles.
    pub selected: f32,
    /// The share of the weights on the older half of the recent tiles.
    pub edge: f32,
    /// The entropy of the weights of tiles, divided by its greatest value, the logarithm of their
    /// number.
    pub entropy: f32,
}

/// What gated attention reads.
#[derive(Clone, Copy, Debug)]
pub struct GatedView<'a> {
    /// The keys and values, with blocks of at most a tile.
    pub kv: KvView<'a>,
    /// `[blocks, G, 4, D]`: see [`super::summarise_blocks`].
    pub summaries: &'a [f16],
}

/// [`super::attention`] of single rows over the tiles that their gates let through. Returns a
/// measure for each span.
///
/// A tile between the first and the last ones is chosen for a key/value head by
/// `Σ_h 2^(u_h − max u_h)` over the query heads `h` that share it, where `u_h` is an upper bound of
/// `scale · log₂e · q·k` over the tile's positions: with the greatest and least keys `k⁺, k⁻` of a
/// block, `Σ_d max(q_d·k⁺_d, q_d·k⁻_d)`. A block of n positions that is not let through counts like n
/// positions with its mean key and its mean value. A row whose gate lets all tiles through gets the
/// bits that [`super::attention`] gives it.
///
/// The result of a row depends on its query, its position, its gate and the cache only, bit for
/// bit.
///
/// # Panics
/// As [`super::attention`] does, if a span has more than one row, if a window or soft cap is asked
/// for, if a block has more positions than a tile, or if a gate has no recent tile.
///
/// # Source
/// Xiao et al., Efficient Streaming Language Models with Attention Sinks, 2023; Tang et al.,
/// Quest, 2024, algorithm 1.
pub fn gated_attention(
    pool: &Pool,
    q: &[f32],
    view: &GatedView<'_>,
    (spans, gates): (&[AttentionSpan<'_>], &[Gate]),
    params: &AttentionParams,
    out: &mut [f32],
) -> Vec<GateMeasure> {
    gated_with(Variant::best(), pool, (q, view, spans, gates, params), out)
}

/// Queries, cache, spans, gates and parameters of a call.
type Inputs<'a> = (
    &'a [f32],
    &'a GatedView<'a>,
    &'a [AttentionSpan<'a>],
    &'a [Gate],
    &'a AttentionParams,
);

pub(super) fn gated_with(
    variant: Variant,
    pool: &Pool,
    (q, view, spans, gates, params): Inputs<'_>,
    out: &mut [f32],
) -> Vec<GateMeasure> {
    let blocks = check_layout("attention", &view.kv);
    check_summaries("attention", &view.kv, view.summaries.len(), blocks);
    check_gates(view, spans, gates, params);
    with_paged!(&view.kv, kv => {
        let plain = Attention { variant, q, kv, spans, params, gates: None };
        plain.check(blocks, out.len());
        let (lists, rests) = choose(&plain, pool, view.summaries, gates);
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        let mut weights = vec![[0.0; 2]; spans.len() * params.heads * longest];
        let shared = DisjointMut::new(&mut weights);
        let through = Gates { lists: &lists, rests: &rests, weights: &shared, longest };
        Attention { gates: Some(&through), ..plain }.run(pool, out);
        let measure = |(span, gate): (usize, &Gate)| {
            let per_span = params.heads * longest;
            let weights = &weights[span * per_span..(span + 1) * per_span];
            let lists = &lists[span * plain.kv.heads..(span + 1) * plain.kv.heads];
            measure(weights, lists, longest, *gate, spans[span].first_position / TILE)
        };
        gates.iter().enumerate().map(measure).collect()
    })
}

fn check_gates(
    view: &GatedView<'_>,
    spans: &[AttentionSpan<'_>],
    gates: &[Gate],
    params: &AttentionParams,
) {
    assert_eq!(spans.len(), gates.len(), "attention: a gate for each span");
    assert!(
        params.window.is_none() && params.soft_cap.is_none(),
        "attention: gated rows have no window and no soft cap"
    );
    let block_tokens = view.kv.block_tokens;
    assert!(
        TILE.is_multiple_of(block_tokens),
        "attention: blocks of {block_tokens} positions do not divide a tile of {TILE}"
    );
    for (span, gate) in spans.iter().zip(gates) {
        assert_eq!(span.queries.len(), 1, "attention: a gated span has one row");
        assert!(gate.recent > 0, "attention: a gate has no recent tile");
    }
}

/// The tiles that each span and key/value head attends to, ascending; and for each span and head the
/// sum over the means of the other blocks, as [`Gates::rests`] has it.
fn choose<E: Element>(
    call: &Attention<'_, E>,
    pool: &Pool,
    summaries: &[f16],
    gates: &[Gate],
) -> (Vec<Vec<u32>>, Vec<f32>) {
    let groups = call.kv.heads;
    let tasks = groups * call.spans.len();
    let rest_len = call.heads_per_group() * Gates::rest_len(call.kv.width);
    let mut lists: Vec<Vec<u32>> = vec![Vec::new(); tasks];
    let mut rests = vec![0.0; tasks * rest_len];
    let shared_lists = DisjointMut::new(&mut lists);
    let shared_rests = DisjointMut::new(&mut rests);
    pool.run(tasks, |task| {
        let (span, group) = (task / groups, task % groups);
        // SAFETY: each task has a list of its own.
        let list = unsafe { &mut shared_lists.range(task..task + 1)[0] };
        // SAFETY: each task has the rests of its own heads.
        let rest = unsafe { shared_rests.range(task * rest_len..(task + 1) * rest_len) };
        let end = call.spans[span].first_position / TILE + 1;
        let range = candidates(end, gates[span]);
        let selected = gates[span].selected;
        list.extend((0..range.start).map(|tile| tile as u32));
        if range.len() <= selected {
            list.extend(range.clone().map(|tile| tile as u32));
        } else {
            let place = Candidates { span, group, tiles: range.clone() };
            with_simd!(call.variant, s => select(s, call, summaries, &place, selected, (list, rest)));
        }
        list.extend((range.end..end).map(|tile| tile as u32));
    });
    (lists, rests)
}

/// The tiles among which a span and key/value head choose.
struct Candidates {
    span: usize,
    group: usize,
    tiles: std::ops::Range<usize>,
}

impl Candidates {
    /// The blocks of the tiles.
    fn blocks<'a, E>(&self, call: &Attention<'a, E>) -> &'a [u32] {
        let per_tile = TILE / call.kv.block_tokens;
        &call.spans[self.span].blocks[self.tiles.start * per_tile..self.tiles.end * per_tile]
    }
}

/// Adds `count` of the candidates to the list, and sums the means of the others.
#[inline(always)]
fn select<S: Simd, E: Element>(
    s: S,
    call: &Attention<'_, E>,
    summaries: &[f16],
    place: &Candidates,
    count: usize,
    (list, rest): (&mut Vec<u32>, &mut [f32]),
) {
    let heads = call.heads_per_group();
    let per_tile = TILE / call.kv.block_tokens;
    let (bounds, mut means) = scores(s, call, summaries, place);
    let stride = means.len() / heads;
    let before = list.len();
    list.extend(best(&bounds, &place.tiles, count, heads));
    for &tile in &list[before..] {
        let first = (tile as usize - place.tiles.start) * per_tile;
        for means in means.chunks_exact_mut(stride) {
            means[first..first + per_tile].fill(f32::NEG_INFINITY);
        }
    }
    sum_means(s, call, summaries, place, &mut means, rest);
}

/// The tiles of `0..end` that are neither sinks nor recent.
fn candidates(end: usize, gate: Gate) -> std::ops::Range<usize> {
    let recent = end - gate.recent.min(end);
    gate.sinks.min(recent)..recent
}

/// `[tiles, n]`, the greatest bound of `log₂e · scale · q·k` over the tile's blocks; and `[n, blocks]`,
/// that of the mean key, in whole vectors with negative infinity behind the last block.
#[inline(always)]
fn scores<S: Simd, E: Element>(
    s: S,
    call: &Attention<'_, E>,
    summaries: &[f16],
    place: &Candidates,
) -> (Vec<f32>, Vec<f32>) {
    let (kv, heads) = (&call.kv, call.heads_per_group());
    let query = call.spans[place.span].queries.start * call.params.heads + place.group * heads;
    let queries = &call.q[query * kv.width..(query + heads) * kv.width];
    let scale = call.params.scale * std::f32::consts::LOG2_E;
    let per_tile = TILE / kv.block_tokens;
    let blocks = place.blocks(call);
    let stride = blocks.len().next_multiple_of(LANES);
    let mut bounds = vec![f32::NEG_INFINITY; place.tiles.len() * heads];
    let mut means = vec![f32::NEG_INFINITY; heads * stride];
    for (index, &block) in blocks.iter().enumerate() {
        let summary = Summary::of(summaries, kv.width, block as usize * kv.heads + place.group);
        let bounds = &mut bounds[index / per_tile * heads..][..heads];
        for (head, query) in queries.chunks_exact(kv.width).enumerate() {
            let bound = scale * greatest_product(s, query, &summary);
            if bound > bounds[head] {
                bounds[head] = bound;
            }
            means[head * stride + index] = scale * product(s, query, summary.mean_key);
        }
    }
    (bounds, means)
}

/// `Σ_b n·2^(x_b−m)·v̄_b`, m and `Σ_b n·2^(x_b−m)` for each head, with the scores `x: [n, blocks]` of
/// the blocks' mean keys and their mean values `v̄`, each of n positions.
#[inline(always)]
fn sum_means<S: Simd, E: Element>(
    s: S,
    call: &Attention<'_, E>,
    summaries: &[f16],
    place: &Candidates,
    means: &mut [f32],
    rests: &mut [f32],
) {
    let kv = &call.kv;
    let stride = means.len() / call.heads_per_group();
    let rest_len = Gates::rest_len(kv.width);
    for (weights, rest) in means.chunks_exact_mut(stride).zip(rests.chunks_exact_mut(rest_len)) {
        let greatest = greatest(s, weights, f32::NEG_INFINITY);
        let mut sum = s.splat(0.0);
        for weights in weights.as_chunks_mut::<LANES>().0 {
            let power = exp2(s, s.sub(s.load(weights), s.splat(greatest)));
            let weight = s.mul(power, s.splat(kv.block_tokens as f32));
            sum = s.add(sum, weight);
            s.store(weight, weights);
        }
        rest[kv.width..].copy_from_slice(&[greatest, sum_lanes(s, sum)]);
    }
    for (index, &block) in place.blocks(call).iter().enumerate() {
        let summary = Summary::of(summaries, kv.width, block as usize * kv.heads + place.group);
        for (weights, rest) in means.chunks_exact(stride).zip(rests.chunks_exact_mut(rest_len)) {
            // What has no weight is left out, whatever it holds.
            if weights[index] > 0.0 {
                let weight = s.splat(weights[index]);
                let sums = rest[..kv.width].as_chunks_mut::<LANES>().0;
                for (sum, value) in sums.iter_mut().zip(summary.mean_value.as_chunks().0) {
                    s.store(s.fma(weight, s.load_f16(value), s.load(sum)), sum);
                }
            }
        }
    }
}

/// `Σ_d q_d·k_d`.
#[inline(always)]
fn product<S: Simd>(s: S, query: &[f32], key: &[f16]) -> f32 {
    let mut sum = s.splat(0.0);
    let vectors = query.as_chunks::<LANES>().0.iter();
    for (query, key) in vectors.zip(key.as_chunks().0) {
        sum = s.fma(s.load(query), s.load_f16(key), sum);
    }
    sum_lanes(s, sum)
}

/// `Σ_d max(q_d, 0)·greatest_d + min(q_d, 0)·least_d`.
#[inline(always)]
fn greatest_product<S: Simd>(s: S, query: &[f32], summary: &Summary<'_>) -> f32 {
    let (greatest, least) = (summary.greatest, summary.least);
    let zero = s.splat(0.0);
    let mut sum = zero;
    let vectors = query.as_chunks::<LANES>().0.iter();
    let bounds = greatest.as_chunks().0.iter().zip(least.as_chunks().0);
    for (query, (greatest, least)) in vectors.zip(bounds) {
        let query = s.load(query);
        sum = s.fma(s.max(query, zero), s.load_f16(greatest), sum);
        sum = s.fma(s.min(query, zero), s.load_f16(least), sum);
    }
    sum_lanes(s, sum)
}

/// The `count` tiles whose weights may be greatest, ascending; of equal ones the first.
fn best(
    scores: &[f32],
    tiles: &std::ops::Range<usize>,
    count: usize,
    heads: usize,
) -> impl Iterator<Item = u32> + use<> {
    let mut greatest = vec![f32::NEG_INFINITY; heads];
    for scores in scores.chunks_exact(heads) {
        for (greatest, score) in greatest.iter_mut().zip(scores) {
            *greatest = greatest.max(*score);
        }
    }
    let weight = |scores: &[f32]| -> f32 {
        let weights = scores.iter().zip(&greatest);
        weights
            .map(|(score, greatest)| (score - greatest).exp2())
            .sum()
    };
    let weights = scores.chunks_exact(heads).map(weight);
    let mut ranked: Vec<(f32, u32)> = weights.zip(tiles.clone().map(|t| t as u32)).collect();
    ranked.select_nth_unstable_by(count, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.truncate(count);
    ranked.sort_unstable_by_key(|(_, tile)| *tile);
    ranked.into_iter().map(|(_, tile)| tile)
}

/// What the weights of a row say. `weights: [H, longest]`, each with the greatest score that it is
/// relative to; `lists: [G]`.
fn measure(
    weights: &[[f32; 2]],
    lists: &[Vec<u32>],
    longest: usize,
    gate: Gate,
    last: usize,
) -> GateMeasure {
    let heads = weights.len() / longest;
    let heads_per_group = heads / lists.len();
    let candidates = candidates(last + 1, gate);
    let edge_end = candidates.end + (last + 1 - candidates.end) / 2;
    let mut total = [0.0f64; 3];
    for (head, weights) in weights.chunks_exact(longest).enumerate() {
        let list = &lists[head / heads_per_group];
        let weights = &weights[..list.len()];
        let greatest = weights
            .iter()
            .map(|w| w[1])
            .fold(f32::NEG_INFINITY, f32::max);
        let shares = weights.iter().map(|[sum, at]| sum * (at - greatest).exp2());
        let shares: Vec<f32> = shares.collect();
        let sum: f32 = shares.iter().sum();
        for (tile, share) in list.iter().zip(shares) {
            let (tile, share) = (*tile as usize, f64::from(share / sum));
            total[0] += if candidates.contains(&tile) {
                share
            } else {
                0.0
            };
            total[1] += if (candidates.end..edge_end).contains(&tile) {
                share
            } else {
                0.0
            };
            if share > 0.0 && list.len() > 1 {
                total[2] -= share * share.ln() / (list.len() as f64).ln();
            }
        }
    }
    let [selected, edge, entropy] = total.map(|total| (total / heads as f64) as f32);
    GateMeasure {
        selected,
        edge,
        entropy,
    }
}
