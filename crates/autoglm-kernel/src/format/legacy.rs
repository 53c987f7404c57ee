//! Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: blocks of 32 weights with one scale each.
//!
//! A block is: `d` (half), `m` (half, only `_1`), the 32 fifth bits (only Q5), then the low
//! nibbles: byte `i` holds weight `i` below and weight `i + 16` above.

use super::{array, half_at};

pub(super) const BLOCK_LEN: usize = 32;

/// d, 32 nibbles.
pub(super) const Q4_0_BYTES: usize = 2 + 16;
/// d, m, 32 nibbles.
pub(super) const Q4_1_BYTES: usize = 2 + 2 + 16;
/// d, 32 high bits, 32 nibbles.
pub(super) const Q5_0_BYTES: usize = 2 + 4 + 16;
/// d, m, 32 high bits, 32 nibbles.
pub(super) const Q5_1_BYTES: usize = 2 + 2 + 4 + 16;
/// d, 32 signed bytes.
pub(super) const Q8_0_BYTES: usize = 2 + 32;

const _: () = assert!(Q4_0_BYTES == 18 && Q4_1_BYTES == 20 && Q8_0_BYTES == 34);
const _: () = assert!(Q5_0_BYTES == 22 && Q5_1_BYTES == 24);

/// The unsigned values of the 32 nibbles that begin at `offset`.
#[inline]
pub(crate) fn q4_values(block: &[u8], offset: usize) -> [u8; BLOCK_LEN] {
    let nibbles: [u8; 16] = array(block, offset);
    let mut values = [0; BLOCK_LEN];
    for (i, byte) in nibbles.into_iter().enumerate() {
        values[i] = byte & 0xf;
        values[i + 16] = byte >> 4;
    }
    values
}

/// The unsigned 5-bit values whose high bits, followed by their nibbles, begin at `offset`.
#[inline]
pub(crate) fn q5_values(block: &[u8], offset: usize) -> [u8; BLOCK_LEN] {
    let high = u32::from_le_bytes(array(block, offset));
    let mut values = q4_values(block, offset + 4);
    for (i, value) in values.iter_mut().enumerate() {
        *value |= ((high >> i) as u8 & 1) << 4;
    }
    values
}

/// The signed bytes after the scale, each plus 128.
#[inline]
pub(crate) fn q8_values(block: &[u8]) -> [u8; BLOCK_LEN] {
    // Adding 128 modulo 256 turns the sign bit round.
    array::<BLOCK_LEN>(block, 2).map(|byte| byte ^ 0x80)
}

pub(super) fn dequantize_q4_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (x, q) in out.iter_mut().zip(q4_values(block, 2)) {
        *x = d * (f32::from(q) - 8.0);
    }
}

pub(super) fn dequantize_q4_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (x, q) in out.iter_mut().zip(q4_values(block, 4)) {
        *x = d.mul_add(f32::from(q), m);
    }
}

pub(super) fn dequantize_q5_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (x, q) in out.iter_mut().zip(q5_values(block, 2)) {
        *x = d * (f32::from(q) - 16.0);
    }
}

pub(super) fn dequantize_q5_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (x, q) in out.iter_mut().zip(q5_values(block, 4)) {
        *x = d.mul_add(f32::from(q), m);
    }
}

pub(super) fn dequantize_q8_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (x, byte) in out.iter_mut().zip(array::<BLOCK_LEN>(block, 2)) {
        *x = d * f32::from(byte as i8);
    }
}
