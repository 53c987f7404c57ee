//! Metadata values: their types, how they are skipped and how they are read.

use super::reader::Reader;
use crate::ModelError;

/// Arrays of arrays are read this deep. Files in use have no nested array at all.
const NESTING_LIMIT: usize = 4;

/// The type of a metadata value, with GGUF's numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// Reads the type of the value of `key`.
    pub(super) fn read(reader: &mut Reader<'_>, key: &str) -> Result<Self, ModelError> {
        let number = reader.u32("a metadata value's type")?;
        Self::ALL
            .get(number as usize)
            .copied()
            .ok_or_else(|| ModelError::ValueType {
                key: super::printable(key),
                number,
            })
    }

    /// Its number in files.
    pub(super) fn number(self) -> u32 {
        self as u32
    }

    /// Bytes of one value; for strings and arrays, of the shortest.
    fn smallest_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::String => 8,
            Self::Array => 12,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }

    /// Steps over one value and checks that it is well formed. Allocates nothing.
    pub(super) fn skip(self, reader: &mut Reader<'_>, key: &str) -> Result<(), ModelError> {
        self.skip_many(reader, 1, key, 0)
    }

    fn skip_many(
        self,
        reader: &mut Reader<'_>,
        count: usize,
        key: &str,
        depth: usize,
    ) -> Result<(), ModelError> {
        match self {
            Self::String => {
                for _ in 0..count {
                    reader.string("a metadata string")?;
                }
            }
            Self::Array => {
                for _ in 0..count {
                    skip_array(reader, key, depth)?;
                }
            }
            Self::Bool => {
                let bytes = reader.take(count as u64, "a metadata value")?;
                if let Some(&found) = bytes.iter().find(|&&byte| byte > 1) {
                    return Err(ModelError::Bool {
                        key: super::printable(key),
                        found,
                    });
                }
            }
            _ => {
                let bytes = count as u64 * self.smallest_bytes() as u64;
                reader.take(bytes, "a metadata value")?;
            }
        }
        Ok(())
    }
}

fn skip_array(reader: &mut Reader<'_>, key: &str, depth: usize) -> Result<(), ModelError> {
    if depth == NESTING_LIMIT {
        return Err(ModelError::Nesting {
            key: super::printable(key),
            limit: NESTING_LIMIT,
        });
    }
    let element = ValueType::read(reader, key)?;
    let count = reader.count(element.smallest_bytes(), "length of a metadata array")?;
    element.skip_many(reader, count, key, depth + 1)
}

/// A metadata value, read in place.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Value<'a> {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A floating-point number of either width.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text. GGUF says that it is UTF-8, which is checked where it is used.
    Text(&'a [u8]),
    /// A list of values of one type.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// Reads a value that [`ValueType::skip`] has stepped over before.
    pub(super) fn read(kind: ValueType, reader: &mut Reader<'a>) -> Result<Self, ModelError> {
        const WHAT: &str = "a metadata value";
        Ok(match kind {
            ValueType::U8 => Self::Unsigned(u8::from_le_bytes(reader.array(WHAT)?).into()),
            ValueType::I8 => Self::Signed(i8::from_le_bytes(reader.array(WHAT)?).into()),
            ValueType::U16 => Self::Unsigned(u16::from_le_bytes(reader.array(WHAT)?).into()),
            ValueType::I16 => Self::Signed(i16::from_le_bytes(reader.array(WHAT)?).into()),
            ValueType::U32 => Self::Unsigned(reader.u32(WHAT)?.into()),
            ValueType::I32 => Self::Signed(i32::from_le_bytes(reader.array(WHAT)?).into()),
            ValueType::F32 => Self::Float(f32::from_le_bytes(reader.array(WHAT)?).into()),
            ValueType::Bool => Self::Bool(reader.array::<1>(WHAT)? != [0]),
            ValueType::String => Self::Text(reader.string(WHAT)?),
            ValueType::Array => Self::Array(Array::read(reader)?),
            ValueType::U64 => Self::Unsigned(reader.u64(WHAT)?),
            ValueType::I64 => Self::Signed(i64::from_le_bytes(reader.array(WHAT)?)),
            ValueType::F64 => Self::Float(f64::from_le_bytes(reader.array(WHAT)?)),
        })
    }

    /// The value in a few words, for messages and listings.
    pub fn describe(&self) -> String {
        match self {
            Self::Unsigned(n) => n.to_string(),
            Self::Signed(n) => n.to_string(),
            Self::Float(x) => format!("{x:?}"),
            Self::Bool(b) => b.to_string(),
            Self::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => format!("\"{}\"", super::printable(text)),
                Err(_) => "a string that is not UTF-8".to_owned(),
            },
            Self::Array(a) => format!("an array of {} {}", a.len, a.element.name()),
        }
    }
}

/// A list of metadata values of one type, read in place.
#[derive(Debug, Clone)]
pub struct Array<'a> {
    element: ValueType,
    len: usize,
    elements: Reader<'a>,
}

impl<'a> Array<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, ModelError> {
        let element = ValueType::read(reader, "")?;
        let len = reader.count(element.smallest_bytes(), "length of a metadata array")?;
        let elements = reader.clone();
        element.skip_many(reader, len, "", 0)?;
        Ok(Self {
            element,
            len,
            elements,
        })
    }

    /// The values, first to last.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let element = self.element;
        let mut reader = self.elements.clone();
        (0..self.len).map_while(move |_| Value::read(element, &mut reader).ok())
    }
}

/// A Rust type that a metadata value can be read as. Integers and floats of every width convert
/// as long as the value fits.
pub trait FromValue<'a>: Sized {
    /// What must be in the file, in words.
    const WANTED: &'static str;

    /// Reads the value, or nothing where it has another type or does not fit.
    fn from_value(value: &Value<'a>) -> Option<Self>;
}

impl<'a> FromValue<'a> for u32 {
    const WANTED: &'static str = "an integer from 0 to 4294967295";

    fn from_value(value: &Value<'a>) -> Option<Self> {
        match *value {
            Value::Unsigned(n) => n.try_into().ok(),
            Value::Signed(n) => n.try_into().ok(),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for i32 {
    const WANTED: &'static str = "an integer from -2147483648 to 2147483647";

    fn from_value(value: &Value<'a>) -> Option<Self> {
        match *value {
            Value::Unsigned(n) => n.try_into().ok(),
            Value::Signed(n) => n.try_into().ok(),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for usize {
    const WANTED: &'static str = "a size";

    fn from_value(value: &Value<'a>) -> Option<Self> {
        match *value {
            Value::Unsigned(n) => n.try_into().ok(),
            Value::Signed(n) => n.try_into().ok(),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for f32 {
    const WANTED: &'static str = "a floating-point number";

    fn from_value(value: &Value<'a>) -> Option<Self> {
        match *value {
            Value::Float(x) => Some(x as f32),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for bool {
    const WANTED: &'static str = "a bool";

    fn from_value(value: &Value<'a>) -> Option<Self> {
        match *value {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const WANTED: &'static str = "a UTF-8 string";

    fn from_value(value: &Value<'a>) -> Option<Self> {
        match *value {
            Value::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

/// The elements of an array, or the description of the value that is not as wanted.
pub(super) fn elements<'a, T: FromValue<'a>>(value: &Value<'a>) -> Result<Vec<T>, String> {
    let Value::Array(array) = value else {
        return Err(value.describe());
    };
    array
        .iter()
        .enumerate()
        .map(|(i, v)| T::from_value(&v).ok_or_else(|| format!("{} at index {i}", v.describe())))
        .collect()
}
