//! The header of a safetensors file and where it says that tensors lie.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{Entry, NumberType};
use crate::ModelError;
use crate::gguf::printable;

/// The length of the header stands in this many bytes.
const LENGTH_BYTES: usize = 8;
/// The longest header, as in the format's own implementation: a file of 100,000 tensors has a
/// tenth of that.
const HEADER_LIMIT_BYTES: u64 = 100_000_000;
/// Tensors of models have four dimensions at most.
const DIMENSIONS_LIMIT: u32 = 4;

/// Reads and checks the header: the tensors and their positions by name.
pub(super) fn read(file: &[u8]) -> Result<(Vec<Entry>, HashMap<String, usize>), ModelError> {
    let text = text(file)?;
    let data_start = LENGTH_BYTES + text.len();
    let Listing(heads) =
        serde_json::from_slice(text).map_err(|error| json("the header", &error))?;
    let data = data_start..file.len();
    let mut tensors = Vec::with_capacity(heads.len());
    let mut names = HashMap::new();
    for (name, head) in heads {
        if names.insert(name.clone(), tensors.len()).is_some() {
            return Err(ModelError::DuplicateTensor {
                tensor: printable(&name),
            });
        }
        tensors.push(head.place(name, &data)?);
    }
    check_filled(&tensors, &data)?;
    Ok((tensors, names))
}

/// The bytes of the header.
fn text(file: &[u8]) -> Result<&[u8], ModelError> {
    let truncated = |wanted_bytes, left: &[u8]| ModelError::Truncated {
        what: "the header",
        offset: file.len() - left.len(),
        wanted_bytes,
        left_bytes: left.len(),
    };
    let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(truncated(LENGTH_BYTES as u64, file));
    };
    let found_bytes = u64::from_le_bytes(*length);
    if found_bytes > HEADER_LIMIT_BYTES {
        return Err(ModelError::LongHeader {
            found_bytes,
            limit_bytes: HEADER_LIMIT_BYTES,
        });
    }
    rest.get(..found_bytes as usize)
        .ok_or_else(|| truncated(found_bytes, rest))
}

/// What a parser says of JSON from a file, on one line.
pub(crate) fn json(what: &'static str, error: &serde_json::Error) -> ModelError {
    ModelError::Json {
        what,
        reason: printable(&error.to_string()),
    }
}

/// All tensors of a header in its order. A map would hide names that occur twice.
struct Listing(Vec<(String, Head)>);

/// A tensor as the header describes it.
#[derive(Deserialize)]
struct Head {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Listing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ListingVisitor)
    }
}

struct ListingVisitor;

impl<'de> Visitor<'de> for ListingVisitor {
    type Value = Listing;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map from names to tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listing, A::Error> {
        let mut heads = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
            } else {
                heads.push((name, map.next_value()?));
            }
        }
        Ok(Listing(heads))
    }
}

impl Head {
    /// The tensor in the file whose tensor data lies at `data`.
    fn place(self, name: String, data: &Range<usize>) -> Result<Entry, ModelError> {
        let tensor = || printable(&name);
        let number_type = NumberType::named(&self.dtype).ok_or_else(|| ModelError::NumberType {
            tensor: tensor(),
            found: printable(&self.dtype),
        })?;
        let (shape, wanted_bytes) = self.sizes(&name, number_type)?;
        let [start, end] = self.data_offsets;
        if end.checked_sub(start) != Some(wanted_bytes as u64) {
            return Err(ModelError::TensorSize {
                tensor: tensor(),
                found_bytes: end.saturating_sub(start),
                wanted_bytes,
            });
        }
        if end > data.len() as u64 {
            return Err(ModelError::TensorBeyondFile {
                tensor: tensor(),
                offset: start,
                size_bytes: wanted_bytes,
                data_bytes: data.len(),
            });
        }
        Ok(Entry {
            number_type,
            shape,
            bytes: data.start + start as usize..data.start + end as usize,
            name,
        })
    }

    /// The shape and the bytes that it takes.
    fn sizes(&self, name: &str, number: NumberType) -> Result<(Vec<usize>, usize), ModelError> {
        let dimensions = self.shape.len();
        if dimensions > DIMENSIONS_LIMIT as usize {
            return Err(ModelError::Dimensions {
                tensor: printable(name),
                found: u32::try_from(dimensions).unwrap_or(u32::MAX),
                limit: DIMENSIONS_LIMIT,
            });
        }
        let wrong = |why| ModelError::Shape {
            tensor: printable(name),
            shape: self.shape.clone(),
            why,
        };
        if self.shape.contains(&0) {
            return Err(wrong("is empty"));
        }
        let shape: Option<Vec<usize>> = self.shape.iter().map(|&n| n.try_into().ok()).collect();
        let shape = shape.ok_or_else(|| wrong("is too large"))?;
        let size_bytes = shape
            .iter()
            .try_fold(number.size_bytes(), |size, &n| size.checked_mul(n))
            .ok_or_else(|| wrong("is too large"))?;
        Ok((shape, size_bytes))
    }
}

/// The format wants every byte of the data to belong to one tensor.
fn check_filled(tensors: &[Entry], data: &Range<usize>) -> Result<(), ModelError> {
    let mut order: Vec<&Entry> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.bytes.start);
    if let Some(pair) = order.windows(2).find(|w| w[0].bytes.end > w[1].bytes.start) {
        return Err(ModelError::Overlap {
            first: printable(&pair[0].name),
            second: printable(&pair[1].name),
        });
    }
    let ends = order.iter().map(|tensor| tensor.bytes.end);
    let starts = order.iter().map(|tensor| tensor.bytes.start);
    let gaps = std::iter::once(data.start)
        .chain(ends)
        .zip(starts.chain([data.end]));
    match gaps.into_iter().find(|(end, start)| end < start) {
        Some((end, start)) => Err(ModelError::Gap {
            offset: end - data.start,
            gap_bytes: start - end,
        }),
        None => Ok(()),
    }
}
