//! Writing keys and values into the paged cache.

use half::f16;

use super::elements::KvElementsMut;
use super::{KvView, check_layout};
use crate::pool::{DisjointMut, Pool};
use crate::simd::{LANES, Simd, Variant, horizontal_max, sum_lanes, with_simd};

/// [`KvView`], to be written.
#[derive(Debug)]
pub struct KvViewMut<'a> {
    /// `[blocks, G, block_tokens/16, D, 16]`.
    pub keys: KvElementsMut<'a>,
    /// `[blocks, G, D/16, block_tokens, 16]`.
    pub values: KvElementsMut<'a>,
    /// Positions in a block: a multiple of 16.
    pub block_tokens: usize,
    /// The number G of key/value heads.
    pub heads: usize,
    /// The head width D: a multiple of 16.
    pub width: usize,
}

impl KvViewMut<'_> {
    /// The same, to be read.
    pub fn as_view(&self) -> KvView<'_> {
        KvView {
            keys: self.keys.as_ref(),
            values: self.values.as_ref(),
            block_tokens: self.block_tokens,
            heads: self.heads,
            width: self.width,
        }
    }
}

/// Stores the keys and values of T positions in the given slots; slot `block · block_tokens +
/// offset` is position `offset` of `block`. Of equal slots the last counts.
///
/// In single precision elements stay as they are; in half precision each is rounded to nearest. As
/// integers, the D elements of a position and head share the scale `s = max|x|/127` and become
/// `round(x/s)`; where one of them is infinite or NaN, `s` is NaN, and so is all that is read.
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
    let blocks = check_layout("store_kv", &kv.as_view());
    let layout = Layout {
        block_tokens: kv.block_tokens,
        heads: kv.heads,
        width: kv.width,
    };
    let row_len = layout.heads * layout.width;
    for (name, len) in [("k", k.len()), ("v", v.len())] {
        assert_eq!(
            len,
            slots.len() * row_len,
            "store_kv: {name} is not one row per slot"
        );
    }
    let outside = slots
        .iter()
        .find(|slot| **slot as usize >= blocks * layout.block_tokens);
    assert!(
        outside.is_none(),
        "store_kv: slot {outside:?} in {blocks} blocks of {}",
        layout.block_tokens
    );
    let (keys, values) = (Target::new(&mut kv.keys), Target::new(&mut kv.values));
    let tasks = if slots.len() < LANES {
        1
    } else {
        pool.threads()
    };
    pool.run(tasks, |task| {
        for (row, slot) in slots.iter().enumerate() {
            let slot = *slot as usize;
            // The slots of a block share memory, hence a task.
            if slot / layout.block_tokens % tasks == task {
                let rows = row * row_len..(row + 1) * row_len;
                let (k, v) = (&k[rows.clone()], &v[rows]);
                // SAFETY: the slots of this block belong to this task only, and it stores them one
                // after the other.
                with_simd!(variant, s => unsafe {
                    layout.position(s, slot, (k, &keys), (v, &values));
                });
            }
        }
    });
}

/// What elements are stored in.
enum Target<'a> {
    F32(DisjointMut<'a, f32>),
    F16(DisjointMut<'a, f16>),
    Q8 {
        quants: DisjointMut<'a, i8>,
        scales: DisjointMut<'a, f32>,
    },
}

impl<'a> Target<'a> {
    fn new(elements: &'a mut KvElementsMut<'_>) -> Self {
        match elements {
            KvElementsMut::F32(elements) => Self::F32(DisjointMut::new(elements)),
            KvElementsMut::F16(elements) => Self::F16(DisjointMut::new(elements)),
            KvElementsMut::Q8 { quants, scales } => Self::Q8 {
                quants: DisjointMut::new(quants),
                scales: DisjointMut::new(scales),
            },
        }
    }
}

#[derive(Clone, Copy)]
struct Layout {
    block_tokens: usize,
    heads: usize,
    width: usize,
}

impl Layout {
    /// Stores one position of all heads: `k, v: [G, D]`.
    ///
    /// # Safety
    /// No other thread may store in the same block at the same time.
    #[inline(always)]
    unsafe fn position<S: Simd>(
        &self,
        s: S,
        slot: usize,
        (k, keys): (&[f32], &Target<'_>),
        (v, values): (&[f32], &Target<'_>),
    ) {
        let (block, offset) = (slot / self.block_tokens, slot % self.block_tokens);
        let heads = k.chunks_exact(self.width).zip(v.chunks_exact(self.width));
        for (head, (k, v)) in heads.enumerate() {
            let start = (block * self.heads + head) * self.block_tokens;
            // SAFETY: these are slots of the block that the caller answers for.
            unsafe { self.store(s, (start, offset), k, keys, Order::Keys) }
            // SAFETY: as above.
            unsafe { self.store(s, (start, offset), v, values, Order::Values) }
        }
    }

    /// Stores `x: [D]` as position `offset` of the head's block that begins with slot `start`.
    ///
    /// # Safety
    /// No other thread may have elements of the block at the same time.
    #[inline(always)]
    unsafe fn store<S: Simd>(
        &self,
        s: S,
        (start, offset): (usize, usize),
        x: &[f32],
        target: &Target<'_>,
        order: Order,
    ) {
        let elements = start * self.width..(start + self.block_tokens) * self.width;
        match target {
            Target::F32(floats) => {
                // SAFETY: the caller answers for the block.
                let block = unsafe { floats.range(elements) };
                self.place(x, (block, offset), order, |x| *x);
            }
            Target::F16(halves) => {
                // SAFETY: the caller answers for the block.
                let block = unsafe { halves.range(elements) };
                self.place(
                    x,
                    (block, offset),
                    order,
                    #[inline(always)]
                    |x| {
                        let mut halves = [f16::ZERO; LANES];
                        s.store_f16(s.load(x), &mut halves);
                        halves
                    },
                );
            }
            Target::Q8 { quants, scales } => {
                // SAFETY: the caller answers for the block.
                let block = unsafe { quants.range(elements) };
                // SAFETY: the caller answers for the block, whose scales these are.
                let scales = unsafe { scales.range(start + offset..start + offset + 1) };
                let (scale, inverse) = step(s, x);
                scales[0] = scale;
                self.place(
                    x,
                    (block, offset),
                    order,
                    #[inline(always)]
                    |x| {
                        let mut quants = [0; LANES];
                        s.store_i8(s.mul(s.load(x), s.splat(inverse)), &mut quants);
                        quants
                    },
                );
            }
        }
    }

    /// Puts the elements of a position where the layout has them.
    #[inline(always)]
    fn place<E: Copy>(
        &self,
        x: &[f32],
        (block, offset): (&mut [E], usize),
        order: Order,
        convert: impl Fn(&[f32; LANES]) -> [E; LANES],
    ) {
        let (vectors, _) = x.as_chunks::<LANES>();
        match order {
            Order::Keys => {
                let lane = offset % LANES;
                let group = &mut block[(offset - lane) * self.width..][..LANES * self.width];
                let squares = group.chunks_exact_mut(LANES * LANES);
                for (x, square) in vectors.iter().zip(squares) {
                    let channels = square.chunks_exact_mut(LANES);
                    for (element, channel) in convert(x).into_iter().zip(channels) {
                        channel[lane] = element;
                    }
                }
            }
            Order::Values => {
                let columns = block.chunks_exact_mut(self.block_tokens * LANES);
                for (x, column) in vectors.iter().zip(columns) {
                    column[offset * LANES..][..LANES].copy_from_slice(&convert(x));
                }
            }
        }
    }
}

/// The order of elements inside a block.
#[derive(Clone, Copy)]
enum Order {
    /// `[block_tokens/16, D, 16]`.
    Keys,
    /// `[D/16, block_tokens, 16]`.
    Values,
}

/// Below it all elements count as 0: the factor that makes them integers would overflow.
const LEAST_MAGNITUDE: f32 = 1e-30;

/// The scale of `x` as integers, and the factor that makes them; both NaN where an element is not
/// finite.
#[inline(always)]
fn step<S: Simd>(s: S, x: &[f32]) -> (f32, f32) {
    let zero = s.splat(0.0);
    let (mut greatest, mut poison) = (zero, zero);
    for x in x.as_chunks::<LANES>().0 {
        let x = s.load(x);
        greatest = s.max(s.max(x, s.sub(zero, x)), greatest);
        // 0 times a number is 0, times anything else NaN.
        poison = s.fma(x, zero, poison);
    }
    let greatest = horizontal_max(s, greatest) + sum_lanes(s, poison);
    if greatest < LEAST_MAGNITUDE {
        return (0.0, 0.0);
    }
    (greatest / 127.0, 127.0 / greatest)
}
