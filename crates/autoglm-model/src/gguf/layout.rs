//! Where things lie in a GGUF file: header, metadata, tensor table, tensor data.
//!
//! Everything that the rest of the reader relies on is checked here, once, when a file is opened.

use std::collections::HashMap;
use std::ops::Range;

use autoglm_kernel::BlockFormat;

use super::printable;
use super::reader::Reader;
use super::tensor_type;
use super::value::{FromValue, Value, ValueType};
use crate::ModelError;

/// Metadata keys are at most this long, as the format's specification says; tensor names, for
/// which it says 64 bytes while files in use have longer ones, get the same limit.
const NAME_LIMIT_BYTES: u64 = 65_535;
/// Tensors have one to four dimensions, as the format's specification says.
const DIMENSIONS_LIMIT: u32 = 4;
/// Alignment of tensor data where the file names none.
const DEFAULT_ALIGNMENT: u32 = 32;
/// Larger than any page; a file that asks for more is broken.
const ALIGNMENT_LIMIT: u32 = 65_536;
/// The smallest metadata entry: length of an empty key, type, one byte of value.
const SMALLEST_ENTRY_BYTES: usize = 8 + 4 + 1;
/// The smallest tensor entry: length of an empty name, number of dimensions, one dimension, type,
/// offset.
const SMALLEST_TENSOR_BYTES: usize = 8 + 4 + 8 + 4 + 8;

/// A metadata entry whose value lies at `bytes` of the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) kind: ValueType,
    pub(super) bytes: Range<usize>,
}

/// A tensor whose data lies at `bytes` of the file.
#[derive(Debug)]
pub(super) struct TensorEntry {
    pub(super) name: String,
    pub(super) format: BlockFormat,
    /// Row-major: the last dimension is contiguous.
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Range<usize>,
}

/// The checked structure of a file.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) version: u32,
    pub(super) entries: Vec<Entry>,
    pub(super) keys: HashMap<String, usize>,
    pub(super) tensors: Vec<TensorEntry>,
    pub(super) names: HashMap<String, usize>,
}

impl Layout {
    /// Reads and checks the structure of a file.
    pub(super) fn read(file: &[u8]) -> Result<Self, ModelError> {
        let mut reader = Reader::new(file);
        let version = read_version(&mut reader)?;
        let tensor_count = reader.count(SMALLEST_TENSOR_BYTES, "number of tensors")?;
        let entry_count = reader.count(SMALLEST_ENTRY_BYTES, "number of metadata entries")?;
        let (entries, keys) = read_entries(&mut reader, entry_count)?;
        let alignment = match keys.get("general.alignment") {
            Some(&i) => read_alignment(file, &entries[i])?,
            None => DEFAULT_ALIGNMENT,
        };
        let heads = read_heads(&mut reader, tensor_count)?;
        let data = data_range(&reader, file, alignment, tensor_count)?;
        let tensors = place(heads, alignment, &data)?;
        let names = index(tensors.iter().map(|t| t.name.as_str()), |tensor| {
            ModelError::DuplicateTensor { tensor }
        })?;
        check_overlaps(&tensors)?;
        Ok(Self {
            version,
            entries,
            keys,
            tensors,
            names,
        })
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<u32, ModelError> {
    let magic = reader.take(reader.left().min(4) as u64, "the header")?;
    if magic != b"GGUF" {
        return Err(ModelError::NotGguf {
            found: String::from_utf8_lossy(magic).into_owned(),
        });
    }
    match reader.u32("the header")? {
        version @ (2 | 3) => Ok(version),
        found if (1..=3).contains(&found.swap_bytes()) => Err(ModelError::BigEndian {
            version: found.swap_bytes(),
        }),
        found => Err(ModelError::Version { found }),
    }
}

fn read_entries(
    reader: &mut Reader<'_>,
    count: usize,
) -> Result<(Vec<Entry>, HashMap<String, usize>), ModelError> {
    let mut entries = Vec::new();
    for _ in 0..count {
        let key = reader.name(NAME_LIMIT_BYTES, "metadata key")?;
        let kind = ValueType::read(reader, key)?;
        let start = reader.position();
        kind.skip(reader, key)?;
        entries.push(Entry {
            key: key.to_owned(),
            kind,
            bytes: start..reader.position(),
        });
    }
    let keys = index(entries.iter().map(|e| e.key.as_str()), |key| {
        ModelError::DuplicateKey { key }
    })?;
    Ok((entries, keys))
}

/// Maps names to their positions; `duplicate` makes the error for one that occurs twice.
fn index<'a>(
    names: impl Iterator<Item = &'a str>,
    duplicate: impl Fn(String) -> ModelError,
) -> Result<HashMap<String, usize>, ModelError> {
    let mut positions = HashMap::new();
    for (i, name) in names.enumerate() {
        if positions.insert(name.to_owned(), i).is_some() {
            return Err(duplicate(printable(name)));
        }
    }
    Ok(positions)
}

fn read_alignment(file: &[u8], entry: &Entry) -> Result<u32, ModelError> {
    let value = Value::read(entry.kind, &mut Reader::new(&file[entry.bytes.clone()]))?;
    let found = u32::from_value(&value).ok_or_else(|| ModelError::WrongValue {
        key: entry.key.clone(),
        found: value.describe(),
        wanted: u32::WANTED,
    })?;
    if found.is_power_of_two() && found <= ALIGNMENT_LIMIT {
        Ok(found)
    } else {
        Err(ModelError::Alignment {
            found,
            limit: ALIGNMENT_LIMIT,
        })
    }
}

/// A tensor as the table describes it, before its data is placed.
struct TensorHead {
    name: String,
    format: BlockFormat,
    shape: Vec<usize>,
    size_bytes: usize,
    offset: u64,
}

fn read_heads(reader: &mut Reader<'_>, count: usize) -> Result<Vec<TensorHead>, ModelError> {
    (0..count).map(|_| read_head(reader)).collect()
}

fn read_head(reader: &mut Reader<'_>) -> Result<TensorHead, ModelError> {
    const WHAT: &str = "the tensor table";
    let name = reader.name(NAME_LIMIT_BYTES, "tensor name")?;
    let dimensions = reader.u32(WHAT)?;
    if dimensions == 0 || dimensions > DIMENSIONS_LIMIT {
        return Err(ModelError::Dimensions {
            tensor: printable(name),
            found: dimensions,
            limit: DIMENSIONS_LIMIT,
        });
    }
    let extents = (0..dimensions)
        .map(|_| reader.u64(WHAT))
        .collect::<Result<Vec<_>, _>>()?;
    let number = reader.u32(WHAT)?;
    let format = tensor_type::format(number).ok_or_else(|| ModelError::TensorType {
        tensor: printable(name),
        name: tensor_type::name(number),
        number,
    })?;
    Ok(TensorHead {
        name: name.to_owned(),
        format,
        shape: row_major(&extents, name)?,
        size_bytes: size_bytes(&extents, format, name)?,
        offset: reader.u64(WHAT)?,
    })
}

/// The file's dimensions, which start with the contiguous one, the other way round.
fn row_major(extents: &[u64], tensor: &str) -> Result<Vec<usize>, ModelError> {
    let wrong = |why| ModelError::Shape {
        tensor: printable(tensor),
        shape: extents.to_vec(),
        why,
    };
    if extents.contains(&0) {
        return Err(wrong("is empty"));
    }
    extents
        .iter()
        .rev()
        .map(|&extent| usize::try_from(extent).map_err(|_| wrong("is too large")))
        .collect()
}

fn size_bytes(extents: &[u64], format: BlockFormat, tensor: &str) -> Result<usize, ModelError> {
    let too_large = || ModelError::Shape {
        tensor: printable(tensor),
        shape: extents.to_vec(),
        why: "is too large",
    };
    let cols = usize::try_from(extents[0]).map_err(|_| too_large())?;
    if !cols.is_multiple_of(format.block_len()) {
        return Err(ModelError::RowLength {
            tensor: printable(tensor),
            format: format.name(),
            cols,
            block_len: format.block_len(),
        });
    }
    let row_bytes = format.row_bytes(cols).ok_or_else(too_large)?;
    extents[1..]
        .iter()
        .try_fold(row_bytes, |size, &extent| {
            size.checked_mul(extent.try_into().ok()?)
        })
        .ok_or_else(too_large)
}

/// From the first aligned byte behind the tensor table to the end of the file.
fn data_range(
    reader: &Reader<'_>,
    file: &[u8],
    alignment: u32,
    tensor_count: usize,
) -> Result<Range<usize>, ModelError> {
    let start = reader.position().next_multiple_of(alignment as usize);
    if start <= file.len() {
        return Ok(start..file.len());
    }
    if tensor_count == 0 {
        return Ok(file.len()..file.len());
    }
    Err(ModelError::Truncated {
        what: "the padding before the tensor data",
        offset: reader.position(),
        wanted_bytes: (start - reader.position()) as u64,
        left_bytes: reader.left(),
    })
}

fn place(
    heads: Vec<TensorHead>,
    alignment: u32,
    data: &Range<usize>,
) -> Result<Vec<TensorEntry>, ModelError> {
    heads
        .into_iter()
        .map(|head| {
            if !head.offset.is_multiple_of(u64::from(alignment)) {
                return Err(ModelError::TensorOffset {
                    tensor: printable(&head.name),
                    offset: head.offset,
                    alignment,
                });
            }
            let bytes = bytes_within(&head, data).ok_or_else(|| ModelError::TensorBeyondFile {
                tensor: printable(&head.name),
                offset: head.offset,
                size_bytes: head.size_bytes,
                data_bytes: data.len(),
            })?;
            Ok(TensorEntry {
                name: head.name,
                format: head.format,
                shape: head.shape,
                bytes,
            })
        })
        .collect()
}

fn bytes_within(head: &TensorHead, data: &Range<usize>) -> Option<Range<usize>> {
    let start = data.start.checked_add(head.offset.try_into().ok()?)?;
    let end = start.checked_add(head.size_bytes)?;
    (end <= data.end).then_some(start..end)
}

/// Tensors that share bytes would let a small file ask for much memory.
fn check_overlaps(tensors: &[TensorEntry]) -> Result<(), ModelError> {
    let mut order: Vec<&TensorEntry> = tensors.iter().collect();
    order.sort_by_key(|t| t.bytes.start);
    match order.windows(2).find(|w| w[0].bytes.end > w[1].bytes.start) {
        Some(pair) => Err(ModelError::Overlap {
            first: printable(&pair[0].name),
            second: printable(&pair[1].name),
        }),
        None => Ok(()),
    }
}
