//! The tensors of multi-head latent attention.

use autoglm_kernel::{BlockFormat, PackedMatrix, dequantize};

use super::Linear;
use super::loader::{Loader, try_array};
use crate::config::{LatentConfig, ModelConfig};
use crate::error::ModelError;
use crate::source::Tensor;

/// The tensors of multi-head latent attention.
pub(crate) struct LatentWeights {
    pub(crate) query: LatentQuery,
    /// Makes a row's latent part and its rotated key: `[L + R, C]`.
    pub(crate) compress: Linear,
    pub(crate) compress_norm: Vec<f32>,
    /// Takes a head's query to the latent width, one for each head: `[L, plain]`.
    pub(crate) key_up: Vec<PackedMatrix>,
    /// Takes a head's result to its values, one for each head: `[value, L]`.
    pub(crate) value_up: Vec<PackedMatrix>,
    pub(crate) output: Linear,
}

/// How queries are made.
pub(crate) enum LatentQuery {
    /// From the row itself.
    Direct(Linear),
    /// By way of a short row that is normalised.
    Compressed {
        down: Linear,
        norm: Vec<f32>,
        up: Linear,
    },
}

impl LatentWeights {
    pub(super) fn load(
        loader: &Loader<'_>,
        layer: usize,
        config: &ModelConfig,
        latent: &LatentConfig,
    ) -> Result<Self, ModelError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let cached = latent.cached();
        let [key_up, value_up] = up_projections(loader, layer, config.heads, latent)?;
        Ok(Self {
            query: LatentQuery::load(loader, layer, config, latent)?,
            compress: loader.linear(&name("attn_kv_a_mqa"), cached, config.width)?,
            compress_norm: loader.vector(&name("attn_kv_a_norm.weight"), latent.rank)?,
            key_up,
            value_up,
            output: loader.linear(
                &name("attn_output"),
                config.width,
                config.heads * latent.value_width,
            )?,
        })
    }

    /// The matrix that makes queries, or their compressed form, of the normalised rows.
    pub(crate) fn query_input(&self) -> &PackedMatrix {
        match &self.query {
            LatentQuery::Direct(linear) => &linear.matrix,
            LatentQuery::Compressed { down, .. } => &down.matrix,
        }
    }

    pub(super) fn matrices(&self) -> Vec<&PackedMatrix> {
        let mut all = vec![
            self.query_input(),
            &self.compress.matrix,
            &self.output.matrix,
        ];
        if let LatentQuery::Compressed { up, .. } = &self.query {
            all.push(&up.matrix);
        }
        all.extend(self.key_up.iter().chain(&self.value_up));
        all
    }
}

impl LatentQuery {
    fn load(
        loader: &Loader<'_>,
        layer: usize,
        config: &ModelConfig,
        latent: &LatentConfig,
    ) -> Result<Self, ModelError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let rows = config.heads * config.head_width;
        let Some(rank) = latent.query_rank else {
            let direct = loader.linear(&name("attn_q"), rows, config.width)?;
            return Ok(Self::Direct(direct));
        };
        Ok(Self::Compressed {
            down: loader.linear(&name("attn_q_a"), rank, config.width)?,
            norm: loader.vector(&name("attn_q_a_norm.weight"), rank)?,
            up: loader.linear(&name("attn_q_b"), rows, rank)?,
        })
    }
}

/// The up-projections of keys (transposed, to be applied to queries) and of values, head by head.
///
/// Files hold them as two stacks; older ones as one matrix, a head's key rows before its value
/// rows.
fn up_projections(
    loader: &Loader<'_>,
    layer: usize,
    heads: usize,
    latent: &LatentConfig,
) -> Result<[Vec<PackedMatrix>; 2], ModelError> {
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    let LatentConfig {
        rank,
        plain_width: plain,
        value_width: value,
        ..
    } = *latent;
    let joint = name("attn_kv_b");
    if loader.source.tensor_info(&joint).is_none() {
        let parts = [
            ("attn_k_b", [heads, rank, plain]),
            ("attn_v_b", [heads, value, rank]),
        ];
        return try_array(parts, |(part, shape)| loader.stack(&name(part), shape));
    }
    let tensor = loader.tensor(&joint, &[heads * (plain + value), rank])?;
    let row_bytes = tensor.bytes.len() / (heads * (plain + value));
    let (mut keys, mut values) = (Vec::with_capacity(heads), Vec::with_capacity(heads));
    for head in tensor.bytes.chunks_exact((plain + value) * row_bytes) {
        let (key_rows, value_rows) = head.split_at(plain * row_bytes);
        let (format, bytes) = transposed(&tensor, key_rows, rank);
        keys.push(loader.pack(&joint, format, (rank, plain), &bytes)?);
        values.push(loader.pack(&joint, tensor.format, (value, rank), value_rows)?);
    }
    Ok([keys, values])
}

/// The transpose of rows of `cols` numbers of a tensor. Quantised numbers become single precision:
/// their blocks run along the rows.
fn transposed(tensor: &Tensor<'_>, rows: &[u8], cols: usize) -> (BlockFormat, Vec<u8>) {
    let (format, bytes) = if tensor.format.block_len() == 1 {
        (tensor.format, rows.to_vec())
    } else {
        let row_bytes = tensor.format.row_bytes(cols).unwrap_or(rows.len());
        let mut numbers = vec![0.0; rows.len() / row_bytes * cols];
        dequantize(tensor.format, rows, &mut numbers);
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        (BlockFormat::F32, bytes)
    };
    let number = format.block_bytes();
    let rows = bytes.len() / (cols * number);
    let mut out = Vec::with_capacity(bytes.len());
    for col in 0..cols {
        for row in 0..rows {
            out.extend_from_slice(&bytes[(row * cols + col) * number..][..number]);
        }
    }
    (format, out)
}
