//! The texts to embed: of the command line, or a field of records.

use std::io::BufRead;

use autoglm_spec::{Field, Record};
use autoglm_task::records::{NumberedRecord, RecordError, Records};
use serde_json::Value;

use super::EmbedArgs;
use crate::streams::OpenInput;

/// A text with where it is from.
pub(super) struct Entry {
    /// The line of its record, where it is from one.
    pub(super) line: Option<u64>,
    /// The text, or what is wrong with its record.
    pub(super) text: Result<String, String>,
}

/// The texts, in order.
pub(super) enum Texts {
    Given(std::vec::IntoIter<String>),
    Read {
        input: Box<OpenInput>,
        field: String,
    },
}

impl Texts {
    /// Opens the texts that the arguments name.
    ///
    /// # Errors
    /// An input that cannot be read.
    pub(super) fn open(args: &EmbedArgs) -> anyhow::Result<Self> {
        if !args.texts.is_empty() {
            return Ok(Self::Given(args.texts.clone().into_iter()));
        }
        let field = Field {
            name: args.field.clone(),
            title: args.field.clone(),
        };
        Ok(Self::Read {
            input: Box::new(args.input.open(&[field])?),
            field: args.field.clone(),
        })
    }

    /// How many there are, where it is known.
    pub(super) fn total(&self) -> Option<u64> {
        match self {
            Self::Given(texts) => Some(texts.len() as u64),
            Self::Read { input, .. } => input.total(None),
        }
    }

    /// The next texts, at most so many and about so many bytes; none at the end.
    ///
    /// # Errors
    /// An input that cannot be read on.
    pub(super) fn next_batch(
        &mut self,
        limit: usize,
        limit_bytes: usize,
    ) -> Result<Vec<Entry>, RecordError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < limit && bytes < limit_bytes {
            let Some(entry) = self.next_entry()? else {
                break;
            };
            bytes += entry.text.as_ref().map_or(0, String::len);
            batch.push(entry);
        }
        Ok(batch)
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, RecordError> {
        match self {
            Self::Given(texts) => Ok(texts.next().map(|text| Entry {
                line: None,
                text: Ok(text),
            })),
            Self::Read { input, field } => read_entry(&mut input.records, field),
        }
    }
}

fn read_entry<R: BufRead>(
    records: &mut Records<R>,
    field: &str,
) -> Result<Option<Entry>, RecordError> {
    Ok(match records.next() {
        None => None,
        Some(Err(error)) if error.is_fatal() => return Err(error),
        Some(Err(error)) => Some(Entry {
            line: Some(error.line()),
            text: Err(error.to_string().replace('\n', "; ")),
        }),
        Some(Ok(NumberedRecord { line, record })) => Some(Entry {
            line: Some(line),
            text: text_of(&record, field, line),
        }),
    })
}

/// The text in a field of a record.
fn text_of(record: &Record, field: &str, line: u64) -> Result<String, String> {
    match record.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!(
            "line {line}: the field {field:?} is {other}, want a text"
        )),
        None => {
            let names: Vec<&str> = record.keys().map(String::as_str).collect();
            Err(format!(
                "line {line}: there is no field {field:?}, the record has {}",
                names.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_without_the_field_is_told_with_the_fields_that_it_has() {
        let Value::Object(record) = json!({"title": "a", "body": 3}) else {
            unreachable!()
        };
        assert_eq!(text_of(&record, "title", 7), Ok("a".to_owned()));
        assert_eq!(
            text_of(&record, "text", 7),
            Err("line 7: there is no field \"text\", the record has title, body".to_owned())
        );
        assert_eq!(
            text_of(&record, "body", 7),
            Err("line 7: the field \"body\" is 3, want a text".to_owned())
        );
    }
}
