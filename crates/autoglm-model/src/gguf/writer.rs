//! Writes small GGUF files for tests, right or wrong as the test wants them.

/// Numbers of value types.
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// A file in the making. Public fields overrule what would be written.
pub(crate) struct Writer {
    pub(crate) version: u32,
    pub(crate) alignment: usize,
    pub(crate) tensor_count: Option<u64>,
    pub(crate) entry_count: Option<u64>,
    entries: Vec<Vec<u8>>,
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
            version: 3,
            alignment: 32,
            tensor_count: None,
            entry_count: None,
            entries: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Adds an entry from its value type and the value's bytes.
    pub(crate) fn raw(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        let mut entry = string(key.as_bytes());
        entry.extend(kind.to_le_bytes());
        entry.extend(value);
        self.entries.push(entry);
        self
    }

    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.raw(key, U32, &value.to_le_bytes())
    }

    pub(crate) fn i32(self, key: &str, value: i32) -> Self {
        self.raw(key, I32, &value.to_le_bytes())
    }

    pub(crate) fn f32(self, key: &str, value: f32) -> Self {
        self.raw(key, F32, &value.to_le_bytes())
    }

    pub(crate) fn bool(self, key: &str, value: bool) -> Self {
        self.raw(key, BOOL, &[u8::from(value)])
    }

    pub(crate) fn string(self, key: &str, value: &str) -> Self {
        self.raw(key, STRING, &string(value.as_bytes()))
    }

    pub(crate) fn strings(self, key: &str, values: &[&str]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(|v| string(v.as_bytes())).collect();
        self.raw(key, ARRAY, &array(STRING, values.len() as u64, &elements))
    }

    pub(crate) fn i32s(self, key: &str, values: &[i32]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.raw(key, ARRAY, &array(I32, values.len() as u64, &elements))
    }

    pub(crate) fn f32s(self, key: &str, values: &[f32]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.raw(key, ARRAY, &array(F32, values.len() as u64, &elements))
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
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        let tensor_count = self.tensor_count.unwrap_or(self.tensors.len() as u64);
        file.extend(tensor_count.to_le_bytes());
        let entry_count = self.entry_count.unwrap_or(self.entries.len() as u64);
        file.extend(entry_count.to_le_bytes());
        file.extend(self.entries.concat());
        let mut data = Vec::new();
        for tensor in &self.tensors {
            file.extend(tensor.table_entry(data.len() as u64));
            data.extend(&tensor.data);
            data.resize(data.len().next_multiple_of(self.alignment), 0);
        }
        file.resize(file.len().next_multiple_of(self.alignment), 0);
        file.extend(data);
        file
    }
}

impl TestTensor {
    fn table_entry(&self, next_offset: u64) -> Vec<u8> {
        let mut entry = string(self.name.as_bytes());
        entry.extend((self.extents.len() as u32).to_le_bytes());
        entry.extend(self.extents.iter().flat_map(|n| n.to_le_bytes()));
        entry.extend(self.number.to_le_bytes());
        entry.extend(self.offset.unwrap_or(next_offset).to_le_bytes());
        entry
    }
}

/// The bytes of a string with its length.
pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    bytes
}

/// The bytes of an array value.
pub(crate) fn array(element: u32, len: u64, elements: &[u8]) -> Vec<u8> {
    let mut bytes = element.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(elements);
    bytes
}
