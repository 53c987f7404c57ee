//! Random matrices for tests.

use half::f16;

use crate::format::BlockFormat;

/// A small generator (xorshift64*), enough for test data.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number between -1 and 1.
    pub(crate) fn number(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn numbers(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.number()).collect()
    }
}

/// Bytes of a matrix: random blocks with scales of ordinary size.
pub(crate) fn random_weights(
    random: &mut Random,
    format: BlockFormat,
    rows: usize,
    cols: usize,
) -> Vec<u8> {
    let blocks = rows * cols / format.block_len();
    (0..blocks)
        .flat_map(|_| random_block(random, format))
        .collect()
}

fn random_block(random: &mut Random, format: BlockFormat) -> Vec<u8> {
    let scale_offsets: &[usize] = match format {
        BlockFormat::F32 => return random.number().to_le_bytes().to_vec(),
        BlockFormat::Bf16 => return random.number().to_le_bytes()[2..].to_vec(),
        BlockFormat::F16 | BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 => &[0],
        BlockFormat::Q4_1 | BlockFormat::Q5_1 | BlockFormat::Q4K | BlockFormat::Q5K => &[0, 2],
        BlockFormat::Q6K => &[208],
    };
    let mut block: Vec<u8> = (0..format.block_bytes())
        .map(|_| random.next() as u8)
        .collect();
    for offset in scale_offsets {
        let scale = f16::from_f32(0.1 * random.number()).to_le_bytes();
        block[*offset..offset + 2].copy_from_slice(&scale);
    }
    block
}
