//! Attention of query rows over a paged key/value cache, with an online softmax.
//!
//! `docs/attention.md` derives the formula, the tiling and why a row's result depends on nothing
//! but the row itself.

mod rows;
mod store;
#[cfg(test)]
mod tests;

use std::ops::Range;

use half::f16;

use crate::pool::{DisjointMut, Pool};
use crate::simd::{LANES, Variant};
use rows::{RowBlock, attend};
pub use store::{KvViewMut, store_kv};

/// Query rows that share each load of keys and values: six rows times four vectors of results fill
/// 24 of the 32 AVX-512 registers (six times two, 12 of the 16 of AVX2).
const ROWS_PER_BLOCK: usize = 6;

/// The keys and values of a cache that is cut into blocks of positions.
///
/// # Shapes
/// Block `b` of head `g` occupies the same `block_tokens · width` elements in both slices, at
/// `(b · heads + g) · block_tokens · width`. Inside it, values are `[block_tokens, D]`, while keys
/// are `[block_tokens/16, D, 16]`: sixteen positions side by side, so that scores of sixteen
/// positions are computed in one register without a transposition. Whole blocks may be copied;
/// parts of a block are written by [`store_kv`] only.
#[derive(Clone, Copy, Debug)]
pub struct KvView<'a> {
    /// `[blocks, G, block_tokens/16, D, 16]`.
    pub keys: &'a [f16],
    /// `[blocks, G, block_tokens, D]`.
    pub values: &'a [f16],
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
    Attention {
        variant: Variant::best(),
        q,
        kv,
        spans,
        params,
    }
    .run(pool, out);
}

/// One call of [`attention`].
struct Attention<'a> {
    variant: Variant,
    q: &'a [f32],
    kv: &'a KvView<'a>,
    spans: &'a [AttentionSpan<'a>],
    params: &'a AttentionParams,
}

impl Attention<'_> {
    fn run(&self, pool: &Pool, out: &mut [f32]) {
        self.check(out.len());
        let rows_per_block = self.rows_per_block(pool.threads());
        let total: usize = self
            .row_blocks(rows_per_block)
            .map(|block| self.cost(&block))
            .sum();
        let out = DisjointMut::new(out);
        let workers = pool.threads();
        pool.run(workers, |worker| {
            let mut before = 0;
            for block in self.row_blocks(rows_per_block) {
                // A block belongs to the worker in whose even share of the cost it begins.
                if before * workers / total == worker {
                    self.attend(&block, &out);
                }
                before += self.cost(&block);
            }
        });
    }

    /// The row blocks of all spans: rows of one span and key/value head each.
    fn row_blocks(&self, rows_per_block: usize) -> impl Iterator<Item = RowBlock> {
        let heads_per_group = self.params.heads / self.kv.heads;
        self.spans
            .iter()
            .enumerate()
            .flat_map(move |(span, AttentionSpan { queries, .. })| {
                let rows = queries.len() * heads_per_group;
                (0..self.kv.heads).flat_map(move |group| {
                    (0..rows)
                        .step_by(rows_per_block)
                        .map(move |first| RowBlock {
                            span,
                            group,
                            first,
                            len: rows_per_block.min(rows - first),
                        })
                })
            })
    }

    /// Six, but fewer where that would leave threads without work, as when one sequence decodes.
    fn rows_per_block(&self, threads: usize) -> usize {
        let rows: usize = self.spans.iter().map(|span| span.queries.len()).sum();
        (rows * self.params.heads / threads).clamp(1, ROWS_PER_BLOCK)
    }

    /// Multiply-adds, up to a factor, with the fixed work of a block beside them.
    fn cost(&self, block: &RowBlock) -> usize {
        let last = block.position(self, block.len - 1);
        (block.len + 1) * (last + 1 - self.first_visible(last) + LANES)
    }

    /// The first position that a row at `position` attends to.
    fn first_visible(&self, position: usize) -> usize {
        self.params
            .window
            .map_or(0, |window| (position + 1).saturating_sub(window))
    }

    fn attend(&self, block: &RowBlock, out: &DisjointMut<'_, f32>) {
        match block.len {
            1 => attend::<1>(self, block, out),
            2 => attend::<2>(self, block, out),
            3 => attend::<3>(self, block, out),
            4 => attend::<4>(self, block, out),
            5 => attend::<5>(self, block, out),
            _ => attend::<ROWS_PER_BLOCK>(self, block, out),
        }
    }

    fn check(&self, out_len: usize) {
        let Self { q, kv, params, .. } = self;
        let blocks = check_layout("attention", kv.keys, kv.values, layout(kv));
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

/// `(block_tokens, heads, width)`.
type Layout = (usize, usize, usize);

fn layout(kv: &KvView<'_>) -> Layout {
    (kv.block_tokens, kv.heads, kv.width)
}

/// Panics unless the slices hold whole blocks of this layout; returns how many.
fn check_layout(op: &str, keys: &[f16], values: &[f16], layout: Layout) -> usize {
    let (block_tokens, heads, width) = layout;
    for (name, len) in [("block length", block_tokens), ("head width", width)] {
        assert!(
            len > 0 && len.is_multiple_of(LANES),
            "{op}: the {name} {len} is not a multiple of {LANES}"
        );
    }
    assert!(heads > 0, "{op}: 0 key/value heads");
    assert_eq!(
        keys.len(),
        values.len(),
        "{op}: keys and values differ in length"
    );
    let block_len = block_tokens * heads * width;
    assert!(
        keys.len().is_multiple_of(block_len),
        "{op}: {} elements are not blocks of {block_len}",
        keys.len()
    );
    keys.len() / block_len
}
