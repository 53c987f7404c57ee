//! Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: the scale is what the extremes of the block give.
//!
//! # Source
//! The formats' definition in ggml; the golden values of the tests come from the Python package
//! `gguf`.

use half::f16;

use super::lanes::{extremes, peak, reciprocal};
use super::put_half;
use crate::format::legacy::BLOCK_LEN;

#[inline(always)]
pub(super) fn quantize_q8_0(x: &[f32], block: &mut [u8]) {
    let d = peak(x).abs() / 127.0;
    let inverse = reciprocal(d);
    put_half(block, 0, f16::from_f32(d));
    for (byte, x) in block[2..].iter_mut().zip(x) {
        // Halves are rounded away from zero.
        *byte = (x * inverse).round() as i8 as u8;
    }
}

#[inline(always)]
pub(super) fn quantize_q4_0(x: &[f32], block: &mut [u8]) {
    let (d, q) = around_zero(x, 8);
    put_half(block, 0, d);
    put_nibbles(&mut block[2..], &q);
}

#[inline(always)]
pub(super) fn quantize_q5_0(x: &[f32], block: &mut [u8]) {
    let (d, q) = around_zero(x, 16);
    put_half(block, 0, d);
    put_five_bits(&mut block[2..], &q);
}

#[inline(always)]
pub(super) fn quantize_q4_1(x: &[f32], block: &mut [u8]) {
    let (d, min, q) = above_minimum(x, 15);
    put_half(block, 0, d);
    put_half(block, 2, min);
    put_nibbles(&mut block[4..], &q);
}

#[inline(always)]
pub(super) fn quantize_q5_1(x: &[f32], block: &mut [u8]) {
    let (d, min, q) = above_minimum(x, 31);
    put_half(block, 0, d);
    put_half(block, 2, min);
    put_five_bits(&mut block[4..], &q);
}

/// `d·(q - half)` with `q` in `0 .. 2·half`: the value of largest magnitude gets `q = 0`, so `d`
/// has the other sign, and the side opposite to it reaches one step less far.
#[inline(always)]
fn around_zero(x: &[f32], half: u8) -> (f16, [u8; BLOCK_LEN]) {
    let d = peak(x) / -f32::from(half);
    let inverse = reciprocal(d);
    let q = quantized(x, |x| x * inverse + (f32::from(half) + 0.5), 2 * half - 1);
    (f16::from_f32(d), q)
}

/// `d·q + min` with `q` in `0 ..= top`.
#[inline(always)]
fn above_minimum(x: &[f32], top: u8) -> (f16, f16, [u8; BLOCK_LEN]) {
    let (min, max) = extremes(x);
    let d = (max - min) / f32::from(top);
    let inverse = reciprocal(d);
    let q = quantized(x, |x| (x - min) * inverse + 0.5, top);
    (f16::from_f32(d), f16::from_f32(min), q)
}

/// The integer parts, at most `top`.
#[inline(always)]
fn quantized(x: &[f32], scaled: impl Fn(f32) -> f32, top: u8) -> [u8; BLOCK_LEN] {
    let mut q = [0; BLOCK_LEN];
    for (q, x) in q.iter_mut().zip(x) {
        *q = (scaled(*x) as u8).min(top);
    }
    q
}

/// Weight `i` below and weight `i + 16` above.
#[inline(always)]
fn put_nibbles(bytes: &mut [u8], q: &[u8; BLOCK_LEN]) {
    let (low, high) = q.split_at(BLOCK_LEN / 2);
    for ((byte, low), high) in bytes.iter_mut().zip(low).zip(high) {
        *byte = low & 0xf | (high & 0xf) << 4;
    }
}

/// The 32 fifth bits, then the nibbles.
#[inline(always)]
fn put_five_bits(bytes: &mut [u8], q: &[u8; BLOCK_LEN]) {
    let fifth = |bits: u32, (i, q): (usize, &u8)| bits | u32::from(q >> 4) << i;
    let bits = q.iter().enumerate().fold(0, fifth);
    bytes[..4].copy_from_slice(&bits.to_le_bytes());
    put_nibbles(&mut bytes[4..], q);
}
