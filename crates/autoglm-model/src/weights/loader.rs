//! Reads the tensors of one model, with their shapes checked.

use autoglm_kernel::{BlockFormat, PackedMatrix, Pool, add_assign, dequantize};

use super::{
    AttentionWeights, BlockWeights, ExpertsWeights, FeedForwardWeights, GatedWeights, HeadsWeights,
    LatentWeights, Linear, PlainWeights, Positions,
};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::gguf::missing_tensor;
use crate::quantize::{ConvertError, Converter, Recipe};
use crate::source::{Tensor, WeightSource};

/// Reads tensors of one model.
pub(super) struct Loader<'a> {
    pub(super) source: &'a dyn WeightSource,
    pub(super) pool: &'a Pool,
    /// What float weights are quantised to while they are packed.
    pub(super) recipe: Option<Recipe>,
}

impl Loader<'_> {
    pub(super) fn block(
        &self,
        layer: usize,
        config: &ModelConfig,
    ) -> Result<BlockWeights, ModelError> {
        Ok(BlockWeights {
            norms: self.norms(layer, config)?,
            attention: self.attention(layer, config)?,
            feed_forward: self.feed_forward(layer, config)?,
        })
    }

    /// The learnt embeddings of positions, with the embedding of the first of the token types where
    /// the model has some.
    pub(super) fn positions(&self, config: &ModelConfig) -> Result<Positions, ModelError> {
        let (mut embeddings, rows) = self.table("position_embd.weight", config.width)?;
        if rows < config.context_tokens {
            return Err(ModelError::TensorShape {
                tensor: "position_embd.weight".to_owned(),
                found: vec![rows, config.width],
                wanted: vec![config.context_tokens, config.width],
            });
        }
        let types = "token_types.weight";
        if self.source.tensor_info(types).is_some() {
            let (types, _) = self.table(types, config.width)?;
            for row in embeddings.chunks_exact_mut(config.width) {
                add_assign(self.pool, row, &types[..config.width]);
            }
        }
        let norm = self.layer_norm("token_embd_norm", config)?;
        Ok(Positions { embeddings, norm })
    }

    /// A matrix in single precision, with its number of rows.
    fn table(&self, name: &str, cols: usize) -> Result<(Vec<f32>, usize), ModelError> {
        let rows = self.source.require_tensor_info(name)?.shape[0];
        let tensor = self.tensor(name, &[rows, cols])?;
        let mut numbers = vec![0.0; rows * cols];
        dequantize(tensor.format, &tensor.bytes, &mut numbers);
        Ok((numbers, rows))
    }

    fn attention(
        &self,
        layer: usize,
        config: &ModelConfig,
    ) -> Result<AttentionWeights, ModelError> {
        Ok(match &config.latent {
            Some(latent) => {
                AttentionWeights::Latent(LatentWeights::load(self, layer, config, latent)?)
            }
            None => AttentionWeights::Heads(self.heads(layer, config)?),
        })
    }

    fn heads(&self, layer: usize, config: &ModelConfig) -> Result<HeadsWeights, ModelError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let head = config.head_width;
        let [query, key, value] = self.query_key_value(layer, config)?;
        Ok(HeadsWeights {
            query,
            key,
            value,
            output: self.linear(&name("attn_output"), config.width, config.heads * head)?,
            query_norm: self.optional_vector(&name("attn_q_norm.weight"), head)?,
            key_norm: self.optional_vector(&name("attn_k_norm.weight"), head)?,
        })
    }

    fn feed_forward(
        &self,
        layer: usize,
        config: &ModelConfig,
    ) -> Result<FeedForwardWeights, ModelError> {
        Ok(match config.experts_of(layer) {
            Some(experts) => {
                FeedForwardWeights::Experts(ExpertsWeights::load(self, layer, config, experts)?)
            }
            None if config.gate.is_none() => FeedForwardWeights::Plain(self.plain(layer, config)?),
            None => FeedForwardWeights::Dense(self.dense(layer, config)?),
        })
    }

    fn plain(&self, layer: usize, config: &ModelConfig) -> Result<PlainWeights, ModelError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (width, inner) = (config.width, config.feed_forward);
        Ok(PlainWeights {
            up: self.linear(&name("ffn_up"), inner, width)?,
            down: self.linear(&name("ffn_down"), width, inner)?,
        })
    }

    fn dense(&self, layer: usize, config: &ModelConfig) -> Result<GatedWeights, ModelError> {
        let [gate, up] = self.gate_up(layer, config)?;
        let down = format!("blk.{layer}.ffn_down");
        Ok(GatedWeights {
            gate,
            up,
            down: self.linear(&down, config.width, config.feed_forward)?,
        })
    }

    /// Q, K and V, from one fused tensor where the file has it.
    fn query_key_value(
        &self,
        layer: usize,
        config: &ModelConfig,
    ) -> Result<[Linear; 3], ModelError> {
        let query_rows = config.heads * config.head_width;
        let kv_rows = config.kv_heads * config.head_width;
        let parts = [
            ("attn_q", query_rows),
            ("attn_k", kv_rows),
            ("attn_v", kv_rows),
        ];
        self.projections(layer, "attn_qkv", parts, config.width)
    }

    /// Gate and up, from one fused tensor (gate first) where the file has it.
    fn gate_up(&self, layer: usize, config: &ModelConfig) -> Result<[Linear; 2], ModelError> {
        let parts = [
            ("ffn_gate", config.feed_forward),
            ("ffn_up", config.feed_forward),
        ];
        if self
            .source
            .tensor_info(&format!("blk.{layer}.ffn_gate.weight"))
            .is_some()
        {
            return self.separate(layer, parts, config.width);
        }
        self.fused(
            &format!("blk.{layer}.ffn_up"),
            parts.map(|(_, rows)| rows),
            config.width,
        )
    }

    fn projections<const N: usize>(
        &self,
        layer: usize,
        fused: &str,
        parts: [(&str, usize); N],
        cols: usize,
    ) -> Result<[Linear; N], ModelError> {
        let fused = format!("blk.{layer}.{fused}");
        if self
            .source
            .tensor_info(&format!("{fused}.weight"))
            .is_some()
        {
            return self.fused(&fused, parts.map(|(_, rows)| rows), cols);
        }
        self.separate(layer, parts, cols)
    }

    fn separate<const N: usize>(
        &self,
        layer: usize,
        parts: [(&str, usize); N],
        cols: usize,
    ) -> Result<[Linear; N], ModelError> {
        try_array(parts, |(part, rows)| {
            self.linear(&format!("blk.{layer}.{part}"), rows, cols)
        })
    }

    /// Splits a fused tensor by rows into projections of these heights.
    fn fused<const N: usize>(
        &self,
        stem: &str,
        rows: [usize; N],
        cols: usize,
    ) -> Result<[Linear; N], ModelError> {
        let name = format!("{stem}.weight");
        let total: usize = rows.iter().sum();
        let tensor = self.tensor(&name, &[total, cols])?;
        let bias = self.optional_vector(&format!("{stem}.bias"), total)?;
        let row_bytes = tensor.bytes.len() / total;
        let mut first = 0;
        try_array(rows, |rows| {
            let range = first..first + rows;
            first = range.end;
            let bytes = &tensor.bytes[range.start * row_bytes..range.end * row_bytes];
            let matrix = self.pack(&name, tensor.format, (rows, cols), bytes)?;
            Ok(Linear {
                matrix,
                bias: bias.as_ref().map(|bias| bias[range].to_vec()),
            })
        })
    }

    pub(super) fn linear(
        &self,
        stem: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Linear, ModelError> {
        Ok(Linear {
            matrix: self.matrix(&format!("{stem}.weight"), rows, cols)?,
            bias: self.optional_vector(&format!("{stem}.bias"), rows)?,
        })
    }

    pub(super) fn matrix(
        &self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<PackedMatrix, ModelError> {
        let tensor = self.tensor(name, &[rows, cols])?;
        self.pack(name, tensor.format, (rows, cols), &tensor.bytes)
    }

    /// The matrices that stand one after the other in a tensor of three dimensions.
    pub(super) fn stack(
        &self,
        name: &str,
        shape: [usize; 3],
    ) -> Result<Vec<PackedMatrix>, ModelError> {
        self.check_shape(name, &shape)?;
        let [count, rows, cols] = shape;
        let matrix = |index| {
            let matrix = self.source.matrix(name, index);
            let matrix = matrix.ok_or_else(|| missing_tensor(name))?;
            self.pack(name, matrix.format, (rows, cols), &matrix.bytes)
        };
        (0..count).map(matrix).collect()
    }

    /// A matrix in single precision, whatever the file holds.
    pub(super) fn single(
        &self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<PackedMatrix, ModelError> {
        let tensor = self.tensor(name, &[rows, cols])?;
        let mut numbers = vec![0.0; rows * cols];
        dequantize(tensor.format, &tensor.bytes, &mut numbers);
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.pack(name, BlockFormat::F32, (rows, cols), &bytes)
    }

    /// Packs the bytes of a matrix, which are given back to the source meanwhile: weights are never
    /// in memory twice but for a stripe.
    pub(super) fn pack(
        &self,
        name: &str,
        format: BlockFormat,
        (rows, cols): (usize, usize),
        bytes: &[u8],
    ) -> Result<PackedMatrix, ModelError> {
        let shape = (rows, cols);
        let quantized = self.quantized(name, format, shape, bytes)?;
        let packed = if let Some((format, quantized)) = quantized {
            self.source.release(bytes);
            // Whoever asks for bfloat16 asks for speed; without being asked, a file's own weights
            // of that type are multiplied with activations in single precision.
            PackedMatrix::pack(self.pool, format, rows, cols, &quantized)
                .map(PackedMatrix::rounding_activations)
        } else {
            let mut release = |part: &[u8]| self.source.release(part);
            PackedMatrix::pack_in_stripes(self.pool, format, shape, bytes, &mut release)
        };
        packed.map_err(|source| ModelError::Pack {
            tensor: name.to_owned(),
            source,
        })
    }

    /// Float weights in the format that the recipe gives them; nothing without a recipe and for
    /// weights that are quantised already.
    fn quantized(
        &self,
        name: &str,
        from: BlockFormat,
        (rows, cols): (usize, usize),
        bytes: &[u8],
    ) -> Result<Option<(BlockFormat, Vec<u8>)>, ModelError> {
        let Some(recipe) = self.recipe.filter(|_| from.block_len() == 1) else {
            return Ok(None);
        };
        let to = recipe.format_for(name, &[rows, cols]);
        let mut quantized = Vec::new();
        let mut sink = |piece: &[u8]| -> Result<(), std::convert::Infallible> {
            quantized.extend_from_slice(piece);
            Ok(())
        };
        match Converter::new(self.pool).convert((from, to), cols, bytes, &mut sink) {
            Ok(()) => Ok(Some((to, quantized))),
            Err(ConvertError::Value(source)) => Err(ModelError::Quantize {
                tensor: name.to_owned(),
                source,
            }),
            Err(ConvertError::Sink(never)) => match never {},
        }
    }

    pub(super) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(name, &[len])?;
        let mut values = vec![0.0; len];
        dequantize(tensor.format, &tensor.bytes, &mut values);
        Ok(values)
    }

    pub(super) fn optional_vector(
        &self,
        name: &str,
        len: usize,
    ) -> Result<Option<Vec<f32>>, ModelError> {
        match self.source.tensor_info(name) {
            Some(_) => self.vector(name, len).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor<'_>, ModelError> {
        self.check_shape(name, shape)?;
        self.source.require_tensor(name)
    }

    fn check_shape(&self, name: &str, shape: &[usize]) -> Result<(), ModelError> {
        let info = self.source.require_tensor_info(name)?;
        if info.shape == shape {
            return Ok(());
        }
        Err(ModelError::TensorShape {
            tensor: name.to_owned(),
            found: info.shape.to_vec(),
            wanted: shape.to_vec(),
        })
    }
}

/// Maps an array, stopping at the first error.
pub(super) fn try_array<T, U, E, const N: usize>(
    items: [T; N],
    mut map: impl FnMut(T) -> Result<U, E>,
) -> Result<[U; N], E> {
    let mut out = Vec::with_capacity(N);
    for item in items {
        out.push(map(item)?);
    }
    Ok(out
        .try_into()
        .unwrap_or_else(|_| unreachable!("one result for each of the {N} items")))
}
