//! Where a model comes from: a GGUF file, or a folder with `config.json` and safetensors that is
//! read as though it were one.
//!
//! The names and meanings of metadata and tensors are those of GGUF, so that neither the
//! architectures nor the loader of weights knows which of the two a model lies in.

use std::borrow::Cow;
use std::path::Path;

use autoglm_kernel::BlockFormat;
use autoglm_token::Vocabulary;

use crate::checkpoint::Checkpoint;
use crate::error::ModelError;
use crate::gguf::{
    Entries, FromValue, GgufFile, Value, checked_value, missing_key, missing_tensor,
};

/// A tensor of a model.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// The tensor's name.
    pub name: &'a str,
    /// The format of its numbers.
    pub format: BlockFormat,
    /// Row-major, last dimension contiguous; at least one dimension, none of them zero.
    pub shape: &'a [usize],
    /// Its data, exactly as many bytes as format and shape take: the file's own, or made from
    /// them where the file keeps the tensor in another way than GGUF.
    pub bytes: Cow<'a, [u8]>,
}

impl Tensor<'_> {
    /// The matrix `index` of a tensor of three dimensions.
    pub fn matrix(self, index: usize) -> Option<Self> {
        let (count, shape) = self.shape.split_first()?;
        let size_bytes = self.bytes.len() / count;
        let range = index * size_bytes..(index + 1) * size_bytes;
        let bytes = match self.bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(range)?),
            Cow::Owned(bytes) => Cow::Owned(bytes.get(range)?.to_vec()),
        };
        Some(Self {
            name: self.name,
            format: self.format,
            shape,
            bytes,
        })
    }

    /// The length of the last dimension.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The product of all dimensions but the last.
    pub fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }
}

/// What is known of a tensor without reading it.
#[derive(Debug, Clone, Copy)]
pub struct TensorInfo<'a> {
    /// The tensor's name.
    pub name: &'a str,
    /// The format of its numbers.
    pub format: BlockFormat,
    /// Row-major, last dimension contiguous; at least one dimension, none of them zero.
    pub shape: &'a [usize],
}

impl TensorInfo<'_> {
    /// How many numbers the tensor holds.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor holds no number, which none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the tensor's data.
    pub fn size_bytes(&self) -> usize {
        let cols = self.shape.last().copied().unwrap_or(1);
        self.format.row_bytes(cols).unwrap_or(0) * (self.len() / cols)
    }
}

/// Metadata and tensors of a model, under the names that GGUF gives them.
pub trait WeightSource: Send + Sync {
    /// The value of a metadata key.
    fn value(&self, key: &str) -> Option<Value<'_>>;

    /// What is known of the tensor with this name.
    fn tensor_info(&self, name: &str) -> Option<TensorInfo<'_>>;

    /// The tensor with this name.
    fn tensor(&self, name: &str) -> Option<Tensor<'_>>;

    /// The matrix `index` of a tensor of three dimensions, without the others where the source
    /// keeps them apart.
    fn matrix(&self, name: &str, index: usize) -> Option<Tensor<'_>> {
        self.tensor(name)?.matrix(index)
    }

    /// Says that these bytes of a tensor are not needed for now, so that the memory that a mapped
    /// file takes can be given back. They can be read again.
    fn release(&self, bytes: &[u8]);

    /// All tensors, in the source's order.
    fn tensor_infos(&self) -> Vec<TensorInfo<'_>>;

    /// All metadata as a GGUF file has it, with tokenizer and chat template where there are some.
    ///
    /// # Errors
    /// A tokenizer that is not well formed or that GGUF cannot express.
    fn entries(&self) -> Result<Entries, ModelError>;

    /// What the model lies in, in a few words such as `GGUF version 3`.
    fn container(&self) -> String;

    /// Bytes of all weight files together.
    fn size_bytes(&self) -> usize;

    /// The model's vocabulary. Lists that describe tokens have one entry a token, and every id
    /// lies within the vocabulary.
    ///
    /// # Errors
    /// When there is none, or it is of a kind that is not supported or not well formed.
    fn vocabulary(&self) -> Result<Vocabulary, ModelError>;

    /// The Jinja source of the model's chat template, where it has one.
    ///
    /// # Errors
    /// When there is one that is not UTF-8 text.
    fn chat_template(&self) -> Result<Option<&str>, ModelError>;
}

impl dyn WeightSource + '_ {
    /// The architecture that the weights belong to, as GGUF names it.
    ///
    /// # Errors
    /// When the source does not say, or not with a string.
    pub fn architecture(&self) -> Result<&str, ModelError> {
        self.require("general.architecture")
    }

    /// The value of a metadata key, or nothing where the key is missing.
    ///
    /// # Errors
    /// When the value has another type or does not fit.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, ModelError> {
        checked_value(self.value(key), key)
    }

    /// The value of a metadata key that must be there.
    ///
    /// # Errors
    /// When the key is missing, or its value has another type or does not fit.
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, ModelError> {
        self.get(key)?.ok_or_else(|| missing_key(key))
    }

    /// The tensor with this name, which must be there.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`] when it is not.
    pub fn require_tensor(&self, name: &str) -> Result<Tensor<'_>, ModelError> {
        self.tensor(name).ok_or_else(|| missing_tensor(name))
    }

    /// What is known of the tensor with this name, which must be there.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`] when it is not.
    pub fn require_tensor_info(&self, name: &str) -> Result<TensorInfo<'_>, ModelError> {
        self.tensor_info(name).ok_or_else(|| missing_tensor(name))
    }
}

impl WeightSource for GgufFile {
    fn value(&self, key: &str) -> Option<Value<'_>> {
        self.value(key)
    }

    fn tensor_info(&self, name: &str) -> Option<TensorInfo<'_>> {
        self.tensor(name).map(|tensor| info(&tensor))
    }

    fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        self.tensor(name)
    }

    fn release(&self, bytes: &[u8]) {
        self.release(bytes);
    }

    fn tensor_infos(&self) -> Vec<TensorInfo<'_>> {
        self.tensors().map(|tensor| info(&tensor)).collect()
    }

    fn entries(&self) -> Result<Entries, ModelError> {
        Ok(self.copied_entries())
    }

    fn container(&self) -> String {
        format!("GGUF version {}", self.version())
    }

    fn size_bytes(&self) -> usize {
        self.size_bytes()
    }

    fn vocabulary(&self) -> Result<Vocabulary, ModelError> {
        self.vocabulary()
    }

    fn chat_template(&self) -> Result<Option<&str>, ModelError> {
        self.chat_template()
    }
}

fn info<'a>(tensor: &Tensor<'a>) -> TensorInfo<'a> {
    TensorInfo {
        name: tensor.name,
        format: tensor.format,
        shape: tensor.shape,
    }
}

/// Opens the model at a path: a GGUF file, or a folder with `config.json` and safetensors.
///
/// # Errors
/// [`ModelError::Open`] where the operating system does not give us a file, and
/// [`ModelError::File`] with the cause where its content is not as it must be.
pub fn open(path: &Path) -> Result<Box<dyn WeightSource>, ModelError> {
    Ok(if path.is_dir() {
        Box::new(Checkpoint::open(path)?)
    } else {
        Box::new(GgufFile::open(path)?)
    })
}
