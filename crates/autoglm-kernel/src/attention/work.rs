//! How a call is divided among threads: whole row blocks where there are many, chunks of them
//! where there are few.

use super::elements::{Element, Paged};
use super::rows::{CHUNK_TILES, Progress, RowBlock, Rows, merge, multiply};
use super::tile::TILE;
use super::{AttentionParams, AttentionSpan};
use crate::pool::{DisjointMut, Pool};
use crate::simd::{LANES, Variant};

/// Query rows that share each load of keys and values: six rows times four vectors of results fill
/// 24 of the 32 AVX-512 registers (six times two, 12 of the 16 of AVX2).
pub(super) const ROWS_PER_BLOCK: usize = 6;

/// With fewer row blocks a thread, their chunks are divided among the threads, where they have
/// several.
const FEW_BLOCKS: usize = 8;

/// One call of [`super::attention`].
pub(super) struct Attention<'a, E> {
    pub(super) variant: Variant,
    pub(super) q: &'a [f32],
    pub(super) kv: Paged<'a, E>,
    pub(super) spans: &'a [AttentionSpan<'a>],
    pub(super) params: &'a AttentionParams,
    pub(super) gates: Option<&'a Gates<'a>>,
}

/// The tiles that gated rows attend to, and what they are found to weigh.
pub(super) struct Gates<'a> {
    /// For each span and key/value head, ascending.
    pub(super) lists: &'a [Vec<u32>],
    /// `[spans, H, longest]`: the sum of a tile's weights, and the score that it is relative to.
    pub(super) weights: &'a DisjointMut<'a, [f32; 2]>,
    /// The length of the longest list.
    pub(super) longest: usize,
}

/// The tiles that a row block goes through: those with an index in `first..end`.
pub(super) struct Tiles<'a> {
    pub(super) first: usize,
    pub(super) end: usize,
    list: Option<&'a [u32]>,
}

impl Tiles<'_> {
    /// The tile at an index.
    pub(super) fn at(&self, index: usize) -> usize {
        self.list.map_or(index, |list| list[index] as usize)
    }

    fn chunks(&self) -> std::ops::Range<usize> {
        self.first / CHUNK_TILES..self.end.div_ceil(CHUNK_TILES)
    }
}

/// Chunks of one row block, computed by one thread one after the other.
struct Item {
    block: RowBlock,
    chunks: std::ops::Range<usize>,
    /// Multiply-adds, up to a factor, with the fixed work beside them.
    cost: usize,
}

impl<E: Element> Attention<'_, E> {
    pub(super) fn run(&self, pool: &Pool, out: &mut [f32]) {
        let blocks = self.row_blocks();
        let out = DisjointMut::new(out);
        let several_chunks = |block| self.tiles(block).chunks().len() > 1;
        let few = blocks.len() < FEW_BLOCKS * pool.threads();
        if pool.threads() > 1 && few && blocks.iter().any(several_chunks) {
            self.run_chunks(pool, &blocks, &out);
        } else {
            let whole = |block| self.item(block, self.tiles(&block).chunks());
            let items: Vec<Item> = blocks.into_iter().map(whole).collect();
            share_out(pool, &items, |_, item| self.whole_block(item, &out));
        }
    }

    /// Computes each chunk for itself, then merges the chunks of each block in order.
    fn run_chunks(&self, pool: &Pool, blocks: &[RowBlock], out: &DisjointMut<'_, f32>) {
        let mut items = Vec::new();
        let mut first_items = Vec::with_capacity(blocks.len());
        for &block in blocks {
            first_items.push(items.len());
            let chunks = self.tiles(&block).chunks();
            items.extend(chunks.map(|chunk| self.item(block, chunk..chunk + 1)));
        }
        first_items.push(items.len());
        let record_len = self.record_len();
        let mut records = vec![0.0; items.len() * record_len];
        let shared = DisjointMut::new(&mut records);
        share_out(pool, &items, |index, item| {
            // SAFETY: each item has a record of its own and is computed once.
            let record = unsafe { shared.range(index * record_len..(index + 1) * record_len) };
            self.chunk(item, record);
        });
        pool.run(blocks.len(), |index| {
            let records = first_items[index] * record_len..first_items[index + 1] * record_len;
            // SAFETY: the records were written in the run before; each block reads its own.
            let records = unsafe { shared.range(records) };
            self.merge_chunks(blocks[index], records, out);
        });
    }

    fn whole_block(&self, item: &Item, out: &DisjointMut<'_, f32>) {
        match item.block.len {
            1 => self.whole_rows::<1>(item, out),
            2 => self.whole_rows::<2>(item, out),
            3 => self.whole_rows::<3>(item, out),
            4 => self.whole_rows::<4>(item, out),
            5 => self.whole_rows::<5>(item, out),
            _ => self.whole_rows::<ROWS_PER_BLOCK>(item, out),
        }
    }

    fn whole_rows<const R: usize>(&self, item: &Item, out: &DisjointMut<'_, f32>) {
        let width = self.kv.width;
        let rows = Rows::<E, R>::new(self, item.block);
        let mut out = self.rows_of(item.block, out);
        let mut chunks = item.chunks.clone();
        let first = chunks.next().expect("a row sees at least its own position");
        let mut buffer = vec![0.0; if chunks.is_empty() { 0 } else { R * width }];
        let mut progress = rows.chunk(first, &mut out);
        for chunk in chunks {
            let mut of_chunk = split_rows(&mut buffer, width);
            let after = rows.chunk(chunk, &mut of_chunk);
            for row in 0..R {
                let total = (&mut *out[row], &mut progress[row]);
                merge(self.variant, total, (of_chunk[row], after[row]));
            }
        }
        for (out, progress) in out.into_iter().zip(progress) {
            multiply(self.variant, out, 1.0 / progress.sum);
        }
    }

    /// A record holds the sums of up to six rows, then what [`Progress`] knows of each.
    fn record_len(&self) -> usize {
        ROWS_PER_BLOCK * (self.kv.width + 2)
    }

    fn chunk(&self, item: &Item, record: &mut [f32]) {
        match item.block.len {
            1 => self.chunk_rows::<1>(item, record),
            2 => self.chunk_rows::<2>(item, record),
            3 => self.chunk_rows::<3>(item, record),
            4 => self.chunk_rows::<4>(item, record),
            5 => self.chunk_rows::<5>(item, record),
            _ => self.chunk_rows::<ROWS_PER_BLOCK>(item, record),
        }
    }

    fn chunk_rows<const R: usize>(&self, item: &Item, record: &mut [f32]) {
        let width = self.kv.width;
        let rows = Rows::<E, R>::new(self, item.block);
        let (sums, states) = record.split_at_mut(ROWS_PER_BLOCK * width);
        let mut sums = split_rows::<R>(sums, width);
        let chunk = item.chunks.start;
        let progress = rows.chunk(chunk, &mut sums);
        for (state, progress) in states.chunks_exact_mut(2).zip(progress) {
            state.copy_from_slice(&[progress.greatest, progress.sum]);
        }
    }

    fn merge_chunks(&self, block: RowBlock, records: &[f32], out: &DisjointMut<'_, f32>) {
        let width = self.kv.width;
        for row in 0..block.len {
            let start = block.start(self, row);
            // SAFETY: blocks are merged once, and rows of blocks are different parts of `out`.
            let out = unsafe { out.range(start..start + width) };
            let mut progress = Progress::NONE;
            for record in records.chunks_exact(self.record_len()) {
                let state = &record[ROWS_PER_BLOCK * width + 2 * row..][..2];
                let of_chunk = Progress {
                    greatest: state[0],
                    sum: state[1],
                };
                let sums = &record[row * width..][..width];
                let total = (&mut *out, &mut progress);
                merge(self.variant, total, (sums, of_chunk));
            }
            multiply(self.variant, out, 1.0 / progress.sum);
        }
    }

    /// The rows of `out` that a block computes.
    #[expect(clippy::mut_from_ref, reason = "each block of rows is computed once")]
    fn rows_of<'o, const R: usize>(
        &self,
        block: RowBlock,
        out: &'o DisjointMut<'_, f32>,
    ) -> [&'o mut [f32]; R] {
        std::array::from_fn(|row| {
            let start = block.start(self, row);
            // SAFETY: blocks of rows, and rows of a block, are different query rows or heads, spans
            // do not overlap, and each block is computed once.
            unsafe { out.range(start..start + self.kv.width) }
        })
    }

    /// The row blocks of all spans: rows of one span and key/value head each, as even as they can
    /// be.
    fn row_blocks(&self) -> Vec<RowBlock> {
        let heads_per_group = self.heads_per_group();
        let mut blocks = Vec::new();
        for (span, AttentionSpan { queries, .. }) in self.spans.iter().enumerate() {
            let rows = queries.len() * heads_per_group;
            let parts = rows.div_ceil(ROWS_PER_BLOCK);
            for group in 0..self.kv.heads {
                blocks.extend((0..parts).map(|part| {
                    let (first, end) = (part * rows / parts, (part + 1) * rows / parts);
                    RowBlock {
                        span,
                        group,
                        first,
                        len: end - first,
                    }
                }));
            }
        }
        blocks
    }

    fn item(&self, block: RowBlock, chunks: std::ops::Range<usize>) -> Item {
        let tiles = self.tiles(&block);
        let from = tiles.first.max(chunks.start * CHUNK_TILES);
        let to = tiles.end.min(chunks.end * CHUNK_TILES);
        Item {
            block,
            chunks,
            cost: (block.len + 1) * ((to - from) * TILE + LANES),
        }
    }

    /// The tiles that some row of the block sees.
    pub(super) fn tiles(&self, block: &RowBlock) -> Tiles<'_> {
        if let Some(gates) = self.gates {
            let list = &gates.lists[block.span * self.kv.heads + block.group];
            return Tiles {
                first: 0,
                end: list.len(),
                list: Some(list),
            };
        }
        let last = block.position(self, block.len - 1);
        Tiles {
            first: self.first_visible(block.position(self, 0)) / TILE,
            end: last / TILE + 1,
            list: None,
        }
    }

    /// Query heads that share a key/value head.
    pub(super) fn heads_per_group(&self) -> usize {
        self.params.heads / self.kv.heads
    }

    /// Notes what a tile weighs for a row, where that is asked for.
    pub(super) fn note(&self, block: &RowBlock, row: usize, index: usize, weight: [f32; 2]) {
        if let Some(gates) = self.gates {
            let head = block.group * self.heads_per_group() + block.first + row;
            let at = (block.span * self.params.heads + head) * gates.longest + index;
            // SAFETY: gated spans have one row, and each of its heads and tiles is computed once.
            let noted = unsafe { gates.weights.range(at..at + 1) };
            noted[0] = weight;
        }
    }

    /// The first position that a row at `position` attends to.
    pub(super) fn first_visible(&self, position: usize) -> usize {
        self.params
            .window
            .map_or(0, |window| (position + 1).saturating_sub(window))
    }
}

/// Calls `f` with every item and its index; threads get neighbouring items of even shares of the
/// cost.
fn share_out(pool: &Pool, items: &[Item], f: impl Fn(usize, &Item) + Sync) {
    let workers = pool.threads();
    let total: usize = items.iter().map(|item| item.cost).sum();
    pool.run(workers, |worker| {
        let mut before = 0;
        for (index, item) in items.iter().enumerate() {
            // An item belongs to the worker in whose share its middle lies.
            let middle = 2 * before + item.cost;
            if middle * workers / (2 * total) == worker {
                f(index, item);
            }
            before += item.cost;
        }
    });
}

/// The first `R` rows of a buffer.
fn split_rows<const R: usize>(buffer: &mut [f32], width: usize) -> [&mut [f32]; R] {
    let mut rows = buffer.chunks_exact_mut(width);
    std::array::from_fn(|_| rows.next().expect("the buffer has room for the rows"))
}
