//! Plain words to a task. Rules in tables read the kind of task, the labels, the fields, what is
//! demanded of the answer, and how things are called; none of them can fail. What they leave open
//! is a remark, and [`parse_with_model`] asks a model for it.

mod ask;
mod constraints;
mod fields;
mod kind;
mod labels;
mod labels_table;
mod list;
mod nouns;
mod output;
mod reading;
mod scan;
#[cfg(test)]
mod tests;

use autoglm_spec::{Field, Label, Language, Output, TaskKind, TaskSpec};
use serde_json::{Value, json};

use crate::remark::Remark;
pub use ask::parse_with_model;
use constraints::{Demands, usual_tokens};
use kind::{Evidence, Strength};
use labels::{Labels, Source};
pub(crate) use nouns::field_title;
use reading::Reading;
pub(crate) use reading::is_han;

/// An instruction beyond this many characters is remarked on: it is sent with every record.
const LONG_INSTRUCTION: usize = 4_000;

/// Rules look at this many bytes at most; a task is told in its first sentences.
const READ_BYTES: usize = 16_384;

/// What is said of a classification without labels.
pub(crate) const NO_LABELS: &str =
    "the text asks for a classification but names no labels, so the answer is free text";

/// Every kind of task.
pub(crate) const KINDS: [TaskKind; 9] = [
    TaskKind::Classification,
    TaskKind::Summarisation,
    TaskKind::Extraction,
    TaskKind::Translation,
    TaskKind::Rewriting,
    TaskKind::QuestionAnswering,
    TaskKind::CodeCompletion,
    TaskKind::CodeGeneration,
    TaskKind::Free,
];

/// Reads a task told in words. What the words leave open is supplied and remarked on.
pub fn parse(text: &str) -> (TaskSpec, Vec<Remark>) {
    parse_known(text, Known::default())
}

/// What is known of a task besides its words.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    pub(crate) kind: Option<TaskKind>,
    pub(crate) language: Option<Language>,
}

/// As [`parse`], where something is known that the words need not say.
pub(crate) fn parse_known(text: &str, known: Known) -> (TaskSpec, Vec<Remark>) {
    Draft::of(text, known).finish()
}

/// A task that has been read, with what is still open.
struct Draft {
    spec: TaskSpec,
    remarks: Vec<Remark>,
    /// No rule recognised the kind of task.
    kind_open: bool,
    /// It is a classification and no rule found labels.
    labels_open: bool,
}

impl Draft {
    fn of(text: &str, known: Known) -> Self {
        let mut remarks = Vec::new();
        let mut reading = Reading::new(head(text));
        reading.language = known.language.unwrap_or(reading.language);
        remark_on_text(text, &reading, &mut remarks);
        let demands = constraints::demands(&mut reading);
        let evidence = kind::evidence(&reading);
        let provisional = known
            .kind
            .or(evidence.first().map(|e| e.kind))
            .unwrap_or(TaskKind::Free);
        let subject = Reading {
            folded: reading.folded.clone(),
            ..reading
        };
        let (fields, _) = fields::fields(&mut reading, provisional);
        let named = labels::named(&reading);
        let found = settle_kind(&evidence, named.as_ref(), &reading, &mut remarks);
        let kind_open = found.is_none() && known.kind.is_none();
        let kind = known.kind.or(found).unwrap_or(TaskKind::Free);
        if kind_open && !text.trim().is_empty() {
            remarks.push(no_kind(&reading));
        }
        let mut draft = Self {
            spec: TaskSpec {
                name: String::new(),
                kind,
                instruction: text.trim().to_owned(),
                language: reading.language,
                fields,
                answer_title: String::new(),
                output: Output::Text {
                    max_tokens: usual_tokens(kind),
                },
                constraints: demands.constraints.clone(),
                examples: Vec::new(),
                knowledge: None,
            },
            remarks,
            kind_open,
            labels_open: false,
        };
        draft.settle_fields(&reading);
        draft.settle_output(&subject, named, &demands);
        draft
    }

    fn finish(self) -> (TaskSpec, Vec<Remark>) {
        let mut remarks = self.remarks;
        remarks.sort_by_key(|remark| (remark.span.start, remark.span.end));
        (self.spec, remarks)
    }

    /// What completes code is code.
    fn settle_fields(&mut self, reading: &Reading<'_>) {
        if self.spec.kind == TaskKind::CodeCompletion
            && let [Field { name, title }] = self.spec.fields.as_mut_slice()
            && name == fields::DEFAULT_FIELD
        {
            let code = if reading.chinese() { "代码" } else { "Code" };
            code.clone_into(title);
        }
    }

    fn settle_output(&mut self, reading: &Reading<'_>, named: Option<Labels>, demands: &Demands) {
        let max_tokens = demands.max_tokens.unwrap_or(usual_tokens(self.spec.kind));
        self.settle_answer(reading, nouns::open_answer(self.spec.kind));
        match self.spec.kind {
            TaskKind::Classification => self.settle_labels(reading, named, demands),
            TaskKind::Extraction => self.settle_schema(reading, max_tokens),
            TaskKind::CodeCompletion | TaskKind::CodeGeneration => {
                let language = output::code_language(reading);
                self.spec.output = Output::Code {
                    language,
                    max_tokens,
                };
            }
            kind => {
                if kind == TaskKind::Translation {
                    self.settle_target(reading);
                }
                self.spec.output = match &demands.json {
                    Some(_) => Output::Json {
                        schema: output::schema(reading).unwrap_or_else(any_object),
                        max_tokens: max_tokens.max(256),
                    },
                    None => Output::Text { max_tokens },
                };
            }
        }
    }

    fn settle_answer(&mut self, reading: &Reading<'_>, answer: &nouns::Answer) {
        answer.name.clone_into(&mut self.spec.name);
        let title = if reading.chinese() {
            answer.chinese
        } else {
            answer.english
        };
        title.clone_into(&mut self.spec.answer_title);
    }

    fn settle_target(&mut self, reading: &Reading<'_>) {
        if let Some(target) = output::target_language(reading) {
            self.spec.answer_title = target;
            return;
        }
        self.remarks.push(
            Remark::warning(reading.whole(), "the translation's language is not named")
                .suggest("say `into English` or `翻译成中文`"),
        );
    }

    fn settle_labels(&mut self, reading: &Reading<'_>, named: Option<Labels>, demands: &Demands) {
        let customary = || labels::customary(reading);
        let found = named.or_else(customary);
        let yes_or_no = found.as_ref().is_some_and(|labels| {
            labels.source == Source::Boolean
                || matches!(
                    labels.names[0].to_lowercase().as_str(),
                    "yes" | "no" | "是" | "否" | "true" | "false"
                )
        });
        self.settle_answer(reading, nouns::label_answer(reading, yes_or_no));
        let Some(found) = found else {
            self.labels_open = true;
            self.remarks.push(no_labels(reading));
            return;
        };
        self.remark_on_labels(&found);
        if let Some(span) = &demands.json {
            let message = "labels are scored, so the answer is the bare label and no JSON";
            self.remarks.push(Remark::note(span.clone(), message));
        }
        self.spec.output = labels_output(found.names);
    }

    fn remark_on_labels(&mut self, labels: &Labels) {
        let names = labels.names.join(", ");
        let message = match labels.source {
            Source::Announced | Source::Named => return,
            Source::Boolean => format!("no labels are named; the question is answered by: {names}"),
            Source::Customary(subject) => {
                format!("no labels are named; the usual ones for {subject} are taken: {names}")
            }
        };
        let suggestion = "change `labels` in the task file where others are wanted";
        self.remarks
            .push(Remark::note(labels.span.clone(), message).suggest(suggestion));
    }

    fn settle_schema(&mut self, reading: &Reading<'_>, max_tokens: usize) {
        let max_tokens = max_tokens.max(usual_tokens(TaskKind::Extraction));
        if let Some(schema) = output::schema(reading) {
            self.spec.output = Output::Json { schema, max_tokens };
            return;
        }
        let message = "what is to be extracted is not listed, so the answer is free text";
        self.remarks.push(
            Remark::warning(reading.whole(), message).suggest(
                "list it, as in `extract name, date and amount` or `抽取姓名、日期和金额`",
            ),
        );
        self.spec.output = Output::Text { max_tokens };
        let title = if reading.chinese() {
            "抽取结果"
        } else {
            "Extracted"
        };
        title.clone_into(&mut self.spec.answer_title);
    }
}

/// The part of a text that the rules read.
fn head(text: &str) -> &str {
    let mut end = text.len().min(READ_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn labels_output(names: Vec<String>) -> Output {
    let label = |name: String| Label {
        word: name.clone(),
        name,
    };
    Output::Labels {
        labels: names.into_iter().map(label).collect(),
    }
}

fn any_object() -> Value {
    json!({"type": "object"})
}

fn no_labels(reading: &Reading<'_>) -> Remark {
    let suggestion = if reading.chinese() {
        "写明标签，例如“分为 体育、财经、科技 三类”"
    } else {
        "name them, as in `classify as sports, business or science`"
    };
    Remark::warning(reading.whole(), NO_LABELS).suggest(suggestion)
}

fn no_kind(reading: &Reading<'_>) -> Remark {
    let message = "no rule recognises the kind of task, so the answer is free text";
    let suggestion = "set `kind` in the task file, or begin with a verb such as classify, \
                      summarise, extract or translate";
    Remark::warning(reading.whole(), message).suggest(suggestion)
}

/// The kind with the strongest evidence, or `None`. Where labels are announced and something
/// speaks for a classification, it is one, whatever else the text mentions.
fn settle_kind(
    evidence: &[Evidence],
    labels: Option<&Labels>,
    reading: &Reading<'_>,
    remarks: &mut Vec<Remark>,
) -> Option<TaskKind> {
    let announced = labels.is_some_and(|labels| labels.source == Source::Announced);
    let asked = labels.is_some_and(|labels| labels.source != Source::Boolean)
        && reading.original.trim_end().ends_with(['?', '？']);
    let Some(best) = evidence.first() else {
        if !announced && !asked {
            return None;
        }
        let message = "the kind of task is not named; because of the labels it is a classification";
        remarks.push(Remark::note(reading.whole(), message));
        return Some(TaskKind::Classification);
    };
    let classifies =
        |e: &Evidence| e.kind == TaskKind::Classification && e.strength >= Strength::Verb;
    let outweighed = best.kind == TaskKind::Free
        || best.strength < Strength::Request && evidence.iter().any(classifies);
    let kind = if announced && outweighed {
        TaskKind::Classification
    } else {
        best.kind
    };
    remark_on_kind(evidence, kind, remarks);
    Some(kind)
}

/// Says when two requests of different kinds stand in one text, or when only a noun decided.
fn remark_on_kind(evidence: &[Evidence], kind: TaskKind, remarks: &mut Vec<Remark>) {
    let name = kind_name(kind);
    let rival = evidence
        .iter()
        .find(|e| e.kind != kind && e.strength == Strength::Request && e.kind != TaskKind::Free);
    if let Some(rival) = rival {
        let other = kind_name(rival.kind);
        let message = format!("this could also ask for {other}; the task is read as {name}");
        let suggestion = "make two tasks of it where both are wanted";
        remarks.push(Remark::note(rival.span.clone(), message).suggest(suggestion));
    }
    let own = evidence.iter().find(|e| e.kind == kind);
    if let Some(own) = own.filter(|e| e.strength == Strength::Hint) {
        let message = format!("the kind of task is not named; because of these words it is {name}");
        remarks.push(Remark::note(own.span.clone(), message));
    }
}

/// A kind's name in a task file.
pub(crate) fn kind_name(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Classification => "classification",
        TaskKind::Summarisation => "summarisation",
        TaskKind::Extraction => "extraction",
        TaskKind::Translation => "translation",
        TaskKind::Rewriting => "rewriting",
        TaskKind::QuestionAnswering => "question-answering",
        TaskKind::CodeCompletion => "code-completion",
        TaskKind::CodeGeneration => "code-generation",
        TaskKind::Free => "free",
    }
}

fn remark_on_text(text: &str, reading: &Reading<'_>, remarks: &mut Vec<Remark>) {
    let whole = 0..text.len();
    if text.trim().is_empty() {
        let suggestion =
            "say what shall be done, as in `Classify each review as positive or negative`";
        remarks.push(Remark::warning(whole, "the instruction is empty").suggest(suggestion));
        return;
    }
    if !text.chars().any(char::is_alphanumeric) {
        remarks.push(Remark::warning(
            whole.clone(),
            "the instruction has no word",
        ));
    }
    let length = text.chars().count();
    if length > LONG_INSTRUCTION {
        let message = format!(
            "the instruction has {length} characters and is sent with every record; \
             the rules read its first {READ_BYTES} bytes"
        );
        remarks.push(Remark::warning(whole.clone(), message));
    }
    let other = reading.original.char_indices().find(|(_, c)| {
        matches!(c, '\u{3040}'..='\u{30ff}' | '\u{ac00}'..='\u{d7af}' | '\u{0400}'..='\u{04ff}' | '\u{0600}'..='\u{06ff}')
    });
    if let Some((at, c)) = other {
        let language = match reading.language {
            Language::English => "English",
            Language::Chinese => "Chinese",
        };
        let message =
            format!("tasks are read in English and Chinese; this one is taken as {language}");
        remarks.push(Remark::note(at..at + c.len_utf8(), message));
    }
}
