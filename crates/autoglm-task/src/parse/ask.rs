//! A model's suggestions for what the rules leave open. They are checked, never trusted, and
//! marked as what they are.

use autoglm_spec::{
    AttentionPolicy, Cancel, Constraint, Decoding, Generate, GenerateRequest, Prompt, Role,
    Sampling, Segment, TaskKind, TaskSpec,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Draft, Known, kind_name, labels_output};
use crate::remark::Remark;

/// Labels that a suggestion may have at most; longer lists are a small model repeating itself.
const MOST_LABELS: usize = 12;

/// Characters that a suggested label may have at most.
const LONGEST_LABEL: usize = 30;

/// Characters of the instruction that are shown to the model.
const SHOWN: usize = 2_000;

/// What the model is shown first: tasks with the answers that are wanted.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "Which part of the paper does the news belong to?",
        r#"{"kind":"classification","labels":["politics","business","sports","culture"]}"#,
    ),
    (
        "Make it shorter.",
        r#"{"kind":"summarisation","labels":[]}"#,
    ),
    (
        "看看这条动态的领域",
        r#"{"kind":"classification","labels":["科技","体育","娱乐","财经"]}"#,
    ),
    (
        "A limerick about the animal",
        r#"{"kind":"free","labels":[]}"#,
    ),
];

const REQUEST: &str =
    "Read a task and say in JSON what kind of task it is and, for a classification, its labels.";

#[derive(Debug, Deserialize)]
struct Suggestion {
    kind: TaskKind,
    labels: Vec<String>,
}

/// Reads a task told in words as [`parse`](super::parse) does, and asks a model for the kind of
/// task and the labels where the rules find none. Every suggestion that is taken is marked by a
/// remark; one that is not plausible is left aside.
pub fn parse_with_model(text: &str, model: &dyn Generate) -> (TaskSpec, Vec<Remark>) {
    let mut draft = Draft::of(text, Known::default());
    if (draft.kind_open || draft.labels_open) && !text.trim().is_empty() {
        match suggestion(text, model) {
            Ok(suggestion) => draft = draft.with(text, &suggestion),
            Err(reason) => {
                let message = format!("the model was asked and gave no usable answer: {reason}");
                draft.remarks.push(Remark::warning(0..text.len(), message));
            }
        }
    }
    draft.finish()
}

impl Draft {
    /// Takes what is plausible of a suggestion.
    fn with(self, text: &str, suggestion: &Suggestion) -> Self {
        let whole = 0..text.len();
        let mut draft = self;
        if draft.kind_open {
            draft = Self::of(
                text,
                Known {
                    kind: Some(suggestion.kind),
                    language: None,
                },
            );
            let kind = kind_name(suggestion.kind);
            let message = format!("suggested by the model: the kind of task is {kind}");
            let suggestion = "change `kind` in the task file where it is another";
            draft
                .remarks
                .push(Remark::note(whole.clone(), message).suggest(suggestion));
        }
        if draft.labels_open {
            draft.take_labels(text, &suggestion.labels);
        }
        draft
    }

    fn take_labels(&mut self, text: &str, labels: &[String]) {
        let whole = 0..text.len();
        let labels: Vec<String> = labels.iter().map(|label| label.trim().to_owned()).collect();
        if let Some(reason) = implausible(&labels) {
            let message = format!("the model suggested labels that are left aside: {reason}");
            self.remarks.push(Remark::warning(whole, message));
            return;
        }
        let message = format!(
            "suggested by the model: the labels are {}",
            labels.join(", ")
        );
        let suggestion = "change `labels` in the task file where others are wanted";
        self.remarks
            .retain(|remark| remark.message != super::NO_LABELS);
        self.remarks
            .push(Remark::warning(whole, message).suggest(suggestion));
        self.spec.output = labels_output(labels);
    }
}

/// Why labels cannot be meant, if so.
fn implausible(labels: &[String]) -> Option<String> {
    if labels.len() < 2 || labels.len() > MOST_LABELS {
        return Some(format!("{} labels, want 2 to {MOST_LABELS}", labels.len()));
    }
    let odd = labels.iter().find(|label| {
        label.is_empty()
            || label.chars().count() > LONGEST_LABEL
            || label.chars().any(char::is_control)
            || !label.chars().any(char::is_alphanumeric)
    });
    if let Some(label) = odd {
        return Some(format!("`{}` is no label", label.escape_debug()));
    }
    let repeated = labels.iter().enumerate().find(|(index, label)| {
        labels[..*index]
            .iter()
            .any(|other| other.to_lowercase() == label.to_lowercase())
    });
    repeated.map(|(_, label)| format!("`{label}` occurs twice"))
}

fn suggestion(text: &str, model: &dyn Generate) -> Result<Suggestion, String> {
    let request = GenerateRequest {
        prompt: prompt(text, model.facts().chat),
        max_tokens: 160,
        sampling: Sampling::GREEDY,
        logit_bias: Vec::new(),
        stop: Vec::new(),
        constraint: Some(Constraint::JsonSchema(schema())),
        decoding: Decoding {
            logprobs: false,
            ..Decoding::default()
        },
        attention: AttentionPolicy::Full,
        adapter: None,
    };
    let mut answers = model.generate(&[request], &Cancel::default(), &mut |_, _| {});
    let answer = answers.pop().ok_or("it answered nothing")?;
    let completion = answer.map_err(|error| error.to_string())?;
    serde_json::from_str(completion.text.trim()).map_err(|error| error.to_string())
}

fn schema() -> Value {
    let kinds = super::KINDS.map(kind_name);
    json!({
        "type": "object",
        "properties": {
            "kind": {"enum": kinds},
            "labels": {
                "type": "array",
                "items": {"type": "string", "maxLength": LONGEST_LABEL},
                "maxItems": MOST_LABELS,
            },
        },
        "required": ["kind", "labels"],
        "additionalProperties": false,
    })
}

fn prompt(text: &str, chat: bool) -> Prompt {
    let shown: String = text.chars().take(SHOWN).collect();
    let task = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    if !chat {
        let shown = |(task, answer): &(&str, &str)| format!("Task: {task}\nJSON: {answer}\n\n");
        let examples = EXAMPLES.iter().map(shown).collect::<Vec<_>>().concat();
        return Prompt::Plain(format!("{REQUEST}\n\n{examples}Task: {task}\nJSON:"));
    }
    let turn = |role, text: String| Segment { role, text };
    let mut turns = Vec::new();
    for (index, (task, answer)) in EXAMPLES.iter().enumerate() {
        let lead = if index == 0 {
            format!("{REQUEST}\n\n")
        } else {
            String::new()
        };
        turns.push(turn(Role::User, format!("{lead}Task: {task}")));
        turns.push(turn(Role::Assistant, (*answer).to_owned()));
    }
    turns.push(turn(Role::User, format!("Task: {task}")));
    Prompt::Chat(turns)
}

#[cfg(test)]
mod tests {
    use autoglm_spec::{Completion, EngineError, FinishReason, Label, ModelFacts, Output, Usage};

    use super::*;
    use crate::remark::Severity;

    /// A model that always says the same, or fails.
    struct Scripted(ModelFacts, Option<&'static str>);

    impl Scripted {
        fn saying(text: Option<&'static str>) -> Self {
            let facts = ModelFacts {
                name: "scripted".into(),
                context_tokens: 4096,
                chat: true,
            };
            Self(facts, text)
        }
    }

    impl Generate for Scripted {
        fn facts(&self) -> &ModelFacts {
            &self.0
        }

        fn generate(
            &self,
            requests: &[GenerateRequest],
            _: &Cancel,
            _: &mut dyn FnMut(usize, &autoglm_spec::Delta),
        ) -> Vec<Result<Completion, EngineError>> {
            assert!(matches!(
                requests[0].constraint,
                Some(Constraint::JsonSchema(_))
            ));
            let answer = self.1.map(|text| Completion {
                text: text.to_owned(),
                tokens: Vec::new(),
                logprobs: Vec::new(),
                top: Vec::new(),
                finish: FinishReason::Stop,
                usage: Usage::default(),
            });
            vec![answer.ok_or(EngineError::Cancelled)]
        }
    }

    fn labels_of(spec: &TaskSpec) -> Vec<&str> {
        match &spec.output {
            Output::Labels { labels } => labels
                .iter()
                .map(|Label { name, .. }| name.as_str())
                .collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn labels_that_no_rule_finds_are_suggested_by_the_model() {
        let model = Scripted::saying(Some(
            r#"{"kind":"classification","labels":["rock","jazz"]}"#,
        ));
        let (spec, remarks) = parse_with_model("Classify the song by genre", &model);
        assert_eq!(labels_of(&spec), ["rock", "jazz"]);
        let suggested = |r: &Remark| r.message.starts_with("suggested by the model");
        assert!(remarks.iter().any(suggested));
        assert!(!remarks.iter().any(|r| r.message == crate::parse::NO_LABELS));
    }

    #[test]
    fn a_kind_that_no_rule_finds_is_suggested_by_the_model() {
        let model = Scripted::saying(Some(r#"{"kind":"summarisation","labels":[]}"#));
        let (spec, remarks) = parse_with_model("Boil this text down", &model);
        assert_eq!(spec.kind, TaskKind::Summarisation);
        assert_eq!(spec.answer_title, "Summary");
        assert!(
            remarks
                .iter()
                .any(|r| r.message.contains("suggested by the model"))
        );
    }

    #[test]
    fn a_model_is_not_asked_what_the_rules_know() {
        let model = Scripted::saying(None);
        let text = "Classify the review as good or bad";
        assert_eq!(parse_with_model(text, &model), crate::parse::parse(text));
    }

    #[test]
    fn implausible_suggestions_and_failures_are_remarks() {
        let answers = [
            Some(r#"{"kind":"classification","labels":["one"]}"#),
            Some(r#"{"kind":"classification","labels":["a","A"]}"#),
            Some(r#"{"kind":"classification","labels":["","b"]}"#),
            Some("no JSON"),
            None,
        ];
        for answer in answers {
            let (spec, remarks) =
                parse_with_model("Classify the song by genre", &Scripted::saying(answer));
            assert!(labels_of(&spec).is_empty(), "{answer:?}");
            let about_model = |r: &&Remark| r.message.contains("the model");
            let remark = remarks.iter().find(about_model).expect("a remark");
            assert_eq!(remark.severity, Severity::Warning);
        }
    }
}
