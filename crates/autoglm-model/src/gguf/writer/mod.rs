//! Writes GGUF: metadata entries, the tensor table and where each tensor's data goes.
//!
//! # Source
//! The format's specification, `docs/gguf.md` of the ggml project, version 3.

#[cfg(test)]
mod spoilt;
mod vocabulary;

use autoglm_kernel::BlockFormat;

use super::tensor_type;
use super::value::ValueType;
#[cfg(test)]
pub(crate) use spoilt::{TestTensor, Writer, array};

/// The version of the format that is written.
const VERSION: u32 = 3;
/// Alignment of tensor data, the format's default.
pub(crate) const ALIGNMENT: usize = 32;

/// Metadata entries, in the order of the file to come.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// Keys, with type and value as the file has them.
    list: Vec<(String, Vec<u8>)>,
}

impl Entries {
    /// Adds an entry from its value type's number and the value's bytes.
    pub(crate) fn raw(&mut self, key: &str, kind: u32, value: &[u8]) {
        let typed = [&kind.to_le_bytes(), value].concat();
        self.list.push((key.to_owned(), typed));
    }

    /// Leaves out the entries whose keys are not wanted.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.list.retain(|(key, _)| wanted(key));
    }

    fn count(&self) -> u64 {
        self.list.len() as u64
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        for (key, typed) in &self.list {
            bytes.extend(string(key.as_bytes()));
            bytes.extend(typed);
        }
    }

    fn typed(&mut self, key: &str, kind: ValueType, value: &[u8]) {
        self.raw(key, kind.number(), value);
    }

    pub(crate) fn u32(&mut self, key: &str, value: u32) {
        self.typed(key, ValueType::U32, &value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, key: &str, value: u64) {
        self.typed(key, ValueType::U64, &value.to_le_bytes());
    }

    pub(crate) fn f32(&mut self, key: &str, value: f32) {
        self.typed(key, ValueType::F32, &value.to_le_bytes());
    }

    pub(crate) fn bool(&mut self, key: &str, value: bool) {
        self.typed(key, ValueType::Bool, &[u8::from(value)]);
    }

    /// Adds a list of numbers, given as their bytes.
    fn list<const N: usize>(
        &mut self,
        key: &str,
        kind: ValueType,
        values: impl ExactSizeIterator<Item = [u8; N]>,
    ) {
        let mut bytes = list_head(kind, values.len());
        bytes.extend(values.flatten());
        self.typed(key, ValueType::Array, &bytes);
    }

    pub(crate) fn u32s(&mut self, key: &str, values: &[u32]) {
        let values = values.iter().map(|value| value.to_le_bytes());
        self.list(key, ValueType::U32, values);
    }

    pub(crate) fn i32s(&mut self, key: &str, values: impl ExactSizeIterator<Item = i32>) {
        self.list(key, ValueType::I32, values.map(i32::to_le_bytes));
    }

    pub(crate) fn f32s(&mut self, key: &str, values: &[f32]) {
        let values = values.iter().map(|value| value.to_le_bytes());
        self.list(key, ValueType::F32, values);
    }

    pub(crate) fn strings(&mut self, key: &str, values: &[impl AsRef<str>]) {
        let mut bytes = list_head(ValueType::String, values.len());
        let values = values.iter().map(AsRef::as_ref);
        bytes.extend(values.flat_map(|value: &str| string(value.as_bytes())));
        self.typed(key, ValueType::Array, &bytes);
    }

    pub(crate) fn string(&mut self, key: &str, value: &str) {
        self.typed(key, ValueType::String, &string(value.as_bytes()));
    }
}

/// A tensor whose data is written later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedTensor {
    pub(crate) name: String,
    pub(crate) format: BlockFormat,
    /// Row-major, as [`crate::Tensor::shape`].
    pub(crate) shape: Vec<usize>,
    /// Where its data starts in the file, and how long it is without padding.
    pub(crate) start: u64,
    pub(crate) size_bytes: u64,
}

impl PlannedTensor {
    /// Where its data with the padding behind it ends.
    pub(crate) fn end(&self) -> u64 {
        (self.start + self.size_bytes).next_multiple_of(ALIGNMENT as u64)
    }
}

/// Everything of a file but the tensors' data.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The bytes before the first tensor's data, padded.
    pub(crate) head: Vec<u8>,
    /// In the order of their data.
    pub(crate) tensors: Vec<PlannedTensor>,
}

impl Plan {
    /// Lays out a file with these entries and tensors (name, format, row-major shape), whose rows
    /// are whole numbers of blocks.
    ///
    /// # Panics
    /// If a row is not, or a tensor is larger than an address can say.
    pub(crate) fn new<'a>(
        entries: &Entries,
        tensors: impl IntoIterator<Item = (&'a str, BlockFormat, &'a [usize])>,
    ) -> Self {
        let (mut table, mut planned, mut offset) = (Vec::new(), Vec::new(), 0);
        for (name, format, shape) in tensors {
            let tensor = PlannedTensor {
                name: name.to_owned(),
                format,
                shape: shape.to_vec(),
                start: offset,
                size_bytes: size_bytes(format, shape),
            };
            let extents: Vec<u64> = shape.iter().rev().map(|&n| n as u64).collect();
            put_table_entry(
                &mut table,
                name,
                &extents,
                tensor_type::number(format),
                offset,
            );
            offset = tensor.end();
            planned.push(tensor);
        }
        let mut head = preamble(VERSION, planned.len() as u64, entries.count());
        entries.put(&mut head);
        head.extend(table);
        head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
        for tensor in &mut planned {
            tensor.start += head.len() as u64;
        }
        Self {
            head,
            tensors: planned,
        }
    }

    /// Bytes of the whole file.
    pub(crate) fn size_bytes(&self) -> u64 {
        let last = self.tensors.last().map(PlannedTensor::end);
        last.unwrap_or(self.head.len() as u64)
    }
}

fn size_bytes(format: BlockFormat, shape: &[usize]) -> u64 {
    let (cols, rows) = match shape {
        [rows @ .., cols] => (*cols, rows.iter().product::<usize>()),
        [] => (1, 1),
    };
    let size = format
        .row_bytes(cols)
        .and_then(|row_bytes| row_bytes.checked_mul(rows));
    let name = format.name();
    size.unwrap_or_else(|| panic!("a {name} tensor of shape {shape:?}")) as u64
}

/// What stands before the elements of a list.
fn list_head(kind: ValueType, len: usize) -> Vec<u8> {
    let mut bytes = kind.number().to_le_bytes().to_vec();
    bytes.extend((len as u64).to_le_bytes());
    bytes
}

/// Magic, version and counts.
pub(crate) fn preamble(version: u32, tensors: u64, entries: u64) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(entries.to_le_bytes());
    bytes
}

/// One line of the tensor table; extents start with the contiguous dimension.
pub(crate) fn put_table_entry(
    table: &mut Vec<u8>,
    name: &str,
    extents: &[u64],
    number: u32,
    offset: u64,
) {
    table.extend(string(name.as_bytes()));
    table.extend((extents.len() as u32).to_le_bytes());
    table.extend(extents.iter().flat_map(|n| n.to_le_bytes()));
    table.extend(number.to_le_bytes());
    table.extend(offset.to_le_bytes());
}

/// The bytes of a string with its length.
pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    bytes
}
