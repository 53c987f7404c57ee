//! Summaries of whole blocks: the greatest, the least and the mean key of each channel, and the mean
//! value.

use half::f16;

use super::elements::{Element, Paged, with_paged};
use super::{KvView, check_layout};
use crate::pool::{DisjointMut, Pool};
use crate::simd::{LANES, Simd, Variant, horizontal_max, sum_lanes, with_simd};

/// Elements of one head's summary of a block.
pub(super) const fn summary_len(width: usize) -> usize {
    4 * width
}

/// One head's summary of a block.
#[derive(Clone, Copy)]
pub(super) struct Summary<'a> {
    pub(super) greatest: &'a [f16],
    pub(super) least: &'a [f16],
    pub(super) mean_key: &'a [f16],
    pub(super) mean_value: &'a [f16],
}

impl<'a> Summary<'a> {
    /// The summary of head `head`, counted over all blocks and heads.
    #[inline(always)]
    pub(super) fn of(summaries: &'a [f16], width: usize, head: usize) -> Self {
        let summary = &summaries[head * summary_len(width)..][..summary_len(width)];
        let (bounds, means) = summary.split_at(2 * width);
        let (greatest, least) = bounds.split_at(width);
        let (mean_key, mean_value) = means.split_at(width);
        Self {
            greatest,
            least,
            mean_key,
            mean_value,
        }
    }
}

/// Writes, over all positions of whole blocks, the greatest, the least and the mean key of each
/// channel and the mean value, rounded to half precision.
///
/// # Shapes
/// `summaries: [all blocks, G, 4, D]`, of which those of `blocks` are written.
///
/// # Panics
/// If a slice has another length than the shapes say, or a block lies outside the cache.
///
/// # Source
/// The bounds: Tang et al., Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference,
/// 2024, section 3.2.
pub fn summarise_blocks(pool: &Pool, kv: &KvView<'_>, blocks: &[u32], summaries: &mut [f16]) {
    summarise_with(Variant::best(), pool, kv, blocks, summaries);
}

pub(super) fn summarise_with(
    variant: Variant,
    pool: &Pool,
    kv: &KvView<'_>,
    blocks: &[u32],
    summaries: &mut [f16],
) {
    let all = check_layout("summarise_blocks", kv);
    check_summaries("summarise_blocks", kv, summaries.len(), all);
    let outside = blocks.iter().find(|block| **block as usize >= all);
    assert!(
        outside.is_none(),
        "summarise_blocks: block {outside:?} of {all} blocks"
    );
    let mut blocks = blocks.to_vec();
    blocks.sort_unstable();
    blocks.dedup();
    let summaries = DisjointMut::new(summaries);
    with_paged!(kv, kv => pool.run(blocks.len() * kv.heads, |task| {
        let head = blocks[task / kv.heads] as usize * kv.heads + task % kv.heads;
        let len = summary_len(kv.width);
        // SAFETY: the blocks differ, so each block and head is one task's.
        let summary = unsafe { summaries.range(head * len..(head + 1) * len) };
        let (of_keys, of_values) = summary.split_at_mut(3 * kv.width);
        with_simd!(variant, s => {
            summarise_keys(s, &kv, head, of_keys);
            average_values(s, &kv, head, of_values);
        });
    }));
}

/// Panics unless there are summaries of all blocks.
pub(super) fn check_summaries(op: &str, kv: &KvView<'_>, found: usize, blocks: usize) {
    let wanted = blocks * kv.heads * summary_len(kv.width);
    assert_eq!(
        found, wanted,
        "{op}: the summaries are not those of all blocks"
    );
}

/// `summary: [3, D]`: the greatest, the least and the mean key.
#[inline(always)]
fn summarise_keys<S: Simd, E: Element>(
    s: S,
    kv: &Paged<'_, E>,
    head: usize,
    summary: &mut [f16],
) {
    let first = head * kv.block_tokens;
    let keys = &kv.keys.elements[first * kv.width..][..kv.block_tokens * kv.width];
    let share = 1.0 / kv.block_tokens as f32;
    let mut lanes = [[0.0; LANES]; 3];
    for channel in 0..kv.width {
        let mut high = s.splat(f32::NEG_INFINITY);
        let (mut negated_low, mut sum) = (high, s.splat(0.0));
        for group in 0..kv.block_tokens / LANES {
            let start = (group * kv.width + channel) * LANES;
            let key = keys[start..].first_chunk().expect("sixteen positions");
            let mut key = E::load(s, key);
            if E::SCALED {
                let scales = &kv.keys.scales[first + group * LANES..];
                key = s.mul(key, s.load(scales.first_chunk().expect("sixteen scales")));
            }
            high = s.max(key, high);
            negated_low = s.max(s.sub(s.splat(0.0), key), negated_low);
            sum = s.add(sum, key);
        }
        let lane = channel % LANES;
        lanes[0][lane] = horizontal_max(s, high);
        lanes[1][lane] = -horizontal_max(s, negated_low);
        lanes[2][lane] = sum_lanes(s, sum) * share;
        if lane == LANES - 1 {
            for (part, lanes) in summary.chunks_exact_mut(kv.width).zip(&lanes) {
                let part = &mut part[channel + 1 - LANES..];
                let part = part.first_chunk_mut().expect("sixteen channels");
                s.store_f16(s.load(lanes), part);
            }
        }
    }
}

/// `means: [D]`.
#[inline(always)]
fn average_values<S: Simd, E: Element>(s: S, kv: &Paged<'_, E>, head: usize, means: &mut [f16]) {
    let first = head * kv.block_tokens;
    let values = &kv.values.elements[first * kv.width..][..kv.block_tokens * kv.width];
    let share = s.splat(1.0 / kv.block_tokens as f32);
    let columns = values.chunks_exact(kv.block_tokens * LANES);
    for (column, means) in columns.zip(means.as_chunks_mut::<LANES>().0) {
        let mut sum = s.splat(0.0);
        for (position, value) in column.as_chunks::<LANES>().0.iter().enumerate() {
            let mut value = E::load(s, value);
            if E::SCALED {
                value = s.mul(value, s.splat(kv.values.scales[first + position]));
            }
            sum = s.add(sum, value);
        }
        s.store_f16(s.mul(sum, share), means);
    }
}
