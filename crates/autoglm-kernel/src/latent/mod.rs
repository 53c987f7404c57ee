//! Attention over latent rows: every query head attends to the same row of a position, whose
//! first part is both key and value and whose second part is key alone.
//!
//! A head's keys and values are linear in the latent row, so that the projections to them move to
//! the query and to the result, and the cache need hold nothing else.

mod rows;
mod store;
#[cfg(test)]
mod tests;

use half::f16;

use crate::attention::AttentionSpan;
use crate::pool::{DisjointMut, Pool};
use crate::simd::{LANES, Variant};
use rows::{Unit, attend};
pub use store::{LatentViewMut, store_latent};

/// Query heads that share each load of a latent row: with a vector of results each they fill
/// eight of the 16 registers of AVX2.
const HEADS_PER_UNIT: usize = 4;

/// The latent rows of a cache that is cut into blocks of positions.
///
/// # Shapes
/// `rows: [blocks, block_tokens, L + R]`.
#[derive(Clone, Copy, Debug)]
pub struct LatentView<'a> {
    /// The latent part L, normalised, then the rotated key R.
    pub rows: &'a [f16],
    /// Positions in a block.
    pub block_tokens: usize,
    /// L: a multiple of 16.
    pub latent: usize,
    /// R: a multiple of 16.
    pub rope: usize,
}

/// The queries of [`latent_attention`], head by head, in the two parts of a cached row.
#[derive(Clone, Copy, Debug)]
pub struct LatentQueries<'a> {
    /// `[H, T, L]`.
    pub latent: &'a [f32],
    /// `[T, H, R]`, rotated.
    pub rope: &'a [f32],
    /// H.
    pub heads: usize,
}

/// `out = softmax(scale · q·Kᵀ) · K[.., ..L]` for every query row and head, each over the
/// positions of its span up to its own. Rows that belong to no span are left as they are.
///
/// The result of a row depends on its query, its position and the cached rows only, bit for bit:
/// not on the other rows, the spans, the block size or the number of threads.
///
/// # Shapes
/// `q` as [`LatentQueries`] says, `out: [H, T, L]`.
///
/// # Accuracy
/// With `n` positions seen, each output is within `(2·(L+R+8)·2⁻²⁴·scale·Σ|q·k| + 2⁻¹⁶ +
/// 2·(n+8)·2⁻²⁴) · max|k|` of the exact one, to first order: the errors of the scores, of their
/// exponentials (a relative `128·2⁻²⁴` at most), and of the two sums.
///
/// # Panics
/// If a slice has another length than the shapes say, a width is not a multiple of 16, spans
/// overlap or descend, a span has more positions than its blocks, or a block lies outside the
/// cache.
///
/// # Source
/// `DeepSeek-AI`, `DeepSeek-V2`, 2024, section 2.1.2 (the absorption of the up-projections).
pub fn latent_attention(
    pool: &Pool,
    q: LatentQueries<'_>,
    view: &LatentView<'_>,
    spans: &[AttentionSpan<'_>],
    scale: f32,
    out: &mut [f32],
) {
    let variant = Variant::best();
    Call {
        variant,
        q,
        view,
        spans,
        scale,
    }
    .run(pool, out);
}

/// One call of [`latent_attention`].
struct Call<'a> {
    variant: Variant,
    q: LatentQueries<'a>,
    view: &'a LatentView<'a>,
    spans: &'a [AttentionSpan<'a>],
    scale: f32,
}

impl Call<'_> {
    fn run(&self, pool: &Pool, out: &mut [f32]) {
        self.check(out.len());
        let total: usize = self.units().map(|unit| unit.cost(self)).sum();
        let out = DisjointMut::new(out);
        let workers = pool.threads();
        pool.run(workers, |worker| {
            let mut before = 0;
            for unit in self.units() {
                // A unit belongs to the worker in whose even share of the cost it begins.
                if before * workers / total == worker {
                    self.attend(&unit, &out);
                }
                before += unit.cost(self);
            }
        });
    }

    /// T, the query rows.
    fn rows(&self) -> usize {
        self.q.latent.len() / (self.q.heads * self.view.latent)
    }

    /// A few heads of one query row each, a row's units one after the other.
    fn units(&self) -> impl Iterator<Item = Unit> {
        let rows = self.spans.iter().enumerate().flat_map(|(span, of)| {
            let offsets = 0..of.queries.len();
            offsets.map(move |offset| (span, offset))
        });
        rows.flat_map(|(span, offset)| {
            let heads = self.q.heads;
            (0..heads).step_by(HEADS_PER_UNIT).map(move |first| Unit {
                span,
                offset,
                heads: first..heads.min(first + HEADS_PER_UNIT),
            })
        })
    }

    fn attend(&self, unit: &Unit, out: &DisjointMut<'_, f32>) {
        match unit.heads.len() {
            1 => attend::<1>(self, unit, out),
            2 => attend::<2>(self, unit, out),
            3 => attend::<3>(self, unit, out),
            _ => attend::<HEADS_PER_UNIT>(self, unit, out),
        }
    }

    fn check(&self, out_len: usize) {
        let Self { q, view, .. } = self;
        let blocks = check_layout("latent_attention", view.rows.len(), view.layout());
        assert!(q.heads > 0, "latent_attention: 0 query heads");
        let rows = self.rows();
        assert_eq!(
            (q.latent.len(), q.rope.len(), out_len),
            (
                rows * q.heads * view.latent,
                rows * q.heads * view.rope,
                rows * q.heads * view.latent
            ),
            "latent_attention: elements of the two parts of q, and of out"
        );
        let mut before = 0;
        for span in self.spans {
            let queries = &span.queries;
            assert!(
                before <= queries.start && queries.start <= queries.end && queries.end <= rows,
                "latent_attention: queries {queries:?} of {rows} rows follow row {before}"
            );
            before = queries.end;
            let needed = span.first_position + queries.len();
            let held = span.blocks.len() * view.block_tokens;
            assert!(
                needed <= held,
                "latent_attention: {needed} positions in blocks of {held}"
            );
            let outside = span.blocks.iter().find(|block| **block as usize >= blocks);
            assert!(
                outside.is_none(),
                "latent_attention: block {outside:?} of {blocks}"
            );
        }
    }
}

impl LatentView<'_> {
    fn layout(&self) -> Layout {
        (self.block_tokens, self.latent, self.rope)
    }
}

/// `(block_tokens, L, R)`.
type Layout = (usize, usize, usize);

/// Panics unless so many elements are whole blocks of this layout; returns how many.
fn check_layout(op: &str, elements: usize, (block_tokens, latent, rope): Layout) -> usize {
    for (name, len) in [("latent part", latent), ("rotated part", rope)] {
        assert!(
            len > 0 && len.is_multiple_of(LANES),
            "{op}: the {name} {len} is not a multiple of {LANES}"
        );
    }
    let block_len = block_tokens * (latent + rope);
    assert!(
        block_len > 0 && elements.is_multiple_of(block_len),
        "{op}: {elements} elements are not blocks of {block_len}"
    );
    elements / block_len
}
