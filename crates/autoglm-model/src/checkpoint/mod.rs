//! Reads a folder with `config.json` and safetensors as though it were a GGUF file: metadata under
//! GGUF's keys, tensors under GGUF's names and in GGUF's order of rows.
//!
//! What a model class calls its settings and tensors stands in the file of its architecture; here
//! is what all classes share. A folder is untrusted like every file from outside.

mod change;
mod class;
mod dense;
mod experts;
mod settings;
mod shards;
mod stack;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use autoglm_kernel::BlockFormat;
use autoglm_token::{FolderTokenizer, TokenError, Vocabulary};

pub(crate) use self::change::{Change, interleave_head};
use self::class::Destination;
pub(crate) use self::class::{Class, Metadata, Rename};
pub(crate) use self::dense::{
    GATE_UP, HEAD_NORMS, NORMS, PLAIN, Partial, dense_settings, dense_sizes, rope_settings,
    unchanged,
};
pub(crate) use self::experts::{EXPERTS, FURTHER, expert_settings};
pub(crate) use self::settings::Settings;
use self::shards::Shards;
use self::stack::Stacks;
use crate::architecture;
use crate::bytes::in_file;
use crate::error::ModelError;
use crate::gguf::{Entries, Value, printable};
use crate::safetensors::StoredTensor;
use crate::source::{Tensor, TensorInfo, WeightSource};
use crate::tokenizer_files::read_tokenizer_files;

/// Settings and indexes of models have some kilobytes, the index of the largest some megabytes.
const JSON_LIMIT_BYTES: u64 = 64 << 20;

/// An opened folder.
#[derive(Debug)]
pub struct Checkpoint {
    shards: Shards,
    metadata: Metadata,
    tensors: Vec<Placed>,
    names: HashMap<String, usize>,
    folder: PathBuf,
    /// Read when it is first asked for: the weights can do without.
    tokenizer: OnceLock<FolderTokenizer>,
}

/// A tensor under its name in GGUF.
#[derive(Debug)]
struct Placed {
    name: String,
    format: BlockFormat,
    shape: Vec<usize>,
    data: Data,
}

/// Where a tensor's bytes come from.
#[derive(Debug)]
enum Data {
    /// From a tensor of a shard.
    Stored {
        shard: usize,
        name: String,
        change: Change,
    },
    /// From several, one after the other.
    Stacked(Vec<Data>),
    /// From the settings.
    Made(Vec<u8>),
}

impl Checkpoint {
    /// Opens the model in a folder.
    ///
    /// # Errors
    /// A file that is missing or not as it must be, a class or a setting that is not supported, or
    /// a tensor that the class does not have.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
        let settings = Settings::parse(&read_limited(&path)?).map_err(in_file(&path))?;
        let class = architecture::class_of(&settings).map_err(in_file(&path))?;
        let metadata = class.metadata(&settings).map_err(in_file(&path))?;
        let shards = Shards::open(folder)?;
        let mut checkpoint = Self {
            shards,
            metadata,
            tensors: Vec::new(),
            names: HashMap::new(),
            folder: folder.to_owned(),
            tokenizer: OnceLock::new(),
        };
        checkpoint
            .place_all(class, &settings)
            .map_err(in_file(folder))?;
        Ok(checkpoint)
    }

    fn place_all(&mut self, class: &'static Class, settings: &Settings) -> Result<(), ModelError> {
        let tied = class.is_tied(settings)?;
        let (mut placed, mut stacks) = (Vec::new(), Stacks::default());
        for (shard, tensor) in self.shards.tensors() {
            let Some(Destination { name, part }) = class.name_of(tensor.name)? else {
                continue;
            };
            if tied && name == "output.weight" {
                continue;
            }
            let tensor = place(class, &self.metadata, shard, &tensor, name)?;
            match part {
                Some(part) => stacks.add(part, tensor)?,
                None => placed.push(tensor),
            }
        }
        placed.extend(stacks.finish()?);
        if !tied && !placed.iter().any(|tensor| tensor.name == "output.weight") {
            return Err(crate::gguf::missing_tensor("output.weight"));
        }
        if let Some(factors) = self.metadata.frequency_factors() {
            placed.push(Placed {
                name: "rope_freqs.weight".to_owned(),
                format: BlockFormat::F32,
                shape: vec![factors.len()],
                data: Data::Made(factors.iter().flat_map(|f| f.to_le_bytes()).collect()),
            });
        }
        for tensor in placed {
            if self
                .names
                .insert(tensor.name.clone(), self.tensors.len())
                .is_some()
            {
                return Err(ModelError::DuplicateTensor {
                    tensor: printable(&tensor.name),
                });
            }
            self.tensors.push(tensor);
        }
        Ok(())
    }

    fn bytes<'a>(&'a self, data: &'a Data) -> Option<Cow<'a, [u8]>> {
        Some(match data {
            Data::Made(bytes) => Cow::Borrowed(bytes.as_slice()),
            Data::Stored {
                shard,
                name,
                change,
            } => {
                let stored = self.stored(*shard, name)?;
                let bytes = change.apply(&stored);
                if let Cow::Owned(_) = bytes {
                    self.shards.release(stored.bytes);
                }
                bytes
            }
            Data::Stacked(parts) => {
                let mut stack = Vec::new();
                for part in parts {
                    let bytes = self.bytes(part)?;
                    stack.extend_from_slice(&bytes);
                    self.shards.release(&bytes);
                }
                Cow::Owned(stack)
            }
        })
    }

    fn tokenizer(&self) -> Result<&FolderTokenizer, ModelError> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer);
        }
        let files = read_tokenizer_files(&self.folder)?;
        let tokenizer = FolderTokenizer::read(&files).map_err(|source| match source {
            TokenError::NoTokenizerFile => ModelError::NoTokenizer,
            source => in_file(&self.folder)(ModelError::Tokenizer { source }),
        })?;
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }

    fn stored(&self, shard: usize, name: &str) -> Option<StoredTensor<'_>> {
        self.shards.files[shard].tensor(name)
    }

    fn placed(&self, name: &str) -> Option<&Placed> {
        Some(&self.tensors[*self.names.get(name)?])
    }
}

/// The tensor of a shard under its name in GGUF.
fn place(
    class: &Class,
    metadata: &Metadata,
    shard: usize,
    tensor: &StoredTensor<'_>,
    name: String,
) -> Result<Placed, ModelError> {
    let format = tensor
        .number_type
        .format()
        .ok_or_else(|| ModelError::NumberType {
            tensor: printable(tensor.name),
            found: tensor.number_type.name().to_owned(),
        })?;
    if tensor.shape.is_empty() {
        return Err(ModelError::Dimensions {
            tensor: printable(tensor.name),
            found: 0,
            limit: 4,
        });
    }
    let change = (class.change)(&name, metadata);
    change.check(tensor)?;
    Ok(Placed {
        name,
        format: change.format(format),
        shape: tensor.shape.to_vec(),
        data: Data::Stored {
            shard,
            name: tensor.name.to_owned(),
            change,
        },
    })
}

impl WeightSource for Checkpoint {
    fn value(&self, key: &str) -> Option<Value<'_>> {
        self.metadata.value(key)
    }

    fn tensor_info(&self, name: &str) -> Option<TensorInfo<'_>> {
        self.placed(name).map(Placed::info)
    }

    fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let placed = self.placed(name)?;
        Some(Tensor {
            name: &placed.name,
            format: placed.format,
            shape: &placed.shape,
            bytes: self.bytes(&placed.data)?,
        })
    }

    fn matrix(&self, name: &str, index: usize) -> Option<Tensor<'_>> {
        let placed = self.placed(name)?;
        let Data::Stacked(parts) = &placed.data else {
            return self.tensor(name)?.matrix(index);
        };
        Some(Tensor {
            name: &placed.name,
            format: placed.format,
            shape: &placed.shape[1..],
            bytes: self.bytes(parts.get(index)?)?,
        })
    }

    fn release(&self, bytes: &[u8]) {
        self.shards.release(bytes);
    }

    fn tensor_infos(&self) -> Vec<TensorInfo<'_>> {
        self.tensors.iter().map(Placed::info).collect()
    }

    fn entries(&self) -> Result<Entries, ModelError> {
        let mut entries = self.metadata.entries();
        let tokenizer = match self.tokenizer() {
            Err(ModelError::NoTokenizer) => return Ok(entries),
            tokenizer => tokenizer?,
        };
        entries
            .vocabulary(&tokenizer.vocabulary)
            .map_err(|source| in_file(&self.folder)(ModelError::Tokenizer { source }))?;
        if let Some(template) = &tokenizer.chat_template {
            entries.string("tokenizer.chat_template", template);
        }
        Ok(entries)
    }

    fn container(&self) -> String {
        match self.shards.files.len() {
            1 => "safetensors".to_owned(),
            count => format!("safetensors in {count} files"),
        }
    }

    fn size_bytes(&self) -> usize {
        let files = self.shards.files.iter();
        files.map(crate::SafetensorsFile::size_bytes).sum()
    }

    fn vocabulary(&self) -> Result<Vocabulary, ModelError> {
        Ok(self.tokenizer()?.vocabulary.clone())
    }

    fn chat_template(&self) -> Result<Option<&str>, ModelError> {
        match self.tokenizer() {
            Ok(tokenizer) => Ok(tokenizer.chat_template.as_deref()),
            Err(ModelError::NoTokenizer) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Placed {
    fn info(&self) -> TensorInfo<'_> {
        TensorInfo {
            name: &self.name,
            format: self.format,
            shape: &self.shape,
        }
    }
}

/// Reads a small file into memory.
pub(crate) fn read_limited(path: &Path) -> Result<Vec<u8>, ModelError> {
    let open = |source| ModelError::Open {
        path: path.to_owned(),
        source,
    };
    let found_bytes = fs::metadata(path).map_err(open)?.len();
    if found_bytes > JSON_LIMIT_BYTES {
        return Err(in_file(path)(ModelError::LargeFile {
            found_bytes,
            limit_bytes: JSON_LIMIT_BYTES,
        }));
    }
    fs::read(path).map_err(open)
}
