//! Passages of documents that a record brings, as they stand in its prompt: before its fields,
//! numbered, each a value of its own.

use autoglm_spec::{Knowledge, Language, Record, TaskSpec};
use serde_json::Value;

use super::{Composer, field_text};

/// What a passage is called in the prompts of a task; none where its records bring none.
pub(super) fn word(spec: &TaskSpec) -> Option<&'static str> {
    spec.knowledge.as_ref().map(|_| match spec.language {
        Language::English => "Document",
        Language::Chinese => "文档",
    })
}

impl Composer {
    /// The lines of a record's passages.
    pub(super) fn documents(&self, record: &Record) -> String {
        let (Some(word), Some(Value::Array(passages))) =
            (self.document, record.get(Knowledge::FIELD))
        else {
            return String::new();
        };
        let line = |(number, passage)| {
            let title = format!("{word} [{number}]");
            field_text(self.wording, self.style, &title, &passage_text(passage)) + "\n"
        };
        (1_usize..).zip(passages).map(line).collect()
    }
}

/// The headings that a passage stands under, and its text.
fn passage_text(passage: &Value) -> String {
    let titles = passage.get("titles").and_then(Value::as_array);
    let titles = titles.into_iter().flatten().filter_map(Value::as_str);
    let path = titles.collect::<Vec<&str>>().join(" › ");
    let text = passage.get("text").and_then(Value::as_str).unwrap_or("");
    let parts = [path.as_str(), text];
    let filled: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    filled.join("\n")
}
