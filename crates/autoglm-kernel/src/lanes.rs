//! Rows of 16 lanes: the units that packed weights consist of. Lane `i` belongs to row `i` of a
//! group of 16 rows.

/// Rows in a group: the 32-bit lanes of a 512-bit register.
pub(crate) const LANES: usize = 16;

/// Four bytes a lane.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 4 * LANES]);

/// A 16-bit word a lane.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Halves(pub(crate) [u16; LANES]);

/// A single-precision number a lane.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Floats(pub(crate) [f32; LANES]);

impl Line {
    pub(crate) const ZERO: Self = Self([0; 4 * LANES]);
}

impl Floats {
    pub(crate) const ZERO: Self = Self([0.0; LANES]);
}
