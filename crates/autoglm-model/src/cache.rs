//! The paged key/value cache: fixed blocks of token positions, shared between sequences by
//! reference count, copied when a sequence writes into a block that another one also holds.
//!
//! What a block looks like inside is the kernels' business ([`KvView`]); here blocks are only
//! handed out and copied whole.

mod bytes;
mod layer;

use std::sync::Arc;

use autoglm_kernel::{GatedView, KvView, KvViewMut, LatentView, LatentViewMut, Pool};

use crate::adapter::Adapter;
use crate::config::ModelConfig;
use crate::gating::Gating;
use layer::{LatentLayer, Layer};

/// Token positions in a block. 32 positions × D = 64 … 256 × 2 bytes = 4 … 16 KiB per head: small
/// enough that the unused rest of a sequence's last block does not matter, large enough that the
/// attention kernel reads long runs.
pub const BLOCK_TOKENS: usize = 32;

/// Index of a block in the cache.
pub type BlockId = u32;

/// A hold on one block, for an index over blocks. It must be given back with
/// [`KvCache::let_go`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a held block is not free until it is let go"]
pub struct HeldBlock(BlockId);

impl HeldBlock {
    /// Which block is held.
    pub fn id(&self) -> BlockId {
        self.0
    }
}

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheType {
    /// In single precision: four bytes an element.
    F32,
    /// In half precision: two bytes an element.
    #[default]
    F16,
    /// As 8-bit integers with a scale for each position and head: one byte an element and four
    /// for the scale.
    Q8,
}

/// Too few free blocks for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cache has {free_blocks} free blocks of {BLOCK_TOKENS} tokens, {wanted_blocks} are needed"
)]
pub struct CacheFull {
    /// Blocks that are free.
    pub free_blocks: usize,
    /// Blocks that were asked for.
    pub wanted_blocks: usize,
}

/// A sequence of cached positions. It must be given back with [`KvCache::release`].
#[derive(Debug, Default)]
#[must_use = "a sequence holds blocks until it is released"]
pub struct Sequence {
    blocks: Vec<BlockId>,
    len: usize,
    gating: Option<Box<Gating>>,
    adapter: Option<Arc<Adapter>>,
}

impl Sequence {
    /// The sequence with an adapter of the model, which computes all of its positions, those that
    /// are cached already included; `None` is the model alone. The first
    /// [`Adapter::virtual_tokens`] positions are the adapter's own. Forks have it too.
    pub fn under(self, adapter: Option<Arc<Adapter>>) -> Self {
        Self { adapter, ..self }
    }

    /// The adapter that computes the positions.
    pub fn adapter(&self) -> Option<&Arc<Adapter>> {
        self.adapter.as_ref()
    }

    /// Lets the tokens that `gating` covers attend to a part of their past. Forks of the sequence
    /// have no gates.
    pub fn gate(&mut self, gating: Gating) {
        self.gating = Some(Box::new(gating));
    }

    /// Whether the token at a position is gated.
    pub(crate) fn is_gated_at(&self, position: usize) -> bool {
        let gating = self.gating.as_ref();
        gating.is_some_and(|gating| gating.covers(position))
    }

    /// The gates, which go back with [`Self::gate`] afterwards.
    pub(crate) fn take_gating(&mut self) -> Option<Gating> {
        self.gating.take().map(|gating| *gating)
    }

    /// Positions that are cached.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Counts `tokens` reserved positions as cached.
    ///
    /// # Panics
    /// When they were not reserved.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
        assert!(
            self.len <= self.blocks.len() * BLOCK_TOKENS,
            "{} positions are cached, {} are reserved",
            self.len,
            self.blocks.len() * BLOCK_TOKENS
        );
    }

    /// The block table: position p lives in block `blocks()[p / BLOCK_TOKENS]`.
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// The cache slot of position `position`, which must be reserved.
    pub(crate) fn slot(&self, position: usize) -> u32 {
        self.blocks[position / BLOCK_TOKENS] * BLOCK_TOKENS as u32
            + (position % BLOCK_TOKENS) as u32
    }
}

/// Keys and values of all layers for a fixed number of blocks.
pub struct KvCache {
    /// Empty where attention is latent. A model that reads texts as a whole needs keys and values
    /// of a layer while it computes that layer alone: all share one.
    layers: Vec<Layer>,
    /// Empty where attention has key/value heads.
    latents: Vec<LatentLayer>,
    kv_heads: usize,
    references: Vec<u32>,
    free: Vec<BlockId>,
}

impl KvCache {
    /// A cache in half precision of at least `tokens` positions for models of this configuration.
    /// The memory is asked for here; the operating system hands it out as it is first written.
    pub fn new(config: &ModelConfig, tokens: usize) -> Self {
        Self::of_type(CacheType::F16, config, tokens)
    }

    /// [`KvCache::new`] with another type of elements. Latent rows are in half precision whatever
    /// the type is, and keys and values of a model that is not causal in single precision.
    pub fn of_type(cache_type: CacheType, config: &ModelConfig, tokens: usize) -> Self {
        let cache_type = held_as(cache_type, config);
        let blocks = tokens.div_ceil(BLOCK_TOKENS);
        let layer = |_| Layer::new(cache_type, blocks * config.kv_heads, config.head_width);
        let (mut layers, mut latents) = (Vec::new(), Vec::new());
        match &config.latent {
            Some(latent) => {
                latents.resize_with(config.layers.len(), || LatentLayer::new(latent, blocks));
            }
            None => layers.extend((0..layers_held(config)).map(layer)),
        }
        Self {
            layers,
            latents,
            kv_heads: config.kv_heads,
            references: vec![0; blocks],
            free: (0..blocks as BlockId).rev().collect(),
        }
    }

    /// Blocks that no sequence holds.
    pub fn free_blocks(&self) -> usize {
        self.free.len()
    }

    /// Blocks in all.
    pub fn total_blocks(&self) -> usize {
        self.references.len()
    }

    /// Bytes that one token position takes over all layers.
    pub fn bytes_per_token(cache_type: CacheType, config: &ModelConfig) -> usize {
        if let Some(latent) = &config.latent {
            return config.layers.len() * latent.cached() * size_of::<u16>();
        }
        let head = match held_as(cache_type, config) {
            CacheType::F32 => config.head_width * size_of::<f32>(),
            CacheType::F16 => config.head_width * size_of::<u16>(),
            CacheType::Q8 => config.head_width + size_of::<f32>(),
        };
        let bounds = (config.head_width * size_of::<u16>()).div_ceil(BLOCK_TOKENS);
        layers_held(config) * 2 * config.kv_heads * (head + bounds)
    }

    /// Makes room for `extra` positions behind the sequence's end and makes the blocks that they
    /// fall into the sequence's own, copying a shared last block.
    ///
    /// # Errors
    /// [`CacheFull`], and the sequence is as it was.
    pub fn reserve(&mut self, sequence: &mut Sequence, extra: usize) -> Result<(), CacheFull> {
        let tail_shared = extra > 0
            && !sequence.len.is_multiple_of(BLOCK_TOKENS)
            && self.references[sequence.blocks[sequence.len / BLOCK_TOKENS] as usize] > 1;
        let blocks_after = (sequence.len + extra).div_ceil(BLOCK_TOKENS);
        let added = blocks_after.saturating_sub(sequence.blocks.len());
        let wanted = added + usize::from(tail_shared);
        if wanted > self.free.len() {
            return Err(CacheFull {
                free_blocks: self.free.len(),
                wanted_blocks: wanted,
            });
        }
        if tail_shared {
            self.unshare(sequence, sequence.len / BLOCK_TOKENS);
        }
        for _ in 0..added {
            let block = self.take();
            sequence.blocks.push(block);
        }
        Ok(())
    }

    /// Blocks that [`Self::reserve`] would take at most.
    pub fn blocks_for(sequence_len: usize, extra: usize) -> usize {
        (sequence_len + extra).div_ceil(BLOCK_TOKENS) - sequence_len / BLOCK_TOKENS
    }

    /// A sequence with the same first `len` positions, which both share.
    ///
    /// # Panics
    /// When `len` exceeds the sequence.
    pub fn fork(&mut self, sequence: &Sequence, len: usize) -> Sequence {
        assert!(
            len <= sequence.len,
            "a fork of {len} positions from {}",
            sequence.len
        );
        let blocks = sequence.blocks[..len.div_ceil(BLOCK_TOKENS)].to_vec();
        for &block in &blocks {
            self.references[block as usize] += 1;
        }
        Sequence {
            blocks,
            len,
            gating: None,
            adapter: sequence.adapter.clone(),
        }
    }

    /// Holds the block of a sequence's positions from `index * BLOCK_TOKENS` on.
    ///
    /// # Panics
    /// When the sequence has no such block.
    pub fn hold(&mut self, sequence: &Sequence, index: usize) -> HeldBlock {
        let block = sequence.blocks[index];
        self.references[block as usize] += 1;
        HeldBlock(block)
    }

    /// Gives a held block back.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a hold that is given back is gone"
    )]
    pub fn let_go(&mut self, block: HeldBlock) {
        self.drop_reference(block.0);
    }

    /// Whether anything but this hold refers to the block.
    pub fn is_shared(&self, block: &HeldBlock) -> bool {
        self.references[block.0 as usize] > 1
    }

    /// A sequence of the first `len` positions in held blocks, which it shares.
    ///
    /// # Panics
    /// When the blocks are not as many as `len` positions take.
    pub fn sequence_of<'b>(
        &mut self,
        blocks: impl IntoIterator<Item = &'b HeldBlock>,
        len: usize,
    ) -> Sequence {
        let blocks: Vec<BlockId> = blocks.into_iter().map(HeldBlock::id).collect();
        assert_eq!(
            blocks.len(),
            len.div_ceil(BLOCK_TOKENS),
            "blocks of {len} positions"
        );
        for &block in &blocks {
            self.references[block as usize] += 1;
        }
        Sequence {
            blocks,
            len,
            gating: None,
            adapter: None,
        }
    }

    /// Forgets the positions behind the first `len` and gives back the blocks that only they took.
    ///
    /// # Panics
    /// When `len` exceeds the sequence.
    pub fn truncate(&mut self, sequence: &mut Sequence, len: usize) {
        assert!(
            len <= sequence.len,
            "{len} positions of a sequence of {}",
            sequence.len
        );
        for block in sequence.blocks.split_off(len.div_ceil(BLOCK_TOKENS)) {
            self.drop_reference(block);
        }
        sequence.len = len;
    }

    /// Gives the sequence's blocks back.
    pub fn release(&mut self, sequence: Sequence) {
        for block in sequence.blocks {
            self.drop_reference(block);
        }
    }

    /// The keys and values of one layer, to write into.
    pub(crate) fn view_mut(&mut self, layer: usize) -> KvViewMut<'_> {
        let layer = self.place(layer);
        self.layers[layer].view_mut(self.kv_heads)
    }

    /// Finds the bounds of the keys of blocks of one layer, of which every position is stored.
    pub(crate) fn bound_keys(&mut self, pool: &Pool, layer: usize, blocks: &[BlockId]) {
        self.layers[layer].bound_keys(pool, self.kv_heads, blocks);
    }

    /// The keys and values of one layer, to attend to a part of them.
    pub(crate) fn gated_view(&self, layer: usize) -> GatedView<'_> {
        self.layers[layer].gated_view(self.kv_heads)
    }

    /// The keys and values of one layer, to attend to.
    pub(crate) fn view(&self, layer: usize) -> KvView<'_> {
        self.layers[self.place(layer)].view(self.kv_heads)
    }

    /// The latent rows of one layer, to write into.
    pub(crate) fn latent_view_mut(&mut self, layer: usize) -> LatentViewMut<'_> {
        self.latents[layer].view_mut()
    }

    /// The latent rows of one layer, to attend to.
    pub(crate) fn latent_view(&self, layer: usize) -> LatentView<'_> {
        self.latents[layer].view()
    }

    /// Where a layer's keys and values are.
    fn place(&self, layer: usize) -> usize {
        layer.min(self.layers.len() - 1)
    }

    fn take(&mut self) -> BlockId {
        let block = self.free.pop().expect("the caller counted the free blocks");
        self.references[block as usize] = 1;
        block
    }

    fn drop_reference(&mut self, block: BlockId) {
        let count = &mut self.references[block as usize];
        *count -= 1;
        if *count == 0 {
            self.free.push(block);
        }
    }

    /// Replaces a shared block of the sequence by a copy of its own.
    fn unshare(&mut self, sequence: &mut Sequence, index: usize) {
        let shared = sequence.blocks[index];
        let own = self.take();
        for layer in &mut self.layers {
            layer.copy_heads(self.kv_heads, shared as usize, own as usize);
        }
        for layer in &mut self.latents {
            layer.copy_block(shared as usize, own as usize);
        }
        sequence.blocks[index] = own;
        self.drop_reference(shared);
    }
}

/// How keys and values of a model are stored. Where they are not kept, nothing is to be saved.
fn held_as(asked: CacheType, config: &ModelConfig) -> CacheType {
    if config.causal { asked } else { CacheType::F32 }
}

/// Of how many layers keys and values are stored at once.
fn layers_held(config: &ModelConfig) -> usize {
    if config.causal {
        config.layers.len()
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use autoglm_kernel::{GateActivation, KvElements, Pool, RopeParams, RopeStyle, store_kv};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::config::{LayerConfig, NormPlacement};

    fn config() -> ModelConfig {
        let rope = RopeParams {
            style: RopeStyle::Interleaved,
            width: 16,
            rotated: 16,
            base: 10_000.0,
            position_scale: 1.0,
            frequency_factors: None,
        };
        ModelConfig {
            architecture: "test".to_owned(),
            width: 16,
            heads: 1,
            kv_heads: 1,
            head_width: 16,
            latent: None,
            feed_forward: 16,
            experts: None,
            vocabulary: 16,
            context_tokens: 1_024,
            causal: true,
            pooling: None,
            norm_epsilon: 1e-5,
            norms: NormPlacement::Pre,
            gate: Some(GateActivation::Silu),
            attention_scale: 0.25,
            rotated_length: 1.0,
            embedding_scale: 1.0,
            ropes: vec![rope],
            layers: vec![
                LayerConfig {
                    window: None,
                    rope: 0
                };
                2
            ],
        }
    }

    /// A cache beside plain vectors of what each sequence should hold.
    struct Checked {
        cache: KvCache,
        pool: Pool,
        sequences: Vec<(Sequence, Vec<u16>)>,
        next_value: u16,
    }

    impl Checked {
        fn new(blocks: usize) -> Self {
            Self::of_type(CacheType::F16, blocks)
        }

        fn of_type(cache_type: CacheType, blocks: usize) -> Self {
            let cache = KvCache::of_type(cache_type, &config(), blocks * BLOCK_TOKENS);
            Self {
                cache,
                pool: Pool::new(NonZeroUsize::MIN),
                sequences: Vec::new(),
                next_value: 0,
            }
        }

        /// Appends positions with values that seldom occur elsewhere, whole numbers up to
        /// 2,048, which half precision holds exactly.
        fn append(&mut self, index: usize, count: usize) -> Result<(), CacheFull> {
            let (sequence, values) = &mut self.sequences[index];
            self.cache.reserve(sequence, count)?;
            for position in sequence.len()..sequence.len() + count {
                self.next_value = self.next_value % 2_048 + 1;
                values.push(self.next_value);
                let slot = sequence.slot(position);
                let row = [f32::from(self.next_value); 16];
                for layer in 0..2 {
                    let mut view = self.cache.view_mut(layer);
                    store_kv(&self.pool, &row, &row, &[slot], &mut view);
                }
            }
            sequence.advance(count);
            Ok(())
        }

        fn fork(&mut self, index: usize, len: usize) {
            let (sequence, values) = &self.sequences[index];
            let fork = self.cache.fork(sequence, len);
            self.sequences.push((fork, values[..len].to_vec()));
        }

        fn release(&mut self, index: usize) {
            let (sequence, _) = self.sequences.swap_remove(index);
            self.cache.release(sequence);
        }

        fn truncate(&mut self, index: usize, len: usize) {
            let (sequence, values) = &mut self.sequences[index];
            self.cache.truncate(sequence, len);
            values.truncate(len);
        }

        /// Forks a sequence through holds of its blocks.
        fn fork_by_holds(&mut self, index: usize, len: usize) {
            let (sequence, values) = &self.sequences[index];
            let blocks = 0..len.div_ceil(BLOCK_TOKENS);
            let held: Vec<HeldBlock> = blocks.map(|b| self.cache.hold(sequence, b)).collect();
            assert!(held.iter().all(|block| self.cache.is_shared(block)));
            let fork = self.cache.sequence_of(&held, len);
            for block in held {
                self.cache.let_go(block);
            }
            self.sequences.push((fork, values[..len].to_vec()));
        }

        /// The first element of a slot's value in the last layer, of one head of 16.
        fn value_at(&self, slot: usize) -> f32 {
            match self.cache.view(1).values {
                KvElements::F32(values) => values[slot * 16],
                KvElements::F16(values) => values[slot * 16].to_f32(),
                KvElements::Q8 { quants, scales } => f32::from(quants[slot * 16]) * scales[slot],
            }
        }

        fn check(&self) {
            let mut held: Vec<BlockId> = Vec::new();
            for (sequence, values) in &self.sequences {
                assert_eq!(sequence.len(), values.len());
                held.extend(sequence.blocks());
                for (position, &value) in values.iter().enumerate() {
                    let value = f32::from(value);
                    let found = self.value_at(sequence.slot(position) as usize);
                    assert!(
                        (found - value).abs() <= value * f32::EPSILON,
                        "{found} for {value}"
                    );
                }
            }
            held.sort_unstable();
            held.dedup();
            assert_eq!(
                held.len() + self.cache.free_blocks(),
                self.cache.total_blocks()
            );
        }
    }

    #[test]
    fn random_appends_forks_and_releases_keep_every_sequence_intact() {
        for cache_type in [CacheType::F32, CacheType::F16, CacheType::Q8] {
            append_fork_and_release_at_random(cache_type);
        }
    }

    fn append_fork_and_release_at_random(cache_type: CacheType) {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut checked = Checked::of_type(cache_type, 24);
        for step in 0..100_000 {
            let count = checked.sequences.len();
            match random.random_range(0..10) {
                0 if count < 12 => checked.sequences.push((Sequence::default(), Vec::new())),
                1 if count > 0 && count < 12 => {
                    let index = random.random_range(0..count);
                    let len = random.random_range(0..=checked.sequences[index].0.len());
                    checked.fork(index, len);
                }
                2 if count > 0 => checked.release(random.random_range(0..count)),
                3 if count > 0 => {
                    let index = random.random_range(0..count);
                    let len = random.random_range(0..=checked.sequences[index].0.len());
                    checked.truncate(index, len);
                }
                4 if count > 0 && count < 12 => {
                    let index = random.random_range(0..count);
                    let len = random.random_range(0..=checked.sequences[index].0.len());
                    checked.fork_by_holds(index, len);
                }
                _ if count > 0 => {
                    let index = random.random_range(0..count);
                    if checked.append(index, random.random_range(0..40)).is_err() {
                        checked.release(index);
                    }
                }
                _ => {}
            }
            if step % 64 == 0 {
                checked.check();
            }
        }
        checked.check();
    }

    #[test]
    fn a_reservation_that_does_not_fit_changes_nothing() {
        let mut checked = Checked::new(2);
        checked.sequences.push((Sequence::default(), Vec::new()));
        checked.append(0, 40).unwrap();
        let full = checked.append(0, 30).unwrap_err();
        assert_eq!(
            full,
            CacheFull {
                free_blocks: 0,
                wanted_blocks: 1
            }
        );
        checked.check();
        checked.append(0, 24).unwrap();
        checked.check();
    }

    #[test]
    fn blocks_for_is_never_less_than_a_reservation_takes() {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        for _ in 0..1_000 {
            let mut checked = Checked::new(16);
            checked.sequences.push((Sequence::default(), Vec::new()));
            let len = random.random_range(0..100);
            checked.append(0, len).unwrap();
            checked.fork(0, len);
            let extra = random.random_range(0..100);
            let free = checked.cache.free_blocks();
            checked.append(1, extra).unwrap();
            let taken = free - checked.cache.free_blocks();
            assert!(
                taken <= KvCache::blocks_for(len, extra),
                "{taken} for {len} + {extra}"
            );
        }
    }
}
