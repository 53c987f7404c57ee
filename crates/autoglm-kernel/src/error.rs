//! What can be wrong with a matrix that is handed over for packing.

/// Why a matrix was not packed.
///
/// The first three concern the data: the file that describes the matrix contradicts itself. Memory
/// is a matter of capacity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A row is not a whole number of blocks, or the matrix is empty.
    #[error(
        "a {format} matrix of {rows} x {cols}: columns must be a positive multiple of {block_len}, rows at least 1"
    )]
    Shape {
        /// The block format's name.
        format: &'static str,
        /// Rows given.
        rows: usize,
        /// Columns given.
        cols: usize,
        /// Columns in a block of the format.
        block_len: usize,
    },
    /// The bytes are not those of a matrix of this shape.
    #[error("a {format} matrix of {rows} x {cols} takes {wanted_bytes} bytes, got {given_bytes}")]
    Length {
        /// The block format's name.
        format: &'static str,
        /// Rows given.
        rows: usize,
        /// Columns given.
        cols: usize,
        /// Bytes that the shape takes.
        wanted_bytes: usize,
        /// Bytes given.
        given_bytes: usize,
    },
    /// The size of the matrix in bytes does not fit into an address.
    #[error("a {format} matrix of {rows} x {cols} is larger than the address space")]
    TooLarge {
        /// The block format's name.
        format: &'static str,
        /// Rows given.
        rows: usize,
        /// Columns given.
        cols: usize,
    },
    /// The machine has no memory for the packed matrix.
    #[error("no memory for {size_bytes} bytes of packed weights")]
    Memory {
        /// Bytes asked for.
        size_bytes: usize,
    },
}
