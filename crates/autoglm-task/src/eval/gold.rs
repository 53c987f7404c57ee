//! The right answers: found in the records, matched to labels.

use autoglm_spec::{Label, Output, Record, TaskSpec};
use serde_json::Value;

use super::UnknownGold;
use crate::row::Row;

/// Where the right answer is looked for when nobody says where it is.
const GOLD_FIELDS: [&str; 3] = ["label", "answer", "output"];

/// Rows with their right answers, and those that have none.
pub(super) struct Sorted<'a> {
    pub(super) usable: Vec<(&'a Row, String)>,
    pub(super) without_gold: usize,
    pub(super) unknown_gold: Vec<UnknownGold>,
}

impl Sorted<'_> {
    /// Why no row is usable.
    pub(super) fn reason(&self, gold_field: Option<&str>) -> String {
        if let Some(unknown) = self.unknown_gold.first() {
            return format!("{:?} is no label of the task", unknown.answer);
        }
        match gold_field {
            Some(field) => format!("they have no field {field:?}"),
            None => format!("they have none of the fields {}", GOLD_FIELDS.join(", ")),
        }
    }
}

/// Finds each row's right answer; a row whose record could not be read has none.
pub(super) fn sort<'a>(spec: &TaskSpec, gold_field: Option<&str>, rows: &'a [Row]) -> Sorted<'a> {
    let mut sorted = Sorted {
        usable: Vec::new(),
        without_gold: 0,
        unknown_gold: Vec::new(),
    };
    for row in rows {
        let text = row
            .input
            .as_ref()
            .and_then(|r| gold_text(spec, gold_field, r));
        let Some(text) = text else {
            sorted.without_gold += 1;
            continue;
        };
        match known(spec, &text) {
            Some(gold) => sorted.usable.push((row, gold)),
            None => note_unknown(&mut sorted.unknown_gold, text, row.line),
        }
    }
    sorted
}

/// The text of the right answer in a record.
pub(crate) fn gold_text(spec: &TaskSpec, field: Option<&str>, record: &Record) -> Option<String> {
    let value = match field {
        Some(field) => record.get(field),
        None => GOLD_FIELDS
            .iter()
            .filter(|name| spec.fields.iter().all(|field| field.name != **name))
            .find_map(|name| record.get(*name)),
    }?;
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    }
}

/// The right answer as the task names it; none where it is no label of a closed set.
pub(crate) fn known(spec: &TaskSpec, text: &str) -> Option<String> {
    match &spec.output {
        Output::Labels { labels } => matching(labels, text).map(|label| label.name.clone()),
        Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => Some(text.to_owned()),
    }
}

/// The label with this name, or this wording, or this name but for case and blanks around it.
fn matching<'a>(labels: &'a [Label], text: &str) -> Option<&'a Label> {
    let folded = text.trim().to_lowercase();
    let by = |is_it: &dyn Fn(&Label) -> bool| labels.iter().find(|label| is_it(label));
    by(&|label| label.name == text)
        .or_else(|| by(&|label| label.word == text))
        .or_else(|| by(&|label| label.name.trim().to_lowercase() == folded))
}

fn note_unknown(unknown: &mut Vec<UnknownGold>, answer: String, line: u64) {
    match unknown.iter_mut().find(|u| u.answer == answer) {
        Some(known) => known.rows += 1,
        None => unknown.push(UnknownGold {
            answer,
            rows: 1,
            first_line: line,
        }),
    }
}
