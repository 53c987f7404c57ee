//! From single precision to the block formats: the inverse of [`super::dequantize`].
//!
//! Every block is quantised by itself, by arithmetic that is the same in every instruction set
//! (plain sums and products in a fixed order, none of them fused), so the bytes depend on the
//! values alone.

mod k_quants;
mod lanes;
mod legacy;
mod search;
#[cfg(test)]
mod tests;

use half::{bf16, f16};

use super::BlockFormat;
use crate::pool::Pool;
use crate::simd::{Variant, with_simd};

/// Values that one task quantises at least: 16 blocks of 256, some 100 µs of the slowest format,
/// far above the cost of handing out a task.
const TASK_LEN: usize = 4_096;

/// The first value that a format cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("value {value} at position {position} cannot be written as {}, want at most {limit}", format.name())]
pub struct Unrepresentable {
    /// The format that was asked for.
    pub format: BlockFormat,
    /// Where the value stands.
    pub position: usize,
    /// The value: not finite, or larger than the limit.
    pub value: f32,
    /// The largest magnitude that the format holds.
    pub limit: f32,
}

/// Writes `values` in a block format, in parallel.
///
/// # Accuracy
/// F32 is exact, F16 and BF16 are rounded once, to nearest and ties to even. `_0` and `_1` formats
/// take the scale that the block's extremes give, so a value is off by at most half a step of it
/// (a whole step at the end that `_0` formats do not reach) plus the rounding of scale and minimum
/// to half precision. K formats minimise the squared error of a block, where an error counts in
/// proportion to the weight's magnitude plus the root mean square of its neighbours.
///
/// # Errors
/// [`Unrepresentable`] for a value that is not finite or larger than the format holds; `out` is
/// then unspecified.
///
/// # Panics
/// If `out` is not exactly `format.row_bytes(values.len())` long.
pub fn quantize(
    pool: &Pool,
    format: BlockFormat,
    values: &[f32],
    out: &mut [u8],
) -> Result<(), Unrepresentable> {
    assert_eq!(
        Some(out.len()),
        format.row_bytes(values.len()),
        "bytes for {} values of {}",
        values.len(),
        format.name()
    );
    check_range(format, values)?;
    quantize_with(Variant::best(), pool, format, values, out);
    Ok(())
}

fn check_range(format: BlockFormat, values: &[f32]) -> Result<(), Unrepresentable> {
    let limit = largest(format);
    let fits = |value: &f32| value.abs() <= limit;
    match values.iter().position(|value| !fits(value)) {
        None => Ok(()),
        Some(position) => Err(Unrepresentable {
            format,
            position,
            value: values[position],
            limit,
        }),
    }
}

/// The largest magnitude that can be written. Scales are in half precision and no larger than the
/// largest weight, so what half precision holds fits into every block.
fn largest(format: BlockFormat) -> f32 {
    match format {
        BlockFormat::F32 => f32::MAX,
        BlockFormat::Bf16 => bf16::MAX.to_f32(),
        _ => f16::MAX.to_f32(),
    }
}

fn quantize_with(
    variant: Variant,
    pool: &Pool,
    format: BlockFormat,
    values: &[f32],
    out: &mut [u8],
) {
    let (block_len, block_bytes) = (format.block_len(), format.block_bytes());
    let blocks = TASK_LEN / block_len;
    pool.for_each_chunk(out, blocks * block_bytes, |chunk, out| {
        let values = &values[chunk * blocks * block_len..];
        let pairs = values
            .chunks_exact(block_len)
            .zip(out.chunks_exact_mut(block_bytes));
        with_simd!(variant, _simd => {
            for (values, block) in pairs {
                quantize_block(format, values, block);
            }
        });
    });
}

#[inline(always)]
fn quantize_block(format: BlockFormat, x: &[f32], block: &mut [u8]) {
    match format {
        BlockFormat::F32 => block.copy_from_slice(&x[0].to_le_bytes()),
        BlockFormat::F16 => put_half(block, 0, f16::from_f32(x[0])),
        BlockFormat::Bf16 => block.copy_from_slice(&bf16::from_f32(x[0]).to_le_bytes()),
        BlockFormat::Q4_0 => legacy::quantize_q4_0(x, block),
        BlockFormat::Q4_1 => legacy::quantize_q4_1(x, block),
        BlockFormat::Q5_0 => legacy::quantize_q5_0(x, block),
        BlockFormat::Q5_1 => legacy::quantize_q5_1(x, block),
        BlockFormat::Q8_0 => legacy::quantize_q8_0(x, block),
        BlockFormat::Q4K => k_quants::quantize_q4_k(x, block),
        BlockFormat::Q5K => k_quants::quantize_q5_k(x, block),
        BlockFormat::Q6K => k_quants::quantize_q6_k(x, block),
    }
}

/// Writes a half-precision number at `offset`.
#[inline(always)]
fn put_half(block: &mut [u8], offset: usize, value: f16) {
    block[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
}
