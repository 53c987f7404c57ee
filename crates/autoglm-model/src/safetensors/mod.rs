//! Reads safetensors files: named tensors, in place, from a memory map.
//!
//! A file is untrusted. Opening one checks the header, every type, shape and offset, and that the
//! tensors fill the data without sharing bytes, and ends in a [`SafetensorsFile`] or in an error
//! that names what is wrong.
//!
//! # Source
//! The format's description in the README of the safetensors project: eight bytes with the length
//! of a JSON header, the header, the tensors' data.

mod header;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use header::json;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use autoglm_kernel::BlockFormat;

use crate::ModelError;
use crate::bytes::{Bytes, in_file};

/// An open safetensors file.
#[derive(Debug)]
pub struct SafetensorsFile {
    bytes: Bytes,
    tensors: Vec<Entry>,
    names: HashMap<String, usize>,
}

/// A tensor whose data lies at `bytes` of the file.
#[derive(Debug)]
struct Entry {
    name: String,
    number_type: NumberType,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

/// A tensor of a safetensors file.
#[derive(Debug, Clone, Copy)]
pub struct StoredTensor<'a> {
    /// The tensor's name.
    pub name: &'a str,
    /// The type of its numbers.
    pub number_type: NumberType,
    /// Row-major, last dimension contiguous; empty for a single number.
    pub shape: &'a [usize],
    /// Its data, exactly as many bytes as type and shape take.
    pub bytes: &'a [u8],
}

/// The type of a tensor's numbers, of those that the format defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberType {
    name: &'static str,
    size_bytes: usize,
}

impl NumberType {
    /// The name in the format.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Bytes of one number.
    pub fn size_bytes(self) -> usize {
        self.size_bytes
    }

    /// The format that kernels know it as; nothing for types that no weights are kept in.
    pub fn format(self) -> Option<BlockFormat> {
        match self.name {
            "F32" => Some(BlockFormat::F32),
            "F16" => Some(BlockFormat::F16),
            "BF16" => Some(BlockFormat::Bf16),
            _ => None,
        }
    }

    /// The type that the format names so.
    fn named(name: &str) -> Option<Self> {
        const TYPES: [(&str, usize); 15] = [
            ("BOOL", 1),
            ("U8", 1),
            ("I8", 1),
            ("F8_E4M3", 1),
            ("F8_E5M2", 1),
            ("I16", 2),
            ("U16", 2),
            ("F16", 2),
            ("BF16", 2),
            ("I32", 4),
            ("U32", 4),
            ("F32", 4),
            ("F64", 8),
            ("I64", 8),
            ("U64", 8),
        ];
        TYPES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|&(name, size_bytes)| Self { name, size_bytes })
    }
}

impl SafetensorsFile {
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
        let (tensors, names) = header::read(bytes.as_slice())?;
        Ok(Self {
            bytes,
            tensors,
            names,
        })
    }

    /// The size of the file.
    pub fn size_bytes(&self) -> usize {
        self.bytes.as_slice().len()
    }

    /// The tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<StoredTensor<'_>> {
        let &i = self.names.get(name)?;
        Some(self.view(&self.tensors[i]))
    }

    /// All tensors, in the header's order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = StoredTensor<'_>> {
        self.tensors.iter().map(|entry| self.view(entry))
    }

    /// Gives the memory of bytes of a mapped file back; they can be read again.
    pub(crate) fn release(&self, bytes: &[u8]) {
        self.bytes.release(bytes);
    }

    fn view<'a>(&'a self, entry: &'a Entry) -> StoredTensor<'a> {
        StoredTensor {
            name: &entry.name,
            number_type: entry.number_type,
            shape: &entry.shape,
            bytes: &self.bytes.as_slice()[entry.bytes.clone()],
        }
    }
}
