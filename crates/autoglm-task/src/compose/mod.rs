//! Task and record to prompt. What is the same for every record comes first, the record last, so
//! that all prompts of a task share one long prefix.
//!
//! # What a record cannot do
//! A value never passes for a part of the template. In the `line` style (all of classification,
//! and nearly everything for models that continue text) white space and control characters of any
//! sort become single spaces, so that a value cannot open a line such as `Sentiment: positive`.
//! Where line breaks matter, a value of several lines stands between fences that are longer than
//! any run of the same mark inside it. Control tokens written in a value stay text, which is the
//! tokenizer's part. A passage of a document is a value like others. Nothing is cut: a prompt that is too long is the engine's error.

mod documents;
mod error;
#[cfg(test)]
mod tests;
mod value;
mod wording;

use std::fmt::Write as _;

use autoglm_spec::{
    Constraint, Example, Field, Label, ModelFacts, Output, Prompt, Record, Role, Segment, TaskSpec,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use error::ComposeError;
use value::{field_text, many_lines, one_line, open_code, value_text};
pub(crate) use wording::fill;
use wording::{KindWording, ValueStyle, Wording};

/// What code is fenced with, and what ends it.
const CODE_FENCE: &str = "```";
const CODE_END: &str = "\n```";

/// Composes the prompts of one task for one model.
#[derive(Debug)]
pub struct Composer {
    wording: &'static Wording,
    kind: &'static KindWording,
    style: ValueStyle,
    chat: bool,
    fields: Vec<Field>,
    answer_title: String,
    output: Output,
    opening: Opening,
    options: Option<Vec<String>>,
    template: String,
    version: String,
    /// What a passage is called in the prompt, where records have passages.
    document: Option<&'static str>,
}

/// One prompt and how its answer is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Composed {
    /// What the model is given.
    pub prompt: Prompt,
    /// For a closed set, the continuations to score, in the labels' order; `None` where the
    /// answer is generated.
    pub options: Option<Vec<String>>,
    /// What ends a generated answer.
    pub stop: Vec<String>,
    /// What a generated answer must satisfy.
    pub constraint: Option<Constraint>,
    /// Tokens at most; 0 for a closed set.
    pub max_tokens: usize,
}

/// What every prompt of the task begins with.
#[derive(Debug, Default, Clone)]
struct Opening {
    /// The finished turns; none for models that continue text.
    turns: Vec<Segment>,
    /// What the text or the user's last turn begins with.
    text: String,
}

impl Composer {
    /// Prepares everything that does not depend on a record.
    ///
    /// # Errors
    /// When the task has no field, fewer than two labels, labels that cannot be told apart, or an
    /// example that lacks a field or whose answer is no label.
    pub fn new(spec: &TaskSpec, model: &ModelFacts) -> Result<Self, ComposeError> {
        check(spec)?;
        let wording = Wording::of(spec.language);
        let kind = wording.kind(spec.kind);
        let mut composer = Self {
            wording,
            kind,
            style: if model.chat { kind.chat } else { kind.plain },
            chat: model.chat,
            fields: spec.fields.clone(),
            answer_title: spec.answer_title.clone(),
            output: spec.output.clone(),
            opening: Opening::default(),
            options: None,
            template: template_name(spec, model.chat),
            version: version(spec, model.chat),
            document: documents::word(spec),
        };
        composer.options = composer.label_options();
        composer.opening = composer.opening_of(spec)?;
        Ok(composer)
    }

    /// The prompt for a record, and how its answer is found. Fields that the task does not name
    /// are ignored.
    ///
    /// # Errors
    /// When the record lacks a field of the task.
    pub fn compose(&self, record: &Record) -> Result<Composed, ComposeError> {
        self.compose_behind(&[], record)
    }

    /// As [`Composer::compose`], with examples of this record's own between what is the same for all
    /// records and the record.
    ///
    /// # Errors
    /// When the record or an example lacks a field of the task, or an example's answer is no label.
    pub fn compose_behind(
        &self,
        examples: &[Example],
        record: &Record,
    ) -> Result<Composed, ComposeError> {
        let texts = self
            .texts(record)
            .map_err(|field| ComposeError::MissingField {
                field,
                present: record.keys().cloned().collect(),
            })?;
        let mut opening = self.opening.clone();
        for (index, example) in examples.iter().enumerate() {
            self.show(example, index + 1, &mut opening)?;
        }
        opening.text.push_str(&self.documents(record));
        Ok(self.compose_texts(&texts, &opening))
    }

    /// Prompts of records without content: what the model says to them is its bias.
    pub fn content_free(&self) -> Vec<Composed> {
        let prompt_of = |blank: &String| {
            let texts = vec![blank.clone(); self.fields.len()];
            self.compose_texts(&texts, &self.opening)
        };
        self.wording.blanks.iter().map(prompt_of).collect()
    }

    /// What every prompt's display text begins with, whatever the record.
    pub fn stable_prefix(&self) -> String {
        match self.prompt(&self.opening.turns, &self.opening.text, None) {
            Prompt::Plain(text) => text,
            other => other.display_text(),
        }
    }

    /// The template's name: language, kind and form, such as `en/classification/plain`.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// A hash in hexadecimal of all that determines the prompts: the task less its name, the form
    /// and the wording. Prompts of equal versions are equal for equal records.
    pub fn version(&self) -> &str {
        &self.version
    }

    fn compose_texts(&self, texts: &[String], opening: &Opening) -> Composed {
        let mut text = opening.text.clone();
        text.push_str(&self.question(texts));
        Composed {
            prompt: self.prompt(&opening.turns, &text, self.answer_opening()),
            options: self.options.clone(),
            stop: self.stop(),
            constraint: match &self.output {
                Output::Json { schema, .. } => Some(Constraint::JsonSchema(schema.clone())),
                Output::Labels { .. } | Output::Text { .. } | Output::Code { .. } => None,
            },
            max_tokens: self.output.max_tokens(),
        }
    }

    fn prompt(&self, turns: &[Segment], text: &str, answer_opening: Option<String>) -> Prompt {
        if !self.chat {
            return Prompt::Plain(text.to_owned());
        }
        let mut turns = turns.to_vec();
        turns.push(segment(Role::User, text.to_owned()));
        turns.extend(answer_opening.map(|text| segment(Role::Assistant, text)));
        Prompt::Chat(turns)
    }

    /// The texts of the task's fields, or the name of the first that the record lacks.
    fn texts(&self, record: &Record) -> Result<Vec<String>, String> {
        let text_of = |field: &Field| match record.get(&field.name) {
            Some(value) => Ok(value_text(value, &self.wording.separator)),
            None => Err(field.name.clone()),
        };
        self.fields.iter().map(text_of).collect()
    }

    /// The record's part of the prompt, up to where the answer begins.
    fn question(&self, texts: &[String]) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (field, text) in self.fields.iter().zip(texts) {
            let last = lines.len() + 1 == self.fields.len();
            lines.push(if last && self.style == ValueStyle::Continued {
                open_code(text, self.code_language())
            } else {
                field_text(self.wording, self.style, &field.title, text)
            });
        }
        if !self.chat && self.style != ValueStyle::Continued {
            let colon = self.wording.bare_colon();
            lines.push(format!("{}{colon}", self.answer_title));
            if matches!(self.output, Output::Code { .. }) {
                lines.push(format!("{CODE_FENCE}{}\n", self.code_language()));
            }
        }
        lines.join("\n")
    }

    /// What the model's turn in a chat begins with.
    fn answer_opening(&self) -> Option<String> {
        let code = self.chat && matches!(self.output, Output::Code { .. });
        code.then(|| format!("{CODE_FENCE}{}\n", self.code_language()))
    }

    fn code_language(&self) -> &str {
        match &self.output {
            Output::Code {
                language: Some(language),
                ..
            } => language,
            _ => "",
        }
    }

    fn stop(&self) -> Vec<String> {
        match &self.output {
            Output::Labels { .. } | Output::Json { .. } => Vec::new(),
            Output::Code { .. } => vec![CODE_END.to_owned()],
            Output::Text { .. } if self.chat => Vec::new(),
            Output::Text { .. } => self.kind.stop.clone(),
        }
    }

    /// The labels as continuations. Where one begins with another, all end as they do in the
    /// examples, for otherwise the shorter would also get the longer one's probability.
    fn label_options(&self) -> Option<Vec<String>> {
        let Output::Labels { labels } = &self.output else {
            return None;
        };
        let nested = labels.iter().any(|a| {
            let begins_with_a = |b: &Label| b.word != a.word && b.word.starts_with(&a.word);
            labels.iter().any(begins_with_a)
        });
        let lead = if self.chat {
            ""
        } else {
            self.wording.option_lead()
        };
        let end = match (nested, self.chat) {
            (false, _) => "",
            (true, false) => "\n\n",
            (true, true) => "\n",
        };
        let option = |label: &Label| format!("{lead}{}{end}", label.word);
        Some(labels.iter().map(option).collect())
    }

    fn opening_of(&self, spec: &TaskSpec) -> Result<Opening, ComposeError> {
        let mut opening = Opening {
            turns: Vec::new(),
            text: self.heading(spec),
        };
        for (index, example) in spec.examples.iter().enumerate() {
            self.show(example, index + 1, &mut opening)?;
        }
        Ok(opening)
    }

    /// Appends an example.
    fn show(
        &self,
        example: &Example,
        number: usize,
        opening: &mut Opening,
    ) -> Result<(), ComposeError> {
        let texts = self
            .texts(&example.input)
            .map_err(|field| ComposeError::ExampleField {
                number,
                field,
                present: example.input.keys().cloned().collect(),
            })?;
        let answer = self.answer(example, number)?;
        opening.text.push_str(&self.documents(&example.input));
        opening.text.push_str(&self.question(&texts));
        if self.chat {
            let asked = std::mem::take(&mut opening.text);
            opening.turns.push(segment(Role::User, asked));
            opening.turns.push(segment(Role::Assistant, answer));
        } else {
            let _ = write!(opening.text, "{answer}\n\n");
        }
        Ok(())
    }

    /// An example's answer as it stands behind the question.
    fn answer(&self, example: &Example, number: usize) -> Result<String, ComposeError> {
        let lead = if self.chat {
            ""
        } else {
            self.wording.option_lead()
        };
        let inline = |text: &str| format!("{lead}{text}");
        Ok(match &self.output {
            Output::Labels { labels } => {
                let label = labels.iter().find(|label| label.name == example.output);
                let label = label.ok_or_else(|| ComposeError::UnknownLabel {
                    number,
                    answer: example.output.clone(),
                    labels: labels.iter().map(|label| label.name.clone()).collect(),
                })?;
                inline(&label.word)
            }
            Output::Code { .. } => {
                let opening = self.answer_opening().unwrap_or_default();
                format!("{opening}{}{CODE_END}", example.output.trim_end())
            }
            Output::Json { .. } => inline(&compact_json(&example.output)),
            Output::Text { .. } if self.chat => many_lines(&example.output),
            Output::Text { .. } => inline(&one_line(&example.output)),
        })
    }

    /// What stands before the examples and the record.
    fn heading(&self, spec: &TaskSpec) -> String {
        let values = [
            ("instruction", many_lines(&spec.instruction)),
            ("rule", self.rule(spec)),
            ("constraints", unsaid_constraints(spec).join("\n")),
        ];
        let values = values
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let filled = self.wording.heading.lines().map(|line| fill(line, &values));
        let mut lines: Vec<String> = filled.filter(|line| !line.trim().is_empty()).collect();
        lines.push("\n".to_owned());
        lines.join("\n")
    }

    fn label_list(&self, labels: &[Label]) -> String {
        let words: Vec<&str> = labels.iter().map(|label| label.word.as_str()).collect();
        words.join(&self.wording.separator)
    }

    /// What shall come out, in words.
    fn rule(&self, spec: &TaskSpec) -> String {
        let rules = &self.wording.rules;
        match &self.output {
            // A model that continues text needs no rule where the instruction names the labels.
            Output::Labels { labels } if !self.chat && names_all(spec, labels) => String::new(),
            Output::Labels { labels } => {
                fill(&rules.labels, &[("labels", &self.label_list(labels))])
            }
            Output::Json { schema, .. } => match keys_of(schema) {
                Some(keys) => fill(
                    &rules.json,
                    &[("keys", &keys.join(&self.wording.separator))],
                ),
                None => fill(&rules.schema, &[("schema", &schema.to_string())]),
            },
            Output::Code {
                language: Some(language),
                ..
            } => fill(&rules.code_in, &[("language", language)]),
            Output::Code { language: None, .. } => rules.code.clone(),
            Output::Text { .. } => self.kind.rule.clone(),
        }
    }
}

/// Whether the instruction names every label.
fn names_all(spec: &TaskSpec, labels: &[Label]) -> bool {
    let said = spec.instruction.to_lowercase();
    labels
        .iter()
        .all(|label| said.contains(&label.word.to_lowercase()))
}

/// The constraints that the instruction does not contain in the same words.
fn unsaid_constraints(spec: &TaskSpec) -> Vec<&str> {
    let unsaid = |constraint: &&String| !spec.instruction.contains(constraint.as_str());
    let constraints = spec.constraints.iter().filter(unsaid);
    constraints.map(String::as_str).collect()
}

fn segment(role: Role, text: String) -> Segment {
    Segment { role, text }
}

/// The keys of a schema that says no more than that.
fn keys_of(schema: &Value) -> Option<Vec<&str>> {
    let properties = schema.get("properties")?.as_object()?;
    let flat = properties
        .values()
        .all(|property| property.get("properties").is_none() && property.get("items").is_none());
    (flat && !properties.is_empty()).then(|| properties.keys().map(String::as_str).collect())
}

/// JSON text without the white space that a model would copy; other text on one line.
fn compact_json(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => value.to_string(),
        Err(_) => one_line(text),
    }
}

fn check(spec: &TaskSpec) -> Result<(), ComposeError> {
    if spec.fields.is_empty() {
        return Err(ComposeError::NoFields);
    }
    match &spec.output {
        Output::Labels { labels } => check_labels(labels),
        Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => Ok(()),
    }
}

fn check_labels(labels: &[Label]) -> Result<(), ComposeError> {
    if labels.len() < 2 {
        return Err(ComposeError::TooFewLabels {
            given: labels.len(),
        });
    }
    for (index, label) in labels.iter().enumerate() {
        if label.name.is_empty() || label.word.is_empty() {
            return Err(ComposeError::EmptyLabel { number: index + 1 });
        }
        if let Some(other) = labels[..index]
            .iter()
            .find(|other| other.word == label.word)
        {
            return Err(ComposeError::SameWord {
                first: other.name.clone(),
                second: label.name.clone(),
                word: label.word.clone(),
            });
        }
    }
    Ok(())
}

fn template_name(spec: &TaskSpec, chat: bool) -> String {
    let name = |value: Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{}/{}/{}",
        name(serde_json::json!(spec.language)),
        name(serde_json::json!(spec.kind)),
        form(chat),
    )
}

fn form(chat: bool) -> &'static str {
    if chat { "chat" } else { "plain" }
}

fn version(spec: &TaskSpec, chat: bool) -> String {
    let nameless = TaskSpec {
        name: String::new(),
        ..spec.clone()
    };
    let task = serde_json::to_vec(&nameless).expect("a task has no map with keys other than text");
    let mut hash = Sha256::new();
    hash.update(REVISION.to_le_bytes());
    hash.update(form(chat));
    hash.update(Wording::source(spec.language));
    hash.update(task);
    let mut hex = String::new();
    for byte in hash.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Raised whenever this module composes another prompt from the same task and wording.
const REVISION: u32 = 1;
