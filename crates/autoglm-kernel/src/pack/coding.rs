//! How the integers of a packed quantised matrix become weights, and where its scales lie.

use crate::format::BlockFormat;

/// Columns in a block: what one scale of the activations covers.
pub(crate) const BLOCK: usize = 32;
/// Four columns: the bytes of a lane. A block has eight quads.
pub(crate) const QUADS: usize = BLOCK / 4;
/// Blocks in a super-block of the K formats.
pub(crate) const SUPER_BLOCKS: usize = 256 / BLOCK;

/// What a quantised format looks like when it is packed.
///
/// The values of a block of 16 rows are `bits` lines. With quad `k` = columns `4k..4k+4` of the
/// block, and byte `4i + j` of a line for row `i` and column `4k + j`:
/// * 8 bits: line `k` holds quad `k`;
/// * fewer: line `k` of the first four holds the low four bits of quad `k` in its low nibbles and
///   those of quad `k + 4` in its high ones;
/// * 5 bits: bit `k` of the bytes of line 4 is the fifth bit of quad `k`;
/// * 6 bits: bits `2k` and `2k + 1` of line 4 (quads 0 to 3) and line 5 (4 to 7) are the upper two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coding {
    /// Bits of an unsigned value.
    pub(crate) bits: usize,
    pub(crate) meaning: Meaning,
    pub(crate) scales: ScaleLayout,
}

/// What an unsigned value `q` with scale `d` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// `d·(q - 2^shift)`, one scale a block.
    Centred { shift: u32 },
    /// `d·(q - 2^shift)`, one scale for each half of a block.
    CentredHalves { shift: u32 },
    /// `d·q + m`, one scale and one minimum a block.
    WithMinimum,
}

/// The order of the scales; each name is 16 half words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScaleLayout {
    /// A block has `d`.
    Scale,
    /// A block has `d`, `m`.
    ScaleAndMinimum,
    /// A super-block has `d`, `dmin`, and a word for each block: its scale in the low byte, its
    /// minimum in the high byte.
    SuperWithMinimum,
    /// A super-block has `d`, and a word for each block: the signed scale of its first half in the
    /// low byte, that of its second half in the high byte.
    SuperHalves,
}

impl Coding {
    /// The coding of a quantised format; `None` for the float formats.
    pub(crate) const fn of(format: BlockFormat) -> Option<Self> {
        use ScaleLayout::{Scale, ScaleAndMinimum, SuperHalves, SuperWithMinimum};
        let (bits, meaning, scales) = match format {
            BlockFormat::F32 | BlockFormat::F16 | BlockFormat::Bf16 => return None,
            BlockFormat::Q4_0 => (4, Meaning::Centred { shift: 3 }, Scale),
            BlockFormat::Q5_0 => (5, Meaning::Centred { shift: 4 }, Scale),
            BlockFormat::Q8_0 => (8, Meaning::Centred { shift: 7 }, Scale),
            BlockFormat::Q4_1 => (4, Meaning::WithMinimum, ScaleAndMinimum),
            BlockFormat::Q5_1 => (5, Meaning::WithMinimum, ScaleAndMinimum),
            BlockFormat::Q4K => (4, Meaning::WithMinimum, SuperWithMinimum),
            BlockFormat::Q5K => (5, Meaning::WithMinimum, SuperWithMinimum),
            BlockFormat::Q6K => (6, Meaning::CentredHalves { shift: 5 }, SuperHalves),
        };
        Some(Self {
            bits,
            meaning,
            scales,
        })
    }

    /// The scale words that `blocks` blocks of a row take; K formats come in whole super-blocks.
    pub(crate) const fn scale_words(self, blocks: usize) -> usize {
        match self.scales {
            ScaleLayout::Scale => blocks,
            ScaleLayout::ScaleAndMinimum => 2 * blocks,
            ScaleLayout::SuperWithMinimum => blocks / SUPER_BLOCKS * (2 + SUPER_BLOCKS),
            ScaleLayout::SuperHalves => blocks / SUPER_BLOCKS * (1 + SUPER_BLOCKS),
        }
    }
}
