//! The settings in `config.json`, read with types checked. A `null` is a setting left out.

use serde_json::{Map, Value};

use crate::error::ModelError;
use crate::gguf::{missing_key, printable, wrong_value};
use crate::safetensors::json;

/// The settings, or a section of them.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What stands before a key in messages.
    prefix: String,
    values: Map<String, Value>,
}

impl Settings {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, ModelError> {
        let values =
            serde_json::from_slice(text).map_err(|error| json("the configuration", &error))?;
        Ok(Self {
            prefix: String::new(),
            values,
        })
    }

    /// A section within the settings.
    pub(crate) fn section(&self, key: &str) -> Result<Option<Self>, ModelError> {
        self.typed(key, "a map", |value| {
            let values = value.as_object()?.clone();
            let prefix = format!("{}{key}.", self.prefix);
            Some(Self { prefix, values })
        })
    }

    /// The keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A number of things.
    pub(crate) fn number(&self, key: &str) -> Result<Option<usize>, ModelError> {
        // Some tools write whole numbers as 128.0.
        let whole = |x: f64| (x.fract() == 0.0 && (0.0..=1e15).contains(&x)).then_some(x as usize);
        self.typed(key, "a whole number that is not negative", |value| {
            let number = value.as_u64().and_then(|n| n.try_into().ok());
            number.or_else(|| value.as_f64().and_then(whole))
        })
    }

    /// A number of things that must be there.
    pub(crate) fn require_number(&self, key: &str) -> Result<usize, ModelError> {
        self.number(key)?.ok_or_else(|| self.missing(key))
    }

    /// A real number.
    pub(crate) fn float(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// A real number that must be there.
    pub(crate) fn require_float(&self, key: &str) -> Result<f64, ModelError> {
        self.float(key)?.ok_or_else(|| self.missing(key))
    }

    /// A switch.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A word.
    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, ModelError> {
        self.typed(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A list of words.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, ModelError> {
        self.typed(key, "a list of strings", |value| {
            let items = value.as_array()?.iter();
            items.map(|item| item.as_str().map(str::to_owned)).collect()
        })
    }

    /// Fails unless a word is the only one that is supported, or left out.
    pub(crate) fn expect_text(&self, key: &str, wanted: &'static str) -> Result<(), ModelError> {
        match self.text(key)? {
            Some(found) if found != wanted => Err(self.wrong(key, wanted)),
            _ => Ok(()),
        }
    }

    /// Fails where a switch has another value than the only one that is supported.
    pub(crate) fn expect_boolean(&self, key: &str, wanted: bool) -> Result<(), ModelError> {
        let word = if wanted { "true" } else { "false" };
        match self.boolean(key)? {
            Some(found) if found != wanted => Err(self.wrong(key, word)),
            _ => Ok(()),
        }
    }

    /// Fails where a setting that is not supported has a value.
    pub(crate) fn expect_nothing(&self, key: &str) -> Result<(), ModelError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(self.wrong(key, "null: this is not supported")),
        }
    }

    /// An error that names a setting with the value that it has.
    pub(crate) fn wrong(&self, key: &str, wanted: &'static str) -> ModelError {
        let found = match self.values.get(key).unwrap_or(&Value::Null) {
            Value::String(text) => format!("\"{}\"", printable(text)),
            other => printable(&other.to_string()),
        };
        wrong_value(&self.name(key), found, wanted)
    }

    fn missing(&self, key: &str) -> ModelError {
        missing_key(&self.name(key))
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn typed<T>(
        &self,
        key: &str,
        wanted: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.wrong(key, wanted)),
            },
        }
    }
}
