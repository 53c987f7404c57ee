//! Attention of single rows to a few tiles of their positions: the first, the last, and those of
//! the rest whose keys may matter most. Measures how much each part mattered.

use half::f16;

use super::bounds::{bounds_len, check_bounds};
use super::elements::{Element, with_paged};
use super::tile::TILE;
use super::work::{Attention, Gates};
use super::{AttentionParams, AttentionSpan, KvView, check_layout};
use crate::pool::{DisjointMut, Pool};
use crate::simd::{LANES, Simd, Variant, sum_lanes, with_simd};

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
    /// `[blocks, G, 2, D]`: see [`super::bound_keys`].
    pub bounds: &'a [f16],
}

/// [`super::attention`] of single rows over the tiles that their gates let through. Returns a
/// measure for each span.
///
/// A tile between the first and the last ones is chosen for a key/value head by
/// `Σ_h 2^(u_h − max u_h)` over the query heads `h` that share it, where `u_h` is an upper bound of
/// `scale · log₂e · q·k` over the tile's positions: with the greatest and least keys `k⁺, k⁻` of a
/// block, `Σ_d max(q_d·k⁺_d, q_d·k⁻_d)`. A row whose gate lets all tiles through gets the bits that
/// [`super::attention`] gives it.
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
    check_bounds("attention", &view.kv, view.bounds.len(), blocks);
    check_gates(view, spans, gates, params);
    with_paged!(&view.kv, kv => {
        let plain = Attention { variant, q, kv, spans, params, gates: None };
        plain.check(blocks, out.len());
        let lists = choose(&plain, pool, view.bounds, gates);
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        let mut weights = vec![[0.0; 2]; spans.len() * params.heads * longest];
        let shared = DisjointMut::new(&mut weights);
        let through = Gates { lists: &lists, weights: &shared, longest };
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

/// The tiles that each span and key/value head attends to, ascending.
fn choose<E: Element>(
    call: &Attention<'_, E>,
    pool: &Pool,
    bounds: &[f16],
    gates: &[Gate],
) -> Vec<Vec<u32>> {
    let groups = call.kv.heads;
    let candidates: Vec<std::ops::Range<usize>> = call
        .spans
        .iter()
        .zip(gates)
        .map(|(span, gate)| candidates(span.first_position / TILE + 1, *gate))
        .collect();
    let mut scores: Vec<Vec<f32>> = candidates
        .iter()
        .flat_map(|range| (0..groups).map(|_| vec![0.0; range.len() * call.heads_per_group()]))
        .collect();
    let mut lists: Vec<Vec<u32>> = vec![Vec::new(); scores.len()];
    let shared_scores = DisjointMut::new(&mut scores);
    let shared_lists = DisjointMut::new(&mut lists);
    pool.run(groups * call.spans.len(), |task| {
        let (span, group) = (task / groups, task % groups);
        // SAFETY: each task has scores and a list of its own.
        let scores = unsafe { &mut shared_scores.range(task..task + 1)[0] };
        // SAFETY: as above.
        let list = unsafe { &mut shared_lists.range(task..task + 1)[0] };
        let (range, gate) = (candidates[span].clone(), gates[span]);
        let end = call.spans[span].first_position / TILE + 1;
        list.extend((0..range.start).map(|tile| tile as u32));
        if range.len() <= gate.selected {
            list.extend(range.clone().map(|tile| tile as u32));
        } else if gate.selected > 0 {
            with_simd!(call.variant, s => bound_scores(s, call, bounds, (span, group), &range, scores));
            list.extend(best(scores, &range, gate.selected, call.heads_per_group()));
        }
        list.extend((range.end..end).map(|tile| tile as u32));
    });
    lists
}

/// The tiles of `0..end` that are neither sinks nor recent.
fn candidates(end: usize, gate: Gate) -> std::ops::Range<usize> {
    let recent = end - gate.recent.min(end);
    gate.sinks.min(recent)..recent
}

/// `scores[tile, h] = max over the tile's blocks of the bound of log₂e · scale · q·k`.
#[inline(always)]
fn bound_scores<S: Simd, E: Element>(
    s: S,
    call: &Attention<'_, E>,
    bounds: &[f16],
    (span, group): (usize, usize),
    tiles: &std::ops::Range<usize>,
    scores: &mut [f32],
) {
    let (kv, heads) = (&call.kv, call.heads_per_group());
    let start = (call.spans[span].queries.start * call.params.heads + group * heads) * kv.width;
    let queries = &call.q[start..start + heads * kv.width];
    let scale = call.params.scale * std::f32::consts::LOG2_E;
    let blocks_per_tile = TILE / kv.block_tokens;
    for (tile, scores) in tiles.clone().zip(scores.chunks_exact_mut(heads)) {
        scores.fill(f32::NEG_INFINITY);
        let blocks = &call.spans[span].blocks[tile * blocks_per_tile..][..blocks_per_tile];
        for block in blocks {
            let len = bounds_len(kv.width);
            let bounds = &bounds[(*block as usize * kv.heads + group) * len..][..len];
            let (greatest, least) = bounds.split_at(kv.width);
            for (query, score) in queries.chunks_exact(kv.width).zip(&mut *scores) {
                let bound = scale * greatest_product(s, query, greatest, least);
                *score = if bound > *score { bound } else { *score };
            }
        }
    }
}

/// `Σ_d max(q_d, 0)·greatest_d + min(q_d, 0)·least_d`.
#[inline(always)]
fn greatest_product<S: Simd>(s: S, query: &[f32], greatest: &[f16], least: &[f16]) -> f32 {
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
