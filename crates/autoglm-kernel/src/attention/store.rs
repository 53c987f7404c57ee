//! Writing keys and values into the paged cache.

use half::f16;

use super::check_layout;
use crate::pool::{DisjointMut, Pool};
use crate::simd::{LANES, Simd, Variant, with_simd};

/// [`super::KvView`], to be written.
#[derive(Debug)]
pub struct KvViewMut<'a> {
    /// `[blocks, G, block_tokens/16, D, 16]`.
    pub keys: &'a mut [f16],
    /// `[blocks, G, block_tokens, D]`.
    pub values: &'a mut [f16],
    /// Positions in a block: a multiple of 16.
    pub block_tokens: usize,
    /// The number G of key/value heads.
    pub heads: usize,
    /// The head width D: a multiple of 16.
    pub width: usize,
}

/// Stores the keys and values of T positions, rounded to half precision, in the given slots; slot
/// `block · block_tokens + offset` is position `offset` of `block`. Of equal slots the last counts.
///
/// # Shapes
/// `k, v: [T, G, D]`, `slots: [T]`.
///
/// # Panics
/// If a slice has another length than the shapes say, a width or block length is not a multiple of
/// 16, or a slot lies outside the cache.
pub fn store_kv(pool: &Pool, k: &[f32], v: &[f32], slots: &[u32], kv: &mut KvViewMut<'_>) {
    store_kv_with(Variant::best(), pool, [k, v], slots, kv);
}

pub(super) fn store_kv_with(
    variant: Variant,
    pool: &Pool,
    [k, v]: [&[f32]; 2],
    slots: &[u32],
    kv: &mut KvViewMut<'_>,
) {
    let KvViewMut {
        block_tokens,
        heads,
        width,
        ..
    } = *kv;
    let blocks = check_layout("store_kv", kv.keys, kv.values, (block_tokens, heads, width));
    let row_len = heads * width;
    for (name, len) in [("k", k.len()), ("v", v.len())] {
        assert_eq!(
            len,
            slots.len() * row_len,
            "store_kv: {name} is not one row per slot"
        );
    }
    let outside = slots
        .iter()
        .find(|slot| **slot as usize >= blocks * block_tokens);
    assert!(
        outside.is_none(),
        "store_kv: slot {outside:?} in {blocks} blocks of {block_tokens}"
    );
    let store = Store {
        keys: DisjointMut::new(kv.keys),
        values: DisjointMut::new(kv.values),
        block_tokens,
        heads,
        width,
    };
    let tasks = if slots.len() < LANES {
        1
    } else {
        pool.threads()
    };
    pool.run(tasks, |task| {
        for (row, slot) in slots.iter().enumerate() {
            let slot = *slot as usize;
            // Sixteen neighbouring slots share memory, hence a task.
            if slot / LANES % tasks == task {
                let rows = row * row_len..(row + 1) * row_len;
                let (k, v) = (&k[rows.clone()], &v[rows]);
                // SAFETY: the sixteen slots around this one belong to this task only, and it
                // stores them one after the other.
                with_simd!(variant, s => unsafe { store.position(s, slot, k, v) });
            }
        }
    });
}

struct Store<'a> {
    keys: DisjointMut<'a, f16>,
    values: DisjointMut<'a, f16>,
    block_tokens: usize,
    heads: usize,
    width: usize,
}

impl Store<'_> {
    /// Stores one position of all heads: `k, v: [G, D]`.
    ///
    /// # Safety
    /// No other thread may store in the same sixteen slots at the same time.
    #[inline(always)]
    unsafe fn position<S: Simd>(&self, s: S, slot: usize, k: &[f32], v: &[f32]) {
        let (block, offset) = (slot / self.block_tokens, slot % self.block_tokens);
        let lane = offset % LANES;
        let heads = k.chunks_exact(self.width).zip(v.chunks_exact(self.width));
        for (head, (k, v)) in heads.enumerate() {
            let first = (block * self.heads + head) * self.block_tokens + offset - lane;
            let start = first * self.width;
            // SAFETY: these are elements of the sixteen slots that the caller answers for.
            let keys = unsafe { self.keys.range(start..start + LANES * self.width) };
            store_lane(s, k, keys, lane);
            let start = start + lane * self.width;
            // SAFETY: as above.
            let values = unsafe { self.values.range(start..start + self.width) };
            store_row(s, v, values);
        }
    }
}

/// `keys[d, lane] = k[d]` with `keys: [D, 16]`.
#[inline(always)]
fn store_lane<S: Simd>(s: S, k: &[f32], keys: &mut [f16], lane: usize) {
    let (keys, _) = keys.as_chunks_mut::<LANES>();
    for (k, keys) in k
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(keys.chunks_exact_mut(LANES))
    {
        let mut halves = [f16::ZERO; LANES];
        s.store_f16(s.load(k), &mut halves);
        for (half, key) in halves.iter().zip(keys) {
            key[lane] = *half;
        }
    }
}

#[inline(always)]
fn store_row<S: Simd>(s: S, v: &[f32], values: &mut [f16]) {
    let (values, _) = values.as_chunks_mut::<LANES>();
    for (v, values) in v.as_chunks::<LANES>().0.iter().zip(values) {
        s.store_f16(s.load(v), values);
    }
}
