//! Small files for tests, right or wrong as the test wants them.

use super::super::value::ValueType;
use super::{ALIGNMENT, Entries, VERSION, preamble, put_table_entry};

/// A file in the making. Public fields overrule what would be written.
pub(crate) struct Writer {
    pub(crate) version: u32,
    pub(crate) alignment: usize,
    pub(crate) tensor_count: Option<u64>,
    pub(crate) entry_count: Option<u64>,
    entries: Entries,
    tensors: Vec<TestTensor>,
}

/// A tensor to write.
#[derive(Clone)]
pub(crate) struct TestTensor {
    pub(crate) name: &'static str,
    /// In the file's order, contiguous dimension first.
    pub(crate) extents: Vec<u64>,
    pub(crate) number: u32,
    /// Where the table says that the data is; behind the data so far where not given.
    pub(crate) offset: Option<u64>,
    pub(crate) data: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self {
            version: VERSION,
            alignment: ALIGNMENT,
            tensor_count: None,
            entry_count: None,
            entries: Entries::default(),
            tensors: Vec::new(),
        }
    }

    /// Adds an entry from its value type and the value's bytes.
    pub(crate) fn raw(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.entries.raw(key, kind, value);
        self
    }

    pub(crate) fn u32(mut self, key: &str, value: u32) -> Self {
        self.entries.u32(key, value);
        self
    }

    pub(crate) fn i32(self, key: &str, value: i32) -> Self {
        self.raw(key, ValueType::I32.number(), &value.to_le_bytes())
    }

    pub(crate) fn f32(mut self, key: &str, value: f32) -> Self {
        self.entries.f32(key, value);
        self
    }

    pub(crate) fn bool(self, key: &str, value: bool) -> Self {
        self.raw(key, ValueType::Bool.number(), &[u8::from(value)])
    }

    pub(crate) fn string(mut self, key: &str, value: &str) -> Self {
        self.entries.string(key, value);
        self
    }

    pub(crate) fn strings(mut self, key: &str, values: &[&str]) -> Self {
        self.entries.strings(key, values);
        self
    }

    pub(crate) fn i32s(mut self, key: &str, values: &[i32]) -> Self {
        self.entries.i32s(key, values.iter().copied());
        self
    }

    pub(crate) fn u32s(mut self, key: &str, values: &[u32]) -> Self {
        self.entries.u32s(key, values);
        self
    }

    pub(crate) fn f32s(mut self, key: &str, values: &[f32]) -> Self {
        self.entries.f32s(key, values);
        self
    }

    pub(crate) fn tensor(mut self, tensor: TestTensor) -> Self {
        self.tensors.push(tensor);
        self
    }

    /// A tensor of f32 numbers in row-major shape.
    pub(crate) fn floats(self, name: &'static str, shape: &[usize], values: &[f32]) -> Self {
        self.tensor(TestTensor {
            name,
            extents: shape.iter().rev().map(|&n| n as u64).collect(),
            number: 0,
            offset: None,
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        })
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let tensors = self.tensor_count.unwrap_or(self.tensors.len() as u64);
        let entries = self.entry_count.unwrap_or(self.entries.count());
        let mut file = preamble(self.version, tensors, entries);
        self.entries.put(&mut file);
        let mut data = Vec::new();
        for tensor in &self.tensors {
            let offset = tensor.offset.unwrap_or(data.len() as u64);
            put_table_entry(
                &mut file,
                tensor.name,
                &tensor.extents,
                tensor.number,
                offset,
            );
            data.extend(&tensor.data);
            data.resize(data.len().next_multiple_of(self.alignment), 0);
        }
        file.resize(file.len().next_multiple_of(self.alignment), 0);
        file.extend(data);
        file
    }
}

/// The bytes of an array value.
pub(crate) fn array(element: u32, len: u64, elements: &[u8]) -> Vec<u8> {
    let mut bytes = element.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(elements);
    bytes
}
