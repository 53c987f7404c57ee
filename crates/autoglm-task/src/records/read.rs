//! Reads records one by one.

use std::io::BufRead;

use autoglm_spec::Record;
use serde_json::Value;

use super::frame::{Frames, RECORD_LIMIT_BYTES};
use super::{InputFormat, RecordError};

/// A record with the line on which it starts, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedRecord {
    /// Line on which the record starts.
    pub line: u64,
    /// The record.
    pub record: Record,
}

/// The records of an input, in order. Blank lines are passed over, a malformed record is an item
/// and reading goes on behind it; after a fatal error there is nothing more.
pub struct Records<R> {
    frames: Frames<R>,
    format: InputFormat,
    first_field: String,
    columns: Option<Vec<String>>,
    ended: bool,
}

impl<R: BufRead> Records<R> {
    /// The records of `input`; bare strings and plain lines become the field `first_field`.
    pub fn new(input: R, format: InputFormat, first_field: &str) -> Self {
        Self::with_limit(input, format, first_field, RECORD_LIMIT_BYTES)
    }

    /// How the input is laid out.
    pub fn format(&self) -> InputFormat {
        self.format
    }

    pub(super) fn with_limit(
        input: R,
        format: InputFormat,
        first_field: &str,
        limit_bytes: usize,
    ) -> Self {
        Self {
            frames: Frames::new(input, format.delimiter(), limit_bytes),
            format,
            first_field: first_field.to_owned(),
            columns: None,
            ended: false,
        }
    }

    fn next_record(&mut self) -> Option<Result<NumberedRecord, RecordError>> {
        if let Some(delimiter) = self.format.delimiter()
            && self.columns.is_none()
        {
            match read_header(&mut self.frames, delimiter)? {
                Ok(columns) => self.columns = Some(columns),
                Err(error) => return Some(Err(error)),
            }
        }
        let (line, bytes) = match self.frames.next_frame()? {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error)),
        };
        let record = match (self.format.delimiter(), &self.columns) {
            (Some(delimiter), Some(columns)) => read_row(line, bytes, delimiter, columns),
            _ if self.format == InputFormat::Jsonl => read_json(line, bytes, &self.first_field),
            _ => text(line, bytes).map(|text| single(&self.first_field, text)),
        };
        Some(record.map(|record| NumberedRecord { line, record }))
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = Result<NumberedRecord, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.next_record();
        self.ended = match &item {
            None => true,
            Some(Err(error)) => error.is_fatal(),
            Some(Ok(_)) => false,
        };
        item
    }
}

/// How many records, malformed ones included, an input holds.
///
/// # Errors
/// Where the input cannot be read to its end.
pub fn count_records(input: impl BufRead, format: InputFormat) -> Result<u64, RecordError> {
    let mut frames = Frames::new(input, format.delimiter(), RECORD_LIMIT_BYTES);
    let mut count = 0;
    while let Some(frame) = frames.next_frame() {
        match frame {
            Err(error) if error.is_fatal() => return Err(error),
            _ => count += 1,
        }
    }
    Ok(match format.delimiter() {
        Some(_) => u64::saturating_sub(count, 1),
        None => count,
    })
}

fn read_header<R: BufRead>(
    frames: &mut Frames<R>,
    delimiter: u8,
) -> Option<Result<Vec<String>, RecordError>> {
    let header = frames.next_frame()?.and_then(|(line, bytes)| {
        let columns: Vec<String> = fields(line, bytes, delimiter)?;
        Ok((line, columns))
    });
    Some(match header {
        Ok((line, columns)) => match repeated(&columns) {
            Some(name) => Err(RecordError::RepeatedColumn { line, name }),
            None => Ok(columns),
        },
        Err(error @ RecordError::Io { .. }) => Err(error),
        Err(problem) => Err(RecordError::Header {
            problem: Box::new(problem),
        }),
    })
}

fn repeated(columns: &[String]) -> Option<String> {
    let mut sorted: Vec<&String> = columns.iter().collect();
    sorted.sort();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(twice[0].clone())
}

fn read_row(
    line: u64,
    bytes: &[u8],
    delimiter: u8,
    columns: &[String],
) -> Result<Record, RecordError> {
    let values = fields(line, bytes, delimiter)?;
    if values.len() != columns.len() {
        return Err(RecordError::FieldCount {
            line,
            found: values.len(),
            wanted: columns.len(),
        });
    }
    let values = values.into_iter().map(Value::String);
    Ok(columns.iter().cloned().zip(values).collect())
}

/// The fields of one CSV record, unquoted.
fn fields(line: u64, bytes: &[u8], delimiter: u8) -> Result<Vec<String>, RecordError> {
    let text = text(line, bytes)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        // A frame's newlines are inside quotes, and a carriage return is a character.
        .terminator(csv::Terminator::Any(b'\n'))
        .buffer_capacity(text.len().clamp(1, 8 << 10))
        .from_reader(text.as_bytes());
    let mut row = csv::StringRecord::new();
    reader
        .read_record(&mut row)
        .expect("text that is UTF-8 and in memory is read without an error");
    Ok(row.iter().map(str::to_owned).collect())
}

fn read_json(line: u64, bytes: &[u8], first_field: &str) -> Result<Record, RecordError> {
    let text = text(line, bytes)?;
    let value =
        serde_json::from_str(text).map_err(|source| RecordError::NotJson { line, source })?;
    let found = match value {
        Value::Object(record) => return Ok(record),
        Value::String(text) => return Ok(single(first_field, &text)),
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::Array(_) => "a list",
    };
    Err(RecordError::NotARecord { line, found })
}

fn single(field: &str, text: &str) -> Record {
    Record::from_iter([(field.to_owned(), Value::String(text.to_owned()))])
}

fn text(line: u64, bytes: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(bytes).map_err(|error| RecordError::NotUtf8 {
        line,
        valid_bytes: error.valid_up_to(),
    })
}
