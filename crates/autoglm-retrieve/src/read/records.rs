//! Files of records, CSV and JSON lines: each record is a document of its own.

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Map, Value};

use super::builder::one_line;
use super::{Block, BlockKind, Extracted, Origin, Record};

/// Fields that name a record, that hold its title, and that hold its text, the first that is there.
const NAMES: &[&str] = &["_id", "id", "doc_id", "name"];
const TITLES: &[&str] = &["title", "标题", "headline"];
const TEXTS: &[&str] = &[
    "text", "contents", "content", "body", "passage", "正文", "内容", "文本",
];
/// Broken lines that are told one by one.
const TOLD: usize = 5;
/// Bytes of another field that are kept beside a record.
const META_BYTES: usize = 200;

/// Reads an object a line.
pub(super) fn read_jsonl(text: &str, origin: Origin) -> Extracted {
    let mut records = Records::default();
    let mut at = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let trimmed = line.trim();
        let start = at + (line.len() - line.trim_start().len());
        at += line.len();
        if trimmed.is_empty() {
            continue;
        }
        match serde_json::from_str::<Map<String, Value>>(trimmed) {
            Ok(fields) => records.add(fields, number, start..start + trimmed.len()),
            Err(error) => records.broken(number, &error.to_string()),
        }
    }
    records.finish(origin)
}

/// Reads a table whose first line has the names of its columns.
pub(super) fn read_csv(text: &str, separator: u8, origin: Origin) -> Extracted {
    let mut records = Records::default();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .from_reader(text.as_bytes());
    let names = reader.headers().cloned().unwrap_or_default();
    let mut row = csv::StringRecord::new();
    for number in 2.. {
        let start = reader.position().byte() as usize;
        match reader.read_record(&mut row) {
            Ok(false) => break,
            Ok(true) => {
                let end = reader.position().byte() as usize;
                let values = row.iter().map(|value| Value::String(value.to_owned()));
                let fields = names.iter().map(str::to_owned).zip(values).collect();
                let part = &text[start..end];
                let start = start + (part.len() - part.trim_start().len());
                records.add(fields, number, start..start + part.trim().len());
            }
            Err(error) => records.broken(number, &error.to_string()),
        }
    }
    records.finish(origin)
}

#[derive(Default)]
struct Records {
    text: String,
    blocks: Vec<Block>,
    remarks: Vec<String>,
    broken: usize,
}

impl Records {
    fn add(&mut self, mut fields: Map<String, Value>, number: usize, range: Range<usize>) {
        let name = take_first(&mut fields, NAMES).unwrap_or_else(|| number.to_string());
        let title = take_first(&mut fields, TITLES);
        let text = take_first(&mut fields, TEXTS);
        let start = self.text.len();
        match text {
            Some(text) => self.text.push_str(&text),
            None => describe(&fields, &mut self.text),
        }
        if self.text[start..].trim().is_empty() {
            self.text.push_str(title.as_deref().unwrap_or_default());
        }
        let end = self.text.len();
        self.text.push_str("\n\n");
        if self.text[start..end].trim().is_empty() {
            return;
        }
        self.blocks.push(Block {
            range: start..end,
            kind: BlockKind::Prose,
            titles: title.as_deref().and_then(one_line).into_iter().collect(),
            page: None,
            record: Some(Record {
                name,
                range,
                meta: fields
                    .into_iter()
                    .filter(|(_, value)| is_small(value))
                    .collect(),
            }),
            leads: false,
        });
    }

    fn broken(&mut self, number: usize, reason: &str) {
        self.broken += 1;
        if self.broken <= TOLD {
            self.remarks
                .push(format!("line {number} is skipped: {reason}"));
        }
    }

    fn finish(mut self, origin: Origin) -> Extracted {
        if self.broken > TOLD {
            self.remarks
                .push(format!("{} more lines are skipped", self.broken - TOLD));
        }
        // The text is none of the file's own: only whole records are found in it.
        Extracted {
            text: self.text,
            blocks: self.blocks,
            meta: Map::new(),
            remarks: self.remarks,
            origin,
        }
    }
}

/// The first of some fields that holds something, taken out.
fn take_first(fields: &mut Map<String, Value>, names: &[&str]) -> Option<String> {
    let holds = |value: &Value| match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Number(_) => true,
        _ => false,
    };
    let name = names
        .iter()
        .find(|name| fields.get(**name).is_some_and(holds))?;
    match fields.shift_remove(*name)? {
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// Fields as lines, for records that have no text of their own.
fn describe(fields: &Map<String, Value>, text: &mut String) {
    for (name, value) in fields {
        let _ = match value {
            Value::Null => Ok(()),
            Value::String(value) if value.trim().is_empty() => Ok(()),
            Value::String(value) => writeln!(text, "{name}: {value}"),
            value => writeln!(text, "{name}: {value}"),
        };
    }
}

fn is_small(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() <= META_BYTES,
        Value::Number(_) | Value::Bool(_) => true,
        _ => false,
    }
}
