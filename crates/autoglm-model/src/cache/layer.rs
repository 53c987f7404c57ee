//! The memory of one layer's keys and values.

use autoglm_kernel::{
    GatedView, KvElements, KvElementsMut, KvView, KvViewMut, LatentView, LatentViewMut, Pool,
    bound_keys,
};
use half::slice::HalfBitsSliceExt;

use super::bytes::{Element, get, put};
use super::{BLOCK_TOKENS, CacheType};
use crate::config::LatentConfig;

/// Keys and values of one layer.
pub(super) struct Layer {
    keys: Elements,
    values: Elements,
    /// The greatest and least keys of whole blocks, in half precision.
    bounds: Vec<u16>,
    head_width: usize,
}

/// Keys, or values. Zeroed memory is handed out by the operating system as it is first written.
enum Elements {
    F32(Vec<f32>),
    F16(Vec<u16>),
    Q8 { quants: Vec<i8>, scales: Vec<f32> },
}

impl Layer {
    /// Room for `heads` times a block of one head.
    pub(super) fn new(cache_type: CacheType, heads: usize, head_width: usize) -> Self {
        let slots = heads * BLOCK_TOKENS;
        let elements = || match cache_type {
            CacheType::F32 => Elements::F32(vec![0.0; slots * head_width]),
            CacheType::F16 => Elements::F16(vec![0; slots * head_width]),
            CacheType::Q8 => Elements::Q8 {
                quants: vec![0; slots * head_width],
                scales: vec![0.0; slots],
            },
        };
        Self {
            keys: elements(),
            values: elements(),
            bounds: vec![0; heads * 2 * head_width],
            head_width,
        }
    }

    pub(super) fn view(&self, heads: usize) -> KvView<'_> {
        KvView {
            keys: self.keys.view(),
            values: self.values.view(),
            block_tokens: BLOCK_TOKENS,
            heads,
            width: self.head_width,
        }
    }

    pub(super) fn view_mut(&mut self, heads: usize) -> KvViewMut<'_> {
        KvViewMut {
            keys: self.keys.view_mut(),
            values: self.values.view_mut(),
            block_tokens: BLOCK_TOKENS,
            heads,
            width: self.head_width,
        }
    }

    /// The keys and values with the bounds of the keys.
    pub(super) fn gated_view(&self, heads: usize) -> GatedView<'_> {
        GatedView {
            kv: self.view(heads),
            bounds: self.bounds.reinterpret_cast(),
        }
    }

    /// Finds the bounds of the keys of whole blocks.
    pub(super) fn bound_keys(&mut self, pool: &Pool, heads: usize, blocks: &[u32]) {
        let mut bounds = std::mem::take(&mut self.bounds);
        bound_keys(
            pool,
            &self.view(heads),
            blocks,
            bounds.reinterpret_cast_mut(),
        );
        self.bounds = bounds;
    }

    /// Copies a block of `heads` heads over another one.
    pub(super) fn copy_heads(&mut self, heads: usize, from: usize, to: usize) {
        let slots = heads * BLOCK_TOKENS;
        copy(&mut self.bounds, heads * 2 * self.head_width, from, to);
        for elements in [&mut self.keys, &mut self.values] {
            match elements {
                Elements::F32(floats) => copy(floats, slots * self.head_width, from, to),
                Elements::F16(halves) => copy(halves, slots * self.head_width, from, to),
                Elements::Q8 { quants, scales } => {
                    copy(quants, slots * self.head_width, from, to);
                    copy(scales, slots, from, to);
                }
            }
        }
    }
}

impl Layer {
    /// Bytes of a block of `heads` heads.
    pub(super) fn block_bytes(&self, heads: usize) -> usize {
        let slots = heads * BLOCK_TOKENS;
        let of = |elements: &Elements| match elements {
            Elements::F32(_) => slots * self.head_width * f32::BYTES,
            Elements::F16(_) => slots * self.head_width * u16::BYTES,
            Elements::Q8 { .. } => slots * (self.head_width + f32::BYTES),
        };
        heads * 2 * self.head_width * u16::BYTES + of(&self.keys) + of(&self.values)
    }

    /// Appends a block of `heads` heads.
    pub(super) fn write(&self, heads: usize, block: usize, out: &mut Vec<u8>) {
        let slots = heads * BLOCK_TOKENS;
        put(&self.bounds, heads * 2 * self.head_width, block, out);
        for elements in [&self.keys, &self.values] {
            match elements {
                Elements::F32(floats) => put(floats, slots * self.head_width, block, out),
                Elements::F16(halves) => put(halves, slots * self.head_width, block, out),
                Elements::Q8 { quants, scales } => {
                    put(quants, slots * self.head_width, block, out);
                    put(scales, slots, block, out);
                }
            }
        }
    }

    /// Takes a block of `heads` heads off the front of `bytes`.
    pub(super) fn read(&mut self, heads: usize, block: usize, bytes: &mut &[u8]) {
        let slots = heads * BLOCK_TOKENS;
        get(&mut self.bounds, heads * 2 * self.head_width, block, bytes);
        for elements in [&mut self.keys, &mut self.values] {
            match elements {
                Elements::F32(floats) => get(floats, slots * self.head_width, block, bytes),
                Elements::F16(halves) => get(halves, slots * self.head_width, block, bytes),
                Elements::Q8 { quants, scales } => {
                    get(quants, slots * self.head_width, block, bytes);
                    get(scales, slots, block, bytes);
                }
            }
        }
    }
}

impl Elements {
    fn view(&self) -> KvElements<'_> {
        match self {
            Self::F32(floats) => KvElements::F32(floats),
            Self::F16(halves) => KvElements::F16(halves.reinterpret_cast()),
            Self::Q8 { quants, scales } => KvElements::Q8 { quants, scales },
        }
    }

    fn view_mut(&mut self) -> KvElementsMut<'_> {
        match self {
            Self::F32(floats) => KvElementsMut::F32(floats),
            Self::F16(halves) => KvElementsMut::F16(halves.reinterpret_cast_mut()),
            Self::Q8 { quants, scales } => KvElementsMut::Q8 { quants, scales },
        }
    }
}

/// The latent rows of one layer, in half precision.
pub(super) struct LatentLayer {
    rows: Vec<u16>,
    latent: usize,
    rope: usize,
}

impl LatentLayer {
    /// Room for so many blocks.
    pub(super) fn new(latent: &LatentConfig, blocks: usize) -> Self {
        Self {
            rows: vec![0; blocks * BLOCK_TOKENS * latent.cached()],
            latent: latent.rank,
            rope: latent.rope_width,
        }
    }

    pub(super) fn view(&self) -> LatentView<'_> {
        LatentView {
            rows: self.rows.reinterpret_cast(),
            block_tokens: BLOCK_TOKENS,
            latent: self.latent,
            rope: self.rope,
        }
    }

    pub(super) fn view_mut(&mut self) -> LatentViewMut<'_> {
        LatentViewMut {
            rows: self.rows.reinterpret_cast_mut(),
            block_tokens: BLOCK_TOKENS,
            latent: self.latent,
            rope: self.rope,
        }
    }

    fn block_elements(&self) -> usize {
        BLOCK_TOKENS * (self.latent + self.rope)
    }

    /// Bytes of a block.
    pub(super) fn block_bytes(&self) -> usize {
        self.block_elements() * u16::BYTES
    }

    /// Appends a block.
    pub(super) fn write(&self, block: usize, out: &mut Vec<u8>) {
        put(&self.rows, self.block_elements(), block, out);
    }

    /// Takes a block off the front of `bytes`.
    pub(super) fn read(&mut self, block: usize, bytes: &mut &[u8]) {
        let len = self.block_elements();
        get(&mut self.rows, len, block, bytes);
    }

    /// Copies a block over another one.
    pub(super) fn copy_block(&mut self, from: usize, to: usize) {
        let len = BLOCK_TOKENS * (self.latent + self.rope);
        copy(&mut self.rows, len, from, to);
    }
}

/// Copies the `from`-th `len` elements over the `to`-th.
fn copy<T: Copy>(elements: &mut [T], len: usize, from: usize, to: usize) {
    elements.copy_within(from * len..(from + 1) * len, to * len);
}
