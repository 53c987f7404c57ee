//! What a model class calls its settings and tensors, and the metadata made from its settings.

use std::collections::BTreeMap;

use super::{Change, Settings};
use crate::error::ModelError;
use crate::gguf::{Value, printable};

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
    /// Whether the head is the embedding where the settings do not say.
    pub(crate) tied: bool,
    /// How a tensor is changed, by its name in GGUF.
    pub(crate) change: fn(&str, &Metadata) -> Change,
}

/// A name in a folder and the same in GGUF; `{}` in both stands for the number of a layer.
pub(crate) type Rename = (&'static str, &'static str);

impl Class {
    /// The metadata of a model with these settings.
    pub(super) fn metadata(&self, settings: &Settings) -> Result<Metadata, ModelError> {
        let mut metadata = Metadata::new(self.architecture);
        (self.configure)(settings, &mut metadata)?;
        Ok(metadata)
    }

    /// Whether the output head is the embedding.
    pub(super) fn is_tied(&self, settings: &Settings) -> Result<bool, ModelError> {
        Ok(settings
            .boolean("tie_word_embeddings")?
            .unwrap_or(self.tied))
    }

    /// The name in GGUF of a folder's tensor, or nothing where it is of no interest.
    pub(super) fn name_of(&self, stored: &str) -> Result<Option<String>, ModelError> {
        if self
            .ignored
            .iter()
            .any(|pattern| layer_in(pattern, stored).is_some())
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

    fn renamed(&self, stored: &str) -> Option<String> {
        let (stem, kind) = stored.rsplit_once('.')?;
        let mut renames = self.tensors.iter().copied().flatten();
        let (layer, to) = renames.find_map(|(from, to)| Some((layer_in(from, stem)?, to)))?;
        let biased = to.starts_with("blk.") && !to.ends_with("norm");
        if kind != "weight" && !(kind == "bias" && biased) {
            return None;
        }
        Some(format!("{}.{kind}", to.replace("{}", layer)))
    }
}

/// Matches a name with a pattern: the number of the layer where the pattern has one, else
/// nothing.
fn layer_in<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let Some((before, behind)) = pattern.split_once("{}") else {
        return (pattern == name).then_some("");
    };
    let number = name.strip_prefix(before)?.strip_suffix(behind)?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = number == "0" || !number.starts_with('0');
    (digits && canonical).then_some(number)
}

/// Metadata under GGUF's keys, made from a folder's settings.
#[derive(Debug)]
pub(crate) struct Metadata {
    architecture: &'static str,
    values: BTreeMap<String, Scalar>,
    frequency_factors: Option<Vec<f32>>,
}

/// A value of metadata.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Number(u64),
    Float(f64),
    Text(String),
}

impl Scalar {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Number(number) => Value::Unsigned(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Text(text) => Value::Text(text.as_bytes()),
        }
    }
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
            values: BTreeMap::from([name]),
            frequency_factors: None,
        }
    }

    /// Sets a key of the architecture, given without its name.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Scalar>) {
        self.values
            .insert(format!("{}.{key}", self.architecture), value.into());
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

    pub(super) fn value(&self, key: &str) -> Option<Value<'_>> {
        self.values.get(key).map(Scalar::value)
    }

    /// All keys and values, sorted by key.
    pub(super) fn all(&self) -> Vec<(&str, Value<'_>)> {
        let values = self.values.iter();
        values
            .map(|(key, value)| (key.as_str(), value.value()))
            .collect()
    }
}
