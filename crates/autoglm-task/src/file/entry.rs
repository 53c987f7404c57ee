//! Typed access to spanned TOML: a value that is not what was wanted becomes an error with its
//! key, its line, what was found and what was wanted.

use std::ops::{Range, RangeInclusive};

use serde_json::{Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::FileError;
use super::keys::{KEYS, Key, likely_key};
use crate::remark::{Remark, line_of};

/// A table of the file.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    text: &'a str,
    path: &'a str,
    span: (usize, usize),
    entries: &'a DeTable<'a>,
}

/// A value of the file under its key.
pub(super) struct Entry<'a> {
    text: &'a str,
    pub(super) key: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Section<'a> {
    pub(super) fn root(text: &'a str, entries: &'a DeTable<'a>) -> Self {
        Self {
            text,
            path: "",
            span: (0, 0),
            entries,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Entry<'a>> {
        let key = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        let value = self.entries.get(name)?;
        Some(Entry {
            text: self.text,
            key,
            value,
        })
    }

    /// The error for a key that is not there.
    pub(super) fn missing(&self, name: &str, wanted: &str) -> FileError {
        FileError::Missing {
            line: line_of(self.text, self.span.0),
            key: if self.path.is_empty() {
                name.to_owned()
            } else {
                format!("{}.{name}", self.path)
            },
            wanted: wanted.to_owned(),
        }
    }

    /// Remarks on the keys that this table of the file does not have.
    pub(super) fn unknown_keys(&self, table: &str) -> Vec<Remark> {
        let known = |name: &str| {
            KEYS.iter().any(|key| {
                let own = key.table() == table && key.name() == name;
                own || table.is_empty() && key.table() == name
            })
        };
        self.keys()
            .filter(|(name, _)| !known(name))
            .map(|(name, span)| unknown_key(table, name, span))
            .collect()
    }

    /// Remarks on keys other than the given ones.
    pub(super) fn keys_but(&self, known: &[&str]) -> Vec<Remark> {
        let unknown = self.keys().filter(|(name, _)| !known.contains(name));
        unknown
            .map(|(name, span)| {
                let wanted = known
                    .iter()
                    .map(|key| format!("`{key}`"))
                    .collect::<Vec<_>>()
                    .join(", ");
                Remark::warning(span, format!("unknown key `{name}`"))
                    .suggest(format!("known are {wanted}"))
            })
            .collect()
    }

    /// The names of the entries with their places.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'a str, Range<usize>)> + use<'a> {
        self.entries
            .keys()
            .map(|key| (key.get_ref().as_ref(), key.span()))
    }

    /// The table as JSON.
    pub(super) fn json(&self) -> Option<serde_json::Map<String, Value>> {
        let entries = self.entries.iter();
        entries
            .map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)))
            .collect()
    }
}

fn unknown_key(table: &str, name: &str, span: Range<usize>) -> Remark {
    let remark = Remark::warning(span, format!("unknown key `{name}`, it has no effect"));
    if let Some(likely) = likely_key(table, name) {
        return remark.suggest(format!("did you mean `{likely}`?"));
    }
    let here = KEYS.iter().filter(|key| key.table() == table);
    let names: Vec<&str> = here.map(Key::name).collect();
    remark.suggest(format!("known are {}", names.join(", ")))
}

impl<'a> Entry<'a> {
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// The error for a value that is not what was wanted.
    pub(super) fn not(&self, wanted: impl Into<String>) -> FileError {
        self.got(self.shown(), wanted)
    }

    /// The error for a value about which something particular is wrong.
    pub(super) fn got(&self, found: impl Into<String>, wanted: impl Into<String>) -> FileError {
        FileError::Invalid {
            line: line_of(self.text, self.value.span().start),
            key: self.key.clone(),
            found: found.into(),
            wanted: wanted.into(),
        }
    }

    /// The value as it is written, shortened.
    fn shown(&self) -> String {
        match self.value.get_ref() {
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Array(items) if items.is_empty() => "an empty list".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            _ => {
                let source = self.text.get(self.value.span()).unwrap_or_default();
                let short: String = source.chars().take(40).collect();
                let more = if short.len() < source.len() {
                    "…"
                } else {
                    ""
                };
                format!("`{}{more}`", short.replace('\n', "\\n"))
            }
        }
    }

    pub(super) fn string(&self, wanted: &str) -> Result<&'a str, FileError> {
        self.value
            .get_ref()
            .as_str()
            .ok_or_else(|| self.not(wanted))
    }

    /// A text, or a number or truth value as text.
    pub(super) fn scalar(&self, wanted: &str) -> Result<String, FileError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            value @ (DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_)) => json(value)
                .map(|value| value.to_string())
                .ok_or_else(|| self.not(wanted)),
            _ => Err(self.not(wanted)),
        }
    }

    pub(super) fn number(&self, range: RangeInclusive<f32>) -> Result<f32, FileError> {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        let value = json(self.value.get_ref()).and_then(|value| value.as_f64());
        let value = value
            .map(|value| value as f32)
            .filter(|value| range.contains(value));
        value.ok_or_else(|| self.not(wanted))
    }

    /// A whole number; one that TOML cannot hold may stand in quotes.
    pub(super) fn whole(&self, range: RangeInclusive<u64>) -> Result<u64, FileError> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let value = match self.value.get_ref() {
            DeValue::Integer(_) => json(self.value.get_ref()).and_then(|value| value.as_u64()),
            DeValue::String(digits) => digits.parse().ok(),
            _ => None,
        };
        value
            .filter(|value| range.contains(value))
            .ok_or_else(|| self.not(wanted))
    }

    /// True or false.
    pub(super) fn truth(&self) -> Result<bool, FileError> {
        let truth = self.value.get_ref().as_bool();
        truth.ok_or_else(|| self.not("true or false"))
    }

    pub(super) fn list(&self, wanted: &str) -> Result<Vec<Entry<'a>>, FileError> {
        let items = self
            .value
            .get_ref()
            .as_array()
            .ok_or_else(|| self.not(wanted))?;
        let entry = |(index, value)| Entry {
            text: self.text,
            key: format!("{}[{}]", self.key, index + 1),
            value,
        };
        Ok(items.iter().enumerate().map(entry).collect())
    }

    pub(super) fn section<'b>(&'b self, wanted: &str) -> Result<Section<'b>, FileError>
    where
        'a: 'b,
    {
        let entries = self
            .value
            .get_ref()
            .as_table()
            .ok_or_else(|| self.not(wanted))?;
        let span = self.value.span();
        Ok(Section {
            text: self.text,
            path: &self.key,
            span: (span.start, span.end),
            entries,
        })
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(super) fn is_string(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// The value as JSON; `None` for dates and numbers that JSON cannot hold.
    pub(super) fn json(&self) -> Option<Value> {
        json(self.value.get_ref())
    }
}

fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => {
            let digits = integer.as_str();
            Value::from(i64::from_str_radix(digits, integer.radix()).ok()?)
        }
        DeValue::Float(float) => Value::Number(Number::from_f64(float.as_str().parse().ok()?)?),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| json(item.get_ref()))
                .collect::<Option<_>>()?,
        ),
        DeValue::Table(entries) => {
            let pair = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                Some((key.to_string(), json(value.get_ref())?))
            };
            Value::Object(entries.iter().map(pair).collect::<Option<_>>()?)
        }
    })
}
