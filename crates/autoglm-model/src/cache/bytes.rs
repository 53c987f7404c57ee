//! Blocks as bytes, little-endian, for a store outside of the memory.

use super::layer::LatentLayer;
use super::{BLOCK_TOKENS, HeldBlock, KvCache};

/// An element of a block.
pub(super) trait Element: Copy {
    /// Bytes that it takes.
    const BYTES: usize;

    fn put(self, out: &mut Vec<u8>);

    fn get(bytes: &[u8]) -> Self;
}

macro_rules! elements {
    ($($kind:ty),*) => {$(
        impl Element for $kind {
            const BYTES: usize = size_of::<$kind>();

            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn get(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("as many bytes as it takes"))
            }
        }
    )*};
}

elements!(u16, f32, i8);

/// Writes the `index`-th `len` elements.
pub(super) fn put<T: Element>(elements: &[T], len: usize, index: usize, out: &mut Vec<u8>) {
    for &element in &elements[index * len..(index + 1) * len] {
        element.put(out);
    }
}

/// Reads the `index`-th `len` elements off the front of `bytes`.
pub(super) fn get<T: Element>(elements: &mut [T], len: usize, index: usize, bytes: &mut &[u8]) {
    let (own, rest) = bytes.split_at(len * T::BYTES);
    let places = &mut elements[index * len..(index + 1) * len];
    for (place, bytes) in places.iter_mut().zip(own.chunks_exact(T::BYTES)) {
        *place = T::get(bytes);
    }
    *bytes = rest;
}

impl KvCache {
    /// Bytes of a block as [`KvCache::write_block`] writes it.
    pub fn block_bytes(&self) -> usize {
        let layers = self
            .layers
            .iter()
            .map(|layer| layer.block_bytes(self.kv_heads));
        let latents = self.latents.iter().map(LatentLayer::block_bytes);
        layers.chain(latents).sum()
    }

    /// Appends what a block holds.
    pub fn write_block(&self, block: &HeldBlock, out: &mut Vec<u8>) {
        let block = block.0 as usize;
        for layer in &self.layers {
            layer.write(self.kv_heads, block, out);
        }
        for layer in &self.latents {
            layer.write(block, out);
        }
    }

    /// Takes a free block and fills it with what [`KvCache::write_block`] wrote of a cache of the
    /// same shape and type; `None` where no block is free.
    ///
    /// # Panics
    /// When `bytes` are not as many as [`KvCache::block_bytes`].
    pub fn read_block(&mut self, mut bytes: &[u8]) -> Option<HeldBlock> {
        assert_eq!(
            bytes.len(),
            self.block_bytes(),
            "bytes of a block of {BLOCK_TOKENS} positions"
        );
        if self.free.is_empty() {
            return None;
        }
        let block = self.take();
        for layer in &mut self.layers {
            layer.read(self.kv_heads, block as usize, &mut bytes);
        }
        for layer in &mut self.latents {
            layer.read(block as usize, &mut bytes);
        }
        Some(HeldBlock(block))
    }
}
