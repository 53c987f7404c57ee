//! Records with right answers as a file holds them, made into labelled records of a task.

use autoglm_spec::{Example, Field, Record, TaskSpec};
use serde_json::{Value, json};

use crate::eval::{gold_text, known_answer};
use crate::records::{NumberedRecord, RecordError};
use crate::run::without_line;

/// What a file of records gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Intake {
    /// The labelled records.
    pub examples: Vec<Example>,
    /// Those that cannot be used.
    pub refused: Vec<Refused>,
}

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Line of the file on which it starts, counted from 1.
    pub line: u64,
    /// Why not.
    pub reason: String,
}

/// Takes records in: those with all fields of the task and an answer that it knows.
pub fn take_in(
    spec: &TaskSpec,
    gold_field: Option<&str>,
    items: impl IntoIterator<Item = Result<NumberedRecord, RecordError>>,
) -> Intake {
    let mut intake = Intake::default();
    for item in items {
        let (line, taken) = match item {
            Ok(NumberedRecord { line, record }) => (line, example_of(spec, gold_field, &record)),
            Err(error) => (error.line(), Err(without_line(&error))),
        };
        match taken {
            Ok(example) => intake.examples.push(example),
            Err(reason) => intake.refused.push(Refused { line, reason }),
        }
    }
    intake
}

/// The labelled record that a record is.
///
/// # Errors
/// Why it is none, as a sentence's end.
pub(crate) fn example_of(
    spec: &TaskSpec,
    gold_field: Option<&str>,
    record: &Record,
) -> Result<Example, String> {
    let input = task_fields(spec, record)?;
    let text = gold_text(spec, gold_field, record)
        .ok_or_else(|| "it has no right answer, want a field label, answer or output".to_owned())?;
    let output = task_answer(spec, &text)?;
    Ok(Example { input, output })
}

/// The labelled record that a record and its right answer make.
///
/// # Errors
/// Why they make none, as a sentence's end.
pub fn labelled(spec: &TaskSpec, record: &Record, answer: &str) -> Result<Example, String> {
    Ok(Example {
        input: task_fields(spec, record)?,
        output: task_answer(spec, answer)?,
    })
}

/// An answer as the task names it.
fn task_answer(spec: &TaskSpec, text: &str) -> Result<String, String> {
    known_answer(spec, text).ok_or_else(|| {
        let labels = spec.output.labels().iter().map(|l| l.name.as_str());
        let labels: Vec<&str> = labels.collect();
        format!(
            "its answer {text:?} is no label, want one of {}",
            labels.join(", ")
        )
    })
}

/// The fields of a record that the task reads, in the task's order.
///
/// # Errors
/// The first that it lacks, as a sentence's end.
pub fn task_fields(spec: &TaskSpec, record: &Record) -> Result<Record, String> {
    let of_field = |name: &String| match record.get(name) {
        Some(value) => Ok((name.clone(), value.clone())),
        None => Err(format!("it has no field {name:?}")),
    };
    spec.fields
        .iter()
        .map(|field| of_field(&field.name))
        .collect()
}

/// The values of a record's fields, one a line, of which its vector is made.
pub(crate) fn record_text(fields: &[Field], record: &Record) -> String {
    let values = fields
        .iter()
        .filter_map(|field| match record.get(&field.name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            value => Some(value.to_string()),
        });
    values.collect::<Vec<String>>().join("\n")
}

/// What tells records of a task apart: the values of its fields as text, so that a record of CSV
/// is the same as one of JSON that has numbers.
pub fn identity(fields: &[Field], record: &Record) -> String {
    let text = |field: &Field| match record.get(&field.name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    };
    json!(fields.iter().map(text).collect::<Vec<Option<String>>>()).to_string()
}
