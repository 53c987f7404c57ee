//! Q4_K, Q5_K, Q6_K: blocks of 256 weights whose sub-blocks have integer scales of their own.

use super::{array, half_at};

pub(super) const BLOCK_LEN: usize = 256;
/// Columns that one scale of Q4_K and Q5_K covers, and that the readers below return at once.
pub(super) const SUB_LEN: usize = 32;
/// Sub-blocks in a block of Q4_K and Q5_K.
pub(super) const SUBS: usize = BLOCK_LEN / SUB_LEN;

/// d, dmin, 8 + 8 scales of 6 bits, nibbles.
pub(super) const Q4_K_BYTES: usize = 2 + 2 + 12 + BLOCK_LEN / 2;
/// d, dmin, 8 + 8 scales of 6 bits, fifth bits, nibbles.
pub(super) const Q5_K_BYTES: usize = 2 + 2 + 12 + BLOCK_LEN / 8 + BLOCK_LEN / 2;
/// Nibbles, two upper bits each, 16 scales of 8 bits, d.
pub(super) const Q6_K_BYTES: usize = BLOCK_LEN / 2 + BLOCK_LEN / 4 + 16 + 2;

const _: () = assert!(Q4_K_BYTES == 144 && Q5_K_BYTES == 176 && Q6_K_BYTES == 210);

/// The integer scales of a block of Q4_K or Q5_K: sub-block `j` means `d·scales[j]·q -
/// dmin·mins[j]`.
pub(crate) struct KScales {
    pub(crate) scales: [u8; SUBS],
    pub(crate) mins: [u8; SUBS],
}

impl KScales {
    /// Reads the 12 bytes after `d` and `dmin`.
    ///
    /// Scales and minima 0 to 3 are the low six bits of bytes 0 to 7. Those from 4 on have their
    /// low four bits in bytes 8 to 11 (scale below, minimum above) and their high two bits on top
    /// of bytes 0 to 3 (scale) and 4 to 7 (minimum).
    #[inline]
    pub(crate) fn read(block: &[u8]) -> Self {
        let packed: [u8; 12] = array(block, 4);
        let (mut scales, mut mins) = ([0; SUBS], [0; SUBS]);
        for j in 0..4 {
            scales[j] = packed[j] & 63;
            mins[j] = packed[j + 4] & 63;
            scales[j + 4] = packed[j + 8] & 0xf | (packed[j] >> 6) << 4;
            mins[j + 4] = packed[j + 8] >> 4 | (packed[j + 4] >> 6) << 4;
        }
        Self { scales, mins }
    }
}

/// The nibbles of sub-block `sub`, which begin at `offset`: 32 bytes hold two sub-blocks, the even
/// one below and the odd one above.
#[inline]
fn nibbles(block: &[u8], offset: usize, sub: usize) -> [u8; SUB_LEN] {
    let shift = 4 * (sub % 2);
    array::<SUB_LEN>(block, offset + SUB_LEN * (sub / 2)).map(|byte| byte >> shift & 0xf)
}

/// The unsigned values of sub-block `sub` of a block of Q4_K.
#[inline]
pub(crate) fn q4_k_values(block: &[u8], sub: usize) -> [u8; SUB_LEN] {
    nibbles(block, 16, sub)
}

/// The unsigned values of sub-block `sub` of a block of Q5_K: bit `sub` of the 32 bytes at 16 is
/// the fifth.
#[inline]
pub(crate) fn q5_k_values(block: &[u8], sub: usize) -> [u8; SUB_LEN] {
    let high: [u8; SUB_LEN] = array(block, 16);
    let mut values = nibbles(block, 48, sub);
    for (value, high) in values.iter_mut().zip(high) {
        *value |= (high >> sub & 1) << 4;
    }
    values
}

/// The unsigned values of columns `32·sub ..` of a block of Q6_K; they have two scales.
///
/// Each half of the block (128 columns) has 64 bytes of nibbles and 32 bytes of upper bits. Its
/// first two sub-blocks lie in the low nibbles, the next two in the high ones.
#[inline]
pub(crate) fn q6_k_values(block: &[u8], sub: usize) -> [u8; SUB_LEN] {
    let (half, part) = (sub / 4, sub % 4);
    let low: [u8; SUB_LEN] = array(block, 64 * half + SUB_LEN * (part % 2));
    let high: [u8; SUB_LEN] = array(block, 128 + SUB_LEN * half);
    let mut values = low.map(|byte| byte >> (4 * (part / 2)) & 0xf);
    for (value, high) in values.iter_mut().zip(high) {
        *value |= (high >> (2 * part) & 3) << 4;
    }
    values
}

pub(super) fn dequantize_q4_k(block: &[u8], out: &mut [f32]) {
    dequantize_with_mins(block, out, q4_k_values);
}

pub(super) fn dequantize_q5_k(block: &[u8], out: &mut [f32]) {
    dequantize_with_mins(block, out, q5_k_values);
}

fn dequantize_with_mins(
    block: &[u8],
    out: &mut [f32],
    values: impl Fn(&[u8], usize) -> [u8; SUB_LEN],
) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let KScales { scales, mins } = KScales::read(block);
    for (sub, out) in out.chunks_exact_mut(SUB_LEN).enumerate() {
        let (scale, min) = (d * f32::from(scales[sub]), dmin * f32::from(mins[sub]));
        for (x, q) in out.iter_mut().zip(values(block, sub)) {
            *x = scale.mul_add(f32::from(q), -min);
        }
    }
}

pub(super) fn dequantize_q6_k(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 208);
    let scales: [u8; 16] = array(block, 192);
    for (sub, out) in out.chunks_exact_mut(SUB_LEN).enumerate() {
        for (i, (x, q)) in out.iter_mut().zip(q6_k_values(block, sub)).enumerate() {
            let scale = d * f32::from(scales[2 * sub + i / 16] as i8);
            *x = scale * (f32::from(q) - 32.0);
        }
    }
}
