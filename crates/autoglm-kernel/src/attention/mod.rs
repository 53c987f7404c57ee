//! Attention of query rows over a paged key/value cache, with an online softmax.
//!
//! `docs/attention.md` derives the formula, the tiling and why a row's result depends on nothing
//! but the row itself.

mod bounds;
mod elements;
mod gated;
mod rows;
mod store;
#[cfg(test)]
mod tests;
mod tile;
mod work;

use std::ops::Range;

use crate::pool::Pool;
use crate::simd::{LANES, Variant};
pub use bounds::bound_keys;
use elements::{Element, with_paged};
pub use elements::{KvElements, KvElementsMut};
pub use gated::{Gate, GateMeasure, GatedView, gated_attention};
pub use store::{KvViewMut, store_kv};
use work::Attention;

/// The keys and values of a cache that is cut into blocks of positions.
///
/// # Shapes
/// Block `b` of head `g` occupies the same `block_tokens · width` elements of both, at
/// `(b · heads + g) · block_tokens · width`. Inside it, keys are `[block_tokens/16, D, 16]`, sixteen
/// positions side by side, so that scores of sixteen positions are computed in one register without
/// a transposition; values are `[D/16, block_tokens, 16]`, sixteen channels side by side. Whole
/// blocks may be copied; parts of a block are written by [`store_kv`] only.
#[derive(Clone, Copy, Debug)]
pub struct KvView<'a> {
    /// `[blocks, G, block_tokens/16, D, 16]`.
    pub keys: KvElements<'a>,
    /// `[blocks, G, D/16, block_tokens, 16]`.
    pub values: KvElements<'a>,
    /// Positions in a block: a multiple of 16.
    pub block_tokens: usize,
    /// The number G of key/value heads.
    pub heads: usize,
    /// The head width D: a multiple of 16.
    pub width: usize,
}

/// Query rows of one sequence, and the blocks that hold its keys and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionSpan<'a> {
    /// The block of positions `i·block_tokens..(i+1)·block_tokens`, for each `i`.
    pub blocks: &'a [u32],
    /// The rows of the queries; those of spans in order must ascend and not overlap.
    pub queries: Range<usize>,
    /// The position of the first of these rows; row `i` of the span attends to positions
    /// `0..=first_position + i`, which must be stored already.
    pub first_position: usize,
}

/// What attention is computed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionParams {
    /// The number H of query heads, a multiple of the key/value heads: query head `h` uses
    /// key/value head `h / (H/G)`.
    pub heads: usize,
    /// The factor of `q·k`, usually `1/√D`.
    pub scale: f32,
    /// With `Some(n)`, position `p` attends to the `n` positions `p-n+1..=p` only.
    pub window: Option<usize>,
    /// With `Some(c)`, a score `x` becomes `c·tanh(x/c)`.
    pub soft_cap: Option<f32>,
}

/// `out = softmax(scale · q·Kᵀ) · V` for every query row and head, each over the positions of its
/// span that it may see. Rows that belong to no span are left as they are.
///
/// The result of a row depends on its query, its position and the cached keys and values only, bit
/// for bit: not on the other rows, the spans, the block size or the number of threads.
///
/// # Shapes
/// `q, out: [T, H, D]`.
///
/// # Accuracy
/// With `n` positions seen, each output is within
/// `(2·(D+3)·2⁻²⁴·scale·Σ|q·k| + 2⁻¹⁶ + 2·(n+8)·2⁻²⁴) · max|v|` of the exact one, to first order: the
/// errors of the scores (with a soft cap `c`, another `c·2⁻²⁰`), of their exponentials (a relative
/// `128·2⁻²⁴` at most), and of the two sums.
///
/// # Panics
/// If a slice has another length than the shapes say, a width or block length is not a multiple of
/// 16, the heads do not divide, spans overlap or descend, a span has more positions than its
/// blocks, a block lies outside the cache, or the window is 0.
///
/// # Source
/// Vaswani et al., Attention Is All You Need, 2017, equation 1; Milakov and Gimelshein, Online
/// normalizer calculation for softmax, 2018, algorithm 3; Dao et al., `FlashAttention`, 2022.
pub fn attention(
    pool: &Pool,
    q: &[f32],
    kv: &KvView<'_>,
    spans: &[AttentionSpan<'_>],
    params: &AttentionParams,
    out: &mut [f32],
) {
    attention_with(Variant::best(), pool, (q, kv, spans, params), out);
}

/// Queries, cache, spans and parameters of a call.
type Inputs<'a> = (
    &'a [f32],
    &'a KvView<'a>,
    &'a [AttentionSpan<'a>],
    &'a AttentionParams,
);

fn attention_with(
    variant: Variant,
    pool: &Pool,
    (q, kv, spans, params): Inputs<'_>,
    out: &mut [f32],
) {
    let blocks = check_layout("attention", kv);
    with_paged!(kv, kv => {
        let call = Attention { variant, q, kv, spans, params, gates: None };
        call.check(blocks, out.len());
        call.run(pool, out);
    });
}

impl<E: Element> Attention<'_, E> {
    fn check(&self, blocks: usize, out_len: usize) {
        let Self { q, kv, params, .. } = self;
        assert!(
            params.heads.is_multiple_of(kv.heads),
            "attention: {} query heads for {} key/value heads",
            params.heads,
            kv.heads
        );
        assert!(params.window != Some(0), "attention: the window is 0");
        assert_eq!(q.len(), out_len, "attention: q and out differ in length");
        let row_len = params.heads * kv.width;
        let mut rows = 0;
        for span in self.spans {
            let queries = &span.queries;
            assert!(
                rows <= queries.start && queries.start <= queries.end,
                "attention: queries {queries:?} follow row {rows}"
            );
            rows = queries.end;
            self.check_positions(span, blocks);
        }
        assert!(
            rows * row_len <= q.len(),
            "attention: {rows} rows of {row_len} in a q of {}",
            q.len()
        );
    }

    fn check_positions(&self, span: &AttentionSpan<'_>, blocks: usize) {
        let needed = span.first_position + span.queries.len();
        let held = span.blocks.len() * self.kv.block_tokens;
        assert!(
            needed <= held,
            "attention: {needed} positions in blocks of {held}"
        );
        let outside = span.blocks.iter().find(|block| **block as usize >= blocks);
        assert!(
            outside.is_none(),
            "attention: block {outside:?} of {blocks}"
        );
    }
}

/// Panics unless the elements are whole blocks of this layout; returns how many.
fn check_layout(op: &str, kv: &KvView<'_>) -> usize {
    let KvView {
        block_tokens,
        heads,
        width,
        ..
    } = *kv;
    for (name, len) in [("block length", block_tokens), ("head width", width)] {
        assert!(
            len > 0 && len.is_multiple_of(LANES),
            "{op}: the {name} {len} is not a multiple of {LANES}"
        );
    }
    assert!(heads > 0, "{op}: 0 key/value heads");
    assert_eq!(
        kv.keys.len(),
        kv.values.len(),
        "{op}: keys and values differ in length"
    );
    let (elements, scales) = kv.keys.len();
    let block_len = block_tokens * heads * width;
    assert!(
        elements.is_multiple_of(block_len),
        "{op}: {elements} elements are not blocks of {block_len}",
    );
    let wanted = elements / width;
    assert!(
        scales.is_none_or(|scales| scales == wanted),
        "{op}: {scales:?} scales, not {wanted}"
    );
    elements / block_len
}
