//! From one number format to another, a piece at a time.

use autoglm_kernel::{BlockFormat, Pool, Unrepresentable, dequantize, quantize};

/// Numbers that are held in single precision at once: 4 Mi, 16 MiB.
const PIECE_LEN: usize = 4 << 20;
/// Numbers that one task reads.
const TASK_LEN: usize = 1 << 14;

/// Converts bytes of tensors; keeps its buffers from one to the next.
pub(crate) struct Converter<'a> {
    pool: &'a Pool,
    values: Vec<f32>,
    out: Vec<u8>,
}

impl<'a> Converter<'a> {
    pub(crate) fn new(pool: &'a Pool) -> Self {
        Self {
            pool,
            values: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Hands the bytes of rows of `cols` numbers, converted, to `sink`, piece by piece. Bytes that
    /// are in the wanted format already are handed on as they are.
    ///
    /// # Errors
    /// What `sink` returns, and a number that the wanted format does not hold.
    pub(crate) fn convert<E>(
        &mut self,
        (from, to): (BlockFormat, BlockFormat),
        cols: usize,
        bytes: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), ConvertError<E>> {
        let from_row_bytes = row_bytes(from, cols);
        let rows_at_once = (PIECE_LEN / cols).max(1);
        for piece in bytes.chunks(rows_at_once * from_row_bytes) {
            if from == to {
                sink(piece).map_err(ConvertError::Sink)?;
                continue;
            }
            let len = piece.len() / from_row_bytes * cols;
            self.values.resize(len, 0.0);
            self.read(from, piece);
            self.out.resize(len / cols * row_bytes(to, cols), 0);
            quantize(self.pool, to, &self.values, &mut self.out).map_err(ConvertError::Value)?;
            sink(&self.out).map_err(ConvertError::Sink)?;
        }
        Ok(())
    }

    fn read(&mut self, format: BlockFormat, bytes: &[u8]) {
        let task_bytes = TASK_LEN / format.block_len() * format.block_bytes();
        self.pool
            .for_each_chunk(&mut self.values, TASK_LEN, |task, values| {
                let bytes = &bytes[task * task_bytes..];
                let len = values.len() / format.block_len() * format.block_bytes();
                dequantize(format, &bytes[..len], values);
            });
    }
}

/// Why a conversion ended early.
#[derive(Debug)]
pub(crate) enum ConvertError<E> {
    /// A number does not fit.
    Value(Unrepresentable),
    /// The taker of the bytes failed.
    Sink(E),
}

/// The bytes of a row, which is a whole number of blocks.
fn row_bytes(format: BlockFormat, cols: usize) -> usize {
    let bytes = format.row_bytes(cols);
    bytes.expect(
        "rows are whole blocks of their format, which both the reader and the recipe see to",
    )
}
