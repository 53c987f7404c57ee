//! Reads GGUF files: metadata and tensors, in place, from a memory map.
//!
//! A file is untrusted. Opening one checks every length, count, offset, type and name, allocates
//! nothing by a number from the file, and ends in a [`GgufFile`] or in an error that names what is
//! wrong; afterwards metadata and tensors are views of the file's bytes.
//!
//! # Source
//! The format's specification, `docs/gguf.md` of the ggml project, versions 2 and 3.

mod layout;
mod reader;
mod tensor_type;
#[cfg(test)]
mod tests;
mod value;
mod vocabulary;
pub(crate) mod writer;

use std::borrow::Cow;
use std::path::Path;

use self::layout::{Entry, Layout, TensorEntry};
use self::reader::Reader;
pub use self::value::{Array, FromValue, Value};
pub use self::writer::Entries;
use crate::ModelError;
use crate::bytes::{Bytes, in_file};
use crate::source::Tensor;

/// An open GGUF file.
#[derive(Debug)]
pub struct GgufFile {
    bytes: Bytes,
    layout: Layout,
}

impl GgufFile {
    /// Maps the file at `path` and checks its structure.
    ///
    /// # Errors
    /// [`ModelError::Open`] where the operating system does not give us the file, and
    /// [`ModelError::File`] with the cause where its content is not as it must be.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::read(Bytes::map(path)?).map_err(in_file(path))
    }

    /// Checks the structure of a file that is in memory.
    ///
    /// # Errors
    /// What is wrong with the content.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ModelError> {
        Self::read(Bytes::Owned(bytes))
    }

    fn read(bytes: Bytes) -> Result<Self, ModelError> {
        let layout = Layout::read(bytes.as_slice())?;
        Ok(Self { bytes, layout })
    }

    /// The version of the file format.
    pub fn version(&self) -> u32 {
        self.layout.version
    }

    /// The size of the file.
    pub fn size_bytes(&self) -> usize {
        self.bytes.as_slice().len()
    }

    /// The architecture that the weights belong to, such as `llama`.
    ///
    /// # Errors
    /// When the file does not say, or not with a string.
    pub fn architecture(&self) -> Result<&str, ModelError> {
        self.require("general.architecture")
    }

    /// The value of a metadata key, or nothing where the key is missing.
    ///
    /// ```no_run
    /// # fn f(file: &autoglm_model::GgufFile) -> Result<(), autoglm_model::ModelError> {
    /// let window: Option<usize> = file.get("gemma3.attention.sliding_window")?;
    /// let name: Option<&str> = file.get("general.name")?;
    /// # Ok(()) }
    /// ```
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

    /// The elements of a metadata array, or nothing where the key is missing.
    ///
    /// # Errors
    /// When the value is no array, or an element has another type or does not fit.
    pub fn get_array<'a, T: FromValue<'a>>(
        &'a self,
        key: &str,
    ) -> Result<Option<Vec<T>>, ModelError> {
        self.value(key)
            .map(|value| {
                value::elements(&value).map_err(|found| wrong_value(key, found, T::WANTED))
            })
            .transpose()
    }

    /// The elements of a metadata array that must be there.
    ///
    /// # Errors
    /// When the key is missing, the value is no array, or an element has another type or does not
    /// fit.
    pub fn require_array<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Vec<T>, ModelError> {
        self.get_array(key)?.ok_or_else(|| missing_key(key))
    }

    /// The value of a metadata key as it stands in the file.
    pub fn value(&self, key: &str) -> Option<Value<'_>> {
        let &i = self.layout.keys.get(key)?;
        self.entry_value(&self.layout.entries[i])
    }

    /// All metadata, in the file's order.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.layout
            .entries
            .iter()
            .filter_map(|entry| Some((entry.key.as_str(), self.entry_value(entry)?)))
    }

    /// All metadata as it stands in the file.
    pub(crate) fn copied_entries(&self) -> Entries {
        let mut entries = Entries::default();
        for entry in &self.layout.entries {
            let value = &self.bytes.as_slice()[entry.bytes.clone()];
            entries.raw(&entry.key, entry.kind.number(), value);
        }
        entries
    }

    fn entry_value(&self, entry: &Entry) -> Option<Value<'_>> {
        let bytes = self.bytes.as_slice().get(entry.bytes.clone())?;
        Value::read(entry.kind, &mut Reader::new(bytes)).ok()
    }

    /// The tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let &i = self.layout.names.get(name)?;
        Some(self.view(&self.layout.tensors[i]))
    }

    /// The tensor with this name, which must be there.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`] when it is not.
    pub fn require_tensor(&self, name: &str) -> Result<Tensor<'_>, ModelError> {
        self.tensor(name).ok_or_else(|| missing_tensor(name))
    }

    /// All tensors, in the file's order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'_>> {
        self.layout.tensors.iter().map(|entry| self.view(entry))
    }

    /// Gives the memory of bytes of a mapped file back; they can be read again.
    pub(crate) fn release(&self, bytes: &[u8]) {
        self.bytes.release(bytes);
    }

    fn view<'a>(&'a self, entry: &'a TensorEntry) -> Tensor<'a> {
        Tensor {
            name: &entry.name,
            format: entry.format,
            shape: &entry.shape,
            bytes: Cow::Borrowed(&self.bytes.as_slice()[entry.bytes.clone()]),
        }
    }
}

/// The value of a key as the type that is asked for.
pub(crate) fn checked_value<'a, T: FromValue<'a>>(
    value: Option<Value<'a>>,
    key: &str,
) -> Result<Option<T>, ModelError> {
    let Some(value) = value else {
        return Ok(None);
    };
    match T::from_value(&value) {
        Some(found) => Ok(Some(found)),
        None => Err(wrong_value(key, value.describe(), T::WANTED)),
    }
}

pub(crate) fn missing_tensor(name: &str) -> ModelError {
    ModelError::MissingTensor {
        tensor: printable(name),
    }
}

pub(crate) fn missing_key(key: &str) -> ModelError {
    ModelError::MissingKey {
        key: key.to_owned(),
    }
}

pub(crate) fn wrong_value(key: &str, found: String, wanted: &'static str) -> ModelError {
    ModelError::WrongValue {
        key: key.to_owned(),
        found,
        wanted,
    }
}

/// A string from a file, fit for a one-line message: escaped, and cut after 100 characters.
pub(crate) fn printable(text: &str) -> String {
    const LIMIT_CHARS: usize = 100;
    let mut shown: String = text.chars().take(LIMIT_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}
