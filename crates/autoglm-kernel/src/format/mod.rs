//! The block formats of weight files, byte for byte as GGUF stores them.
//!
//! [`dequantize`] is the definition of what the bytes mean; every other reading of them is tested
//! against it.

mod k_quants;
mod legacy;
mod quantize;
#[cfg(test)]
mod tests;

pub(crate) use k_quants::{KScales, q4_k_values, q5_k_values, q6_k_values};
pub(crate) use legacy::{q4_values, q5_values, q8_values};
pub use quantize::{Unrepresentable, quantize};

use half::{bf16, f16};

/// How a row of weights is stored.
///
/// # Source
/// The block structures of ggml (`ggml-common.h`); the golden values of the tests come from the
/// Python package `gguf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// 4 bits, blocks of 32: `d·(q - 8)`.
    Q4_0,
    /// 4 bits, blocks of 32: `d·q + m`.
    Q4_1,
    /// 5 bits, blocks of 32: `d·(q - 16)`.
    Q5_0,
    /// 5 bits, blocks of 32: `d·q + m`.
    Q5_1,
    /// 8 bits, blocks of 32: `d·q`, q signed.
    Q8_0,
    /// 4 bits, blocks of 256 with eight sub-blocks: `d·s·q - dmin·m`, s and m of 6 bits.
    Q4K,
    /// 5 bits, otherwise as `Q4K`.
    Q5K,
    /// 6 bits, blocks of 256 with sixteen sub-blocks: `d·s·(q - 32)`, s signed of 8 bits.
    Q6K,
}

impl BlockFormat {
    /// Every format.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// The columns in a block.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => legacy::BLOCK_LEN,
            Self::Q4K | Self::Q5K | Self::Q6K => k_quants::BLOCK_LEN,
        }
    }

    /// The bytes in a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => legacy::Q4_0_BYTES,
            Self::Q4_1 => legacy::Q4_1_BYTES,
            Self::Q5_0 => legacy::Q5_0_BYTES,
            Self::Q5_1 => legacy::Q5_1_BYTES,
            Self::Q8_0 => legacy::Q8_0_BYTES,
            Self::Q4K => k_quants::Q4_K_BYTES,
            Self::Q5K => k_quants::Q5_K_BYTES,
            Self::Q6K => k_quants::Q6_K_BYTES,
        }
    }

    /// The bytes of a row of `cols` columns; `None` if that is no whole number of blocks or too
    /// many for an address.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }

    /// The name that GGUF gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }
}

/// Reads `out.len()` weights.
///
/// # Accuracy
/// Every value is the formula of [`BlockFormat`] rounded once to single precision.
///
/// # Panics
/// If `bytes` is not exactly `format.row_bytes(out.len())` long.
pub fn dequantize(format: BlockFormat, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(
        Some(bytes.len()),
        format.row_bytes(out.len()),
        "bytes for {} values of {}",
        out.len(),
        format.name()
    );
    let blocks = bytes
        .chunks_exact(format.block_bytes())
        .zip(out.chunks_exact_mut(format.block_len()));
    for (block, values) in blocks {
        match format {
            BlockFormat::F32 => values[0] = f32::from_le_bytes(array(block, 0)),
            BlockFormat::F16 => values[0] = half_at(block, 0),
            BlockFormat::Bf16 => values[0] = bf16::from_le_bytes(array(block, 0)).to_f32(),
            BlockFormat::Q4_0 => legacy::dequantize_q4_0(block, values),
            BlockFormat::Q4_1 => legacy::dequantize_q4_1(block, values),
            BlockFormat::Q5_0 => legacy::dequantize_q5_0(block, values),
            BlockFormat::Q5_1 => legacy::dequantize_q5_1(block, values),
            BlockFormat::Q8_0 => legacy::dequantize_q8_0(block, values),
            BlockFormat::Q4K => k_quants::dequantize_q4_k(block, values),
            BlockFormat::Q5K => k_quants::dequantize_q5_k(block, values),
            BlockFormat::Q6K => k_quants::dequantize_q6_k(block, values),
        }
    }
}

/// The `N` bytes at `offset`.
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[offset..offset + N]);
    out
}

/// The half-precision number at `offset`.
#[inline]
pub(crate) fn half_at(bytes: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes(array(bytes, offset)).to_f32()
}
