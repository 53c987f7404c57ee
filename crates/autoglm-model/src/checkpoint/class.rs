//! What a model class calls its settings and tensors, and the metadata made from its settings.

use std::collections::HashMap;

use super::{Change, Settings};
use crate::error::ModelError;
use crate::gguf::{Entries, Value, printable};

/// A class of models as `config.json` names it.
pub(crate) struct Class {
    /// The class.
    pub(crate) name: &'static str,
    /// The architecture as GGUF names it.
    pub(crate) architecture: &'static str,
    /// Turns settings into metadata.
    pub(crate) configure: fn(&Settings, &mut Metadata) -> Result<(), ModelError>,
    /// Names of tensors without `.weight` or `.bias`, in lists that classes share.
    pub(crate) tensors: &'static [&'static [Rename]],
    /// Names of tensors that say nothing that the settings do not say.
    pub(crate) ignored: &'static [&'static str],
    /// What the output head is.
    pub(crate) head: Head,
    /// How a tensor is changed, by its name in GGUF.
    pub(crate) change: fn(&str, &Metadata) -> Change,
}

/// The output head of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// A matrix of its own where the settings do not say otherwise.
    Own,
    /// The embedding where the settings do not say otherwise.
    Tied,
    /// There is none: hidden states are the result.
    Absent,
}

/// A name in a folder and the same in GGUF; `{}` in both stands for the number of a layer. A second
/// `{}` in the first is the number of an expert: such tensors are stacked. Where the kind of a
/// tensor changes too, both names end with it.
pub(crate) type Rename = (&'static str, &'static str);

/// Where a folder's tensor goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// The name in GGUF.
    pub(super) name: String,
    /// Which matrix of a stack it is.
    pub(super) part: Option<usize>,
}

impl Class {
    /// The metadata of a model with these settings.
    pub(super) fn metadata(&self, settings: &Settings) -> Result<Metadata, ModelError> {
        let mut metadata = Metadata::new(self.architecture);
        (self.configure)(settings, &mut metadata)?;
        Ok(metadata)
    }

    /// Whether there is a matrix of the output head's own.
    pub(super) fn has_head(&self, settings: &Settings) -> Result<bool, ModelError> {
        let tied = settings.boolean("tie_word_embeddings")?;
        Ok(match self.head {
            Head::Own => !tied.unwrap_or(false),
            Head::Tied => !tied.unwrap_or(true),
            Head::Absent => false,
        })
    }

    /// The name in GGUF of a folder's tensor, or nothing where it is of no interest.
    pub(super) fn name_of(&self, stored: &str) -> Result<Option<Destination>, ModelError> {
        if self
            .ignored
            .iter()
            .any(|pattern| numbers_in(pattern, stored).is_some())
        {
            return Ok(None);
        }
        self.renamed(stored)
            .map(Some)
            .ok_or_else(|| ModelError::UnknownTensor {
                tensor: printable(stored),
                class: self.name,
            })
    }

    /// How the tensor that GGUF names so is changed in a model with heads of this width.
    pub(crate) fn change_of(&self, name: &str, head_width: usize) -> Change {
        let mut metadata = Metadata::new(self.architecture);
        metadata.set("attention.key_length", head_width);
        (self.change)(name, &metadata)
    }

    /// The name in GGUF of a folder's tensor that is no part of a stack, where the class has it.
    pub(crate) fn single_name(&self, stored: &str) -> Option<String> {
        let destination = self.renamed(stored)?;
        destination.part.is_none().then_some(destination.name)
    }

    fn renamed(&self, stored: &str) -> Option<Destination> {
        let find = |name| {
            let mut renames = self.tensors.iter().copied().flatten();
            renames.find_map(|(from, to)| Some((numbers_in(from, name)?, *to)))
        };
        if let Some(((layer, part), to)) = find(stored) {
            let name = to.replace("{}", layer);
            return Some(Destination { name, part });
        }
        let (stem, kind) = stored.rsplit_once('.')?;
        let ((layer, part), to) = find(stem)?;
        let biased = to.starts_with("blk.") && !to.ends_with("norm");
        if kind != "weight" && !(kind == "bias" && biased) {
            return None;
        }
        let name = format!("{}.{kind}", to.replace("{}", layer));
        Some(Destination { name, part })
    }
}

/// Matches a name with a pattern: the number of the layer where the pattern has one, else
/// nothing, and the second number where it has two.
fn numbers_in<'a>(pattern: &str, name: &'a str) -> Option<(&'a str, Option<usize>)> {
    let Some((before, behind)) = pattern.split_once("{}") else {
        return (pattern == name).then_some(("", None));
    };
    let name = name.strip_prefix(before)?;
    let Some((between, behind)) = behind.split_once("{}") else {
        let layer = name.strip_suffix(behind)?;
        return is_number(layer).then_some((layer, None));
    };
    let (layer, part) = name.strip_suffix(behind)?.split_once(between)?;
    if !(is_number(layer) && is_number(part)) {
        return None;
    }
    Some((layer, Some(part.parse().ok()?)))
}

/// Whether a text is a number as it is written in names.
fn is_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

/// Metadata under GGUF's keys, made from a folder's settings.
#[derive(Debug)]
pub(crate) struct Metadata {
    architecture: &'static str,
    values: HashMap<String, Scalar>,
    frequency_factors: Option<Vec<f32>>,
}

/// A value of metadata.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Number(u64),
    Float(f64),
    Switch(bool),
    Text(String),
}

impl From<usize> for Scalar {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<f64> for Scalar {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Scalar {
    fn from(on: bool) -> Self {
        Self::Switch(on)
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Metadata {
    fn new(architecture: &'static str) -> Self {
        let name = ("general.architecture".to_owned(), architecture.into());
        Self {
            architecture,
            values: HashMap::from([name]),
            frequency_factors: None,
        }
    }

    /// Sets a key of the architecture, given without its name.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Scalar>) {
        self.values
            .insert(format!("{}.{key}", self.architecture), value.into());
    }

    /// Sets a key that is not the architecture's own.
    pub(crate) fn set_shared(&mut self, key: &str, value: impl Into<Scalar>) {
        self.values.insert(key.to_owned(), value.into());
    }

    /// Sets a key of the architecture where the settings have a value for it.
    pub(crate) fn set_some(&mut self, key: &str, value: Option<impl Into<Scalar>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Sets the divisors of the rotary frequencies, a tensor in GGUF.
    pub(crate) fn set_frequency_factors(&mut self, factors: Vec<f32>) {
        self.frequency_factors = Some(factors);
    }

    pub(super) fn frequency_factors(&self) -> Option<&[f32]> {
        self.frequency_factors.as_deref()
    }

    /// The value of a key of the architecture that is a number, or zero.
    pub(crate) fn number(&self, key: &str) -> usize {
        match self.values.get(&format!("{}.{key}", self.architecture)) {
            Some(Scalar::Number(number)) => *number as usize,
            _ => 0,
        }
    }

    /// The value of a key of the architecture that is a real number.
    pub(crate) fn float(&self, key: &str) -> Option<f64> {
        match self.values.get(&format!("{}.{key}", self.architecture)) {
            Some(Scalar::Float(number)) => Some(*number),
            _ => None,
        }
    }

    /// All values with the types that GGUF has for them, the architecture first.
    pub(super) fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        let mut sorted: Vec<_> = self.values.iter().collect();
        sorted.sort_by_key(|(key, _)| (*key != "general.architecture", *key));
        for (key, value) in sorted {
            match value {
                Scalar::Number(number) => match u32::try_from(*number) {
                    Ok(number) => entries.u32(key, number),
                    Err(_) => entries.u64(key, *number),
                },
                Scalar::Float(number) => entries.f32(key, *number as f32),
                Scalar::Switch(on) => entries.bool(key, *on),
                Scalar::Text(text) => entries.string(key, text),
            }
        }
        entries
    }

    pub(super) fn value(&self, key: &str) -> Option<Value<'_>> {
        Some(match self.values.get(key)? {
            Scalar::Number(number) => Value::Unsigned(*number),
            Scalar::Float(number) => Value::Float(*number),
            Scalar::Switch(on) => Value::Bool(*on),
            Scalar::Text(text) => Value::Text(text.as_bytes()),
        })
    }
}
