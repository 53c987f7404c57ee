//! How a tensor of a folder becomes the one that a GGUF file would hold.

use std::borrow::Cow;

use autoglm_kernel::{BlockFormat, dequantize};

use crate::error::ModelError;
use crate::gguf::printable;
use crate::safetensors::StoredTensor;

/// What is done to a tensor's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: the bytes are those of the file.
    Keep,
    /// The rows of a head, whose rotated pairs stand half a head apart, are put side by side:
    /// rows `i` and `i + D/2` become `2i` and `2i + 1`.
    Interleave {
        /// D, the rows of a head.
        head_width: usize,
    },
    /// The norm multiplies by one more than the file's numbers: one is added, in f32.
    AddOne,
}

impl Change {
    /// Fails where the tensor's shape does not allow the change.
    pub(super) fn check(self, tensor: &StoredTensor<'_>) -> Result<(), ModelError> {
        let Self::Interleave { head_width } = self else {
            return Ok(());
        };
        let rows = tensor.shape[0];
        if head_width > 0 && head_width.is_multiple_of(2) && rows.is_multiple_of(head_width) {
            return Ok(());
        }
        Err(ModelError::HeadRows {
            tensor: printable(tensor.name),
            rows,
            head_width,
        })
    }

    /// The format of the result.
    pub(super) fn format(self, stored: BlockFormat) -> BlockFormat {
        match self {
            Self::Keep | Self::Interleave { .. } => stored,
            Self::AddOne => BlockFormat::F32,
        }
    }

    /// The changed data of a tensor that [`Self::check`] has passed.
    pub(super) fn apply<'a>(self, tensor: &StoredTensor<'a>) -> Cow<'a, [u8]> {
        match self {
            Self::Keep => Cow::Borrowed(tensor.bytes),
            Self::Interleave { head_width } => Cow::Owned(interleave(tensor, head_width)),
            Self::AddOne => Cow::Owned(add_one(tensor)),
        }
    }
}

fn interleave(tensor: &StoredTensor<'_>, head_width: usize) -> Vec<u8> {
    let row_bytes = tensor.bytes.len() / tensor.shape[0];
    let mut out = Vec::with_capacity(tensor.bytes.len());
    for head in tensor.bytes.chunks_exact(head_width * row_bytes) {
        let (first, second) = head.split_at(head.len() / 2);
        for (a, b) in first
            .chunks_exact(row_bytes)
            .zip(second.chunks_exact(row_bytes))
        {
            out.extend_from_slice(a);
            out.extend_from_slice(b);
        }
    }
    out
}

fn add_one(tensor: &StoredTensor<'_>) -> Vec<u8> {
    let format = tensor
        .number_type
        .format()
        .expect("a tensor is placed only if its number type is a format");
    let mut values = vec![0.0; tensor.shape.iter().product()];
    dequantize(format, tensor.bytes, &mut values);
    values
        .iter()
        .flat_map(|x| (x + 1.0).to_le_bytes())
        .collect()
}
