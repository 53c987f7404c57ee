//! Summaries of the keys of whole blocks: the greatest and the least key of each channel.

use half::f16;

use super::elements::{Element, Paged, with_paged};
use super::{KvView, check_layout};
use crate::pool::{DisjointMut, Pool};
use crate::simd::{LANES, Simd, Variant, horizontal_max, with_simd};

/// Elements of one head's summary of a block: the greatest keys, then the least.
pub(super) const fn bounds_len(width: usize) -> usize {
    2 * width
}

/// Writes the greatest and the least key of each channel over all positions of whole blocks,
/// rounded to half precision.
///
/// # Shapes
/// `bounds: [all blocks, G, 2, D]`, of which those of `blocks` are written.
///
/// # Panics
/// If a slice has another length than the shapes say, or a block lies outside the cache.
///
/// # Source
/// Tang et al., Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference, 2024,
/// section 3.2.
pub fn bound_keys(pool: &Pool, kv: &KvView<'_>, blocks: &[u32], bounds: &mut [f16]) {
    bound_keys_with(Variant::best(), pool, kv, blocks, bounds);
}

pub(super) fn bound_keys_with(
    variant: Variant,
    pool: &Pool,
    kv: &KvView<'_>,
    blocks: &[u32],
    bounds: &mut [f16],
) {
    let all = check_layout("bound_keys", kv);
    check_bounds("bound_keys", kv, bounds.len(), all);
    let outside = blocks.iter().find(|block| **block as usize >= all);
    assert!(
        outside.is_none(),
        "bound_keys: block {outside:?} of {all} blocks"
    );
    let mut blocks = blocks.to_vec();
    blocks.sort_unstable();
    blocks.dedup();
    let bounds = DisjointMut::new(bounds);
    with_paged!(kv, kv => pool.run(blocks.len() * kv.heads, |task| {
        let head = blocks[task / kv.heads] as usize * kv.heads + task % kv.heads;
        let len = bounds_len(kv.width);
        // SAFETY: the blocks differ, so each block and head is one task's.
        let bounds = unsafe { bounds.range(head * len..(head + 1) * len) };
        with_simd!(variant, s => bound_head(s, &kv, head, bounds));
    }));
}

/// Panics unless there are summaries of all blocks.
pub(super) fn check_bounds(op: &str, kv: &KvView<'_>, found: usize, blocks: usize) {
    let wanted = blocks * kv.heads * bounds_len(kv.width);
    assert_eq!(
        found, wanted,
        "{op}: the key bounds are not those of all blocks"
    );
}

#[inline(always)]
fn bound_head<S: Simd, E: Element>(s: S, kv: &Paged<'_, E>, head: usize, bounds: &mut [f16]) {
    let first = head * kv.block_tokens;
    let keys = &kv.keys.elements[first * kv.width..][..kv.block_tokens * kv.width];
    let (greatest, least) = bounds.split_at_mut(kv.width);
    let mut lanes = [[0.0; LANES]; 2];
    for channel in 0..kv.width {
        let mut high = s.splat(f32::NEG_INFINITY);
        let mut negated_low = high;
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
        }
        let lane = channel % LANES;
        lanes[0][lane] = horizontal_max(s, high);
        lanes[1][lane] = -horizontal_max(s, negated_low);
        if lane == LANES - 1 {
            for (bounds, lanes) in [&mut *greatest, &mut *least].into_iter().zip(&lanes) {
                let bounds = &mut bounds[channel + 1 - LANES..];
                let bounds = bounds.first_chunk_mut().expect("sixteen channels");
                s.store_f16(s.load(lanes), bounds);
            }
        }
    }
}
