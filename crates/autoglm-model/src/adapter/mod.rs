//! What fine-tuning keeps beside a model: low-rank changes of its projections, or virtual tokens
//! before a text. Read from folders as PEFT writes them; one model runs many at once.
//!
//! A folder is untrusted like every file from outside: what it holds is checked against the model,
//! and what is not supported is refused by name, never left out.

mod lora;
mod settings;
#[cfg(test)]
mod tests;
mod virtual_tokens;

use std::fmt;
use std::path::Path;

use autoglm_kernel::{Pool, dequantize};
use sha2::{Digest, Sha256};

use crate::bytes::in_file;
use crate::checkpoint::read_limited;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::gguf::{missing_tensor, printable};
use crate::safetensors::{SafetensorsFile, StoredTensor};
pub(crate) use lora::{Delta, Projection};
use lora::{LayerDeltas, LoraSettings};
use settings::{AdapterSettings, Method};
pub(crate) use virtual_tokens::PrefixLayer;

/// An adapter that was read for one model and checked against it.
pub struct Adapter {
    /// Positions before a text that stand for no token of it.
    virtual_tokens: usize,
    change: Change,
    id: u128,
}

/// What an adapter changes.
enum Change {
    /// `y += scale · B·(A·x)` in projections of the layers.
    Lora(Vec<LayerDeltas>),
    /// The embeddings of the virtual tokens: `[n, C]`.
    Embeddings(Vec<f32>),
    /// The keys and values of the virtual tokens, layer by layer.
    Prefix(Vec<PrefixLayer>),
}

impl Adapter {
    /// Reads the adapter in a folder with `adapter_config.json` and `adapter_model.safetensors`
    /// for a model.
    ///
    /// # Errors
    /// A file that is missing or not as it must be, a method or setting that is not supported, or
    /// a tensor that does not fit the model.
    pub fn open(folder: &Path, config: &ModelConfig, pool: &Pool) -> Result<Self, ModelError> {
        let (text, settings) = read_settings(folder)?;
        let path = folder.join("adapter_model.safetensors");
        let file = SafetensorsFile::open(&path)?;
        let read = Self::read(settings.method, &file, config, pool);
        let (virtual_tokens, change) = read.map_err(in_file(&path))?;
        Ok(Self {
            virtual_tokens,
            change,
            id: id(&text, &file),
        })
    }

    /// The bytes that the adapter in a folder takes in memory at most, from what its files say of
    /// its tensors.
    ///
    /// # Errors
    /// A file that is missing or broken, or a method or setting that is not supported. Whether the
    /// adapter fits a model is not looked at.
    pub fn planned_bytes(folder: &Path) -> Result<usize, ModelError> {
        let (_, settings) = read_settings(folder)?;
        let file = SafetensorsFile::open(&folder.join("adapter_model.safetensors"))?;
        let planned = |tensor: StoredTensor<'_>| match settings.method {
            Method::Lora(_) => lora::planned_bytes(&tensor),
            Method::Embeddings { .. } | Method::Prefix { .. } => {
                let elements = tensor.shape.iter().product::<usize>();
                elements.saturating_mul(size_of::<f32>())
            }
        };
        let bytes = file.tensors().map(planned);
        Ok(bytes.fold(0, usize::saturating_add))
    }

    /// The virtual tokens and what changes.
    fn read(
        method: Method,
        file: &SafetensorsFile,
        config: &ModelConfig,
        pool: &Pool,
    ) -> Result<(usize, Change), ModelError> {
        Ok(match method {
            Method::Lora(settings) => (0, Change::Lora(read_lora(&settings, file, config, pool)?)),
            Method::Embeddings { tokens } => {
                let embeddings = virtual_tokens::embeddings(file, tokens, config)?;
                (tokens, Change::Embeddings(embeddings))
            }
            Method::Prefix { tokens } => {
                let layers = virtual_tokens::prefix(file, tokens, config)?;
                (tokens, Change::Prefix(layers))
            }
        })
    }

    /// A number that tells adapters apart by what they hold.
    pub fn id(&self) -> u128 {
        self.id
    }

    /// How many positions must stand before a text that this adapter is used for: as many tokens
    /// of any kind as a step of [`crate::Model::forward`] is given for them.
    pub fn virtual_tokens(&self) -> usize {
        self.virtual_tokens
    }

    /// Bytes of the adapter in memory.
    pub fn size_bytes(&self) -> usize {
        match &self.change {
            Change::Lora(layers) => layers.iter().map(LayerDeltas::size_bytes).sum(),
            Change::Embeddings(embeddings) => size_of_val(embeddings.as_slice()),
            Change::Prefix(layers) => layers.iter().map(PrefixLayer::size_bytes).sum(),
        }
    }

    /// The change of a projection.
    pub(crate) fn delta(&self, layer: usize, projection: Projection) -> Option<&Delta> {
        match &self.change {
            Change::Lora(layers) => layers[layer].get(projection),
            Change::Embeddings(_) | Change::Prefix(_) => None,
        }
    }

    /// The embeddings of the virtual tokens: `[n, C]`.
    pub(crate) fn embeddings(&self) -> Option<&[f32]> {
        match &self.change {
            Change::Embeddings(embeddings) => Some(embeddings),
            Change::Lora(_) | Change::Prefix(_) => None,
        }
    }

    /// The keys and values of the virtual tokens in a layer.
    pub(crate) fn prefix(&self, layer: usize) -> Option<&PrefixLayer> {
        match &self.change {
            Change::Prefix(layers) => Some(&layers[layer]),
            Change::Lora(_) | Change::Embeddings(_) => None,
        }
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Adapter")
            .field("virtual_tokens", &self.virtual_tokens)
            .field("size_bytes", &self.size_bytes())
            .finish_non_exhaustive()
    }
}

/// The settings of the adapter in a folder, and their text.
fn read_settings(folder: &Path) -> Result<(Vec<u8>, AdapterSettings), ModelError> {
    let path = folder.join("adapter_config.json");
    let text = read_limited(&path)?;
    let settings = AdapterSettings::parse(&text).map_err(in_file(&path))?;
    Ok((text, settings))
}

/// The first half of the SHA-256 of settings and tensors.
fn id(settings: &[u8], file: &SafetensorsFile) -> u128 {
    let mut hash = Sha256::new_with_prefix(settings);
    for tensor in file.tensors() {
        hash.update(tensor.name);
        hash.update(tensor.bytes);
    }
    let hash: [u8; 32] = hash.finalize().into();
    hash[..16]
        .iter()
        .fold(0, |id, &byte| id << 8 | u128::from(byte))
}

fn read_lora(
    settings: &LoraSettings,
    file: &SafetensorsFile,
    config: &ModelConfig,
    pool: &Pool,
) -> Result<Vec<LayerDeltas>, ModelError> {
    lora::Reader {
        settings,
        file,
        config,
        pool,
    }
    .read()
}

/// A tensor of the adapter that must be there.
fn require<'a>(file: &'a SafetensorsFile, name: &str) -> Result<StoredTensor<'a>, ModelError> {
    file.tensor(name)
        .ok_or_else(|| missing_tensor(&printable(name)))
}

/// Fails unless a tensor has this shape.
fn check_shape(tensor: &StoredTensor<'_>, wanted: &[usize]) -> Result<(), ModelError> {
    if tensor.shape == wanted {
        return Ok(());
    }
    Err(ModelError::TensorShape {
        tensor: printable(tensor.name),
        found: tensor.shape.to_vec(),
        wanted: wanted.to_vec(),
    })
}

/// The numbers of a tensor, all finite: one that is not would make every result of the model NaN.
fn numbers(tensor: &StoredTensor<'_>, bytes: &[u8]) -> Result<Vec<f32>, ModelError> {
    let format = tensor
        .number_type
        .format()
        .ok_or_else(|| ModelError::NumberType {
            tensor: printable(tensor.name),
            found: tensor.number_type.name().to_owned(),
        })?;
    let mut numbers = vec![0.0; tensor.shape.iter().product()];
    dequantize(format, bytes, &mut numbers);
    match numbers.iter().position(|number| !number.is_finite()) {
        Some(index) => Err(ModelError::NotFinite {
            tensor: printable(tensor.name),
            index,
            found: numbers[index],
        }),
        None => Ok(numbers),
    }
}
