//! Instructions to try that need no model to write them: phrasings per kind of answer and language.

use std::sync::LazyLock;

use autoglm_spec::{Language, Output, TaskSpec};
use serde::Deserialize;

use super::describe::descriptions;
use crate::compose::fill;
use crate::eval::Labelled;

/// Up to how many labels a wording lists them.
const LISTED_LABELS: usize = 30;

/// The phrasings of one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Phrasings {
    colon: String,
    separator: String,
    answer_titles: Vec<String>,
    closed: Vec<String>,
    open: Vec<String>,
}

impl Phrasings {
    fn of(language: Language) -> &'static Self {
        static ENGLISH: LazyLock<Phrasings> =
            LazyLock::new(|| read(include_str!("wordings/en.toml")));
        static CHINESE: LazyLock<Phrasings> =
            LazyLock::new(|| read(include_str!("wordings/zh.toml")));
        match language {
            Language::English => &ENGLISH,
            Language::Chinese => &CHINESE,
        }
    }
}

fn read(source: &str) -> Phrasings {
    toml::from_str(source).expect("a test reads every file")
}

/// Instructions to try for a task, other than its own.
pub(super) fn wordings(spec: &TaskSpec, propose: &[Labelled]) -> Vec<String> {
    let phrasings = Phrasings::of(spec.language);
    let titles: Vec<&str> = spec.fields.iter().map(|f| f.title.as_str()).collect();
    let (templates, labels, described) = match &spec.output {
        Output::Labels { labels } => {
            let words: Vec<&str> = labels.iter().map(|l| l.word.as_str()).collect();
            let listed = labels.len() <= LISTED_LABELS;
            let described = descriptions(
                spec,
                labels,
                propose,
                &phrasings.colon,
                &phrasings.separator,
            );
            let list = listed.then(|| words.join(&phrasings.separator));
            (&phrasings.closed, list, described)
        }
        Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => {
            (&phrasings.open, None, None)
        }
    };
    let values = [
        ("instruction", Some(spec.instruction.trim().to_owned())),
        ("labels", labels),
        ("fields", Some(lowered(&titles.join(&phrasings.separator)))),
        ("answer", Some(lowered(&spec.answer_title))),
        ("descriptions", described),
    ];
    let mut found: Vec<String> = Vec::new();
    for template in templates {
        if let Some(text) = filled(template, &values)
            && text != spec.instruction
            && !found.contains(&text)
        {
            found.push(text);
        }
    }
    found
}

/// What answers may be called, other than as the task has it.
pub(super) fn answer_titles(spec: &TaskSpec) -> Vec<String> {
    let titles = &Phrasings::of(spec.language).answer_titles;
    let others = titles.iter().filter(|title| **title != spec.answer_title);
    others.cloned().collect()
}

/// A template with its values; none where one of them is missing.
fn filled(template: &str, values: &[(&str, Option<String>)]) -> Option<String> {
    let is_missing = |(name, value): &&(&str, Option<String>)| {
        value.is_none() && template.contains(&format!("{{{name}}}"))
    };
    if values.iter().any(|value| is_missing(&value)) {
        return None;
    }
    let given: Vec<(&str, &str)> = values
        .iter()
        .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
        .collect();
    Some(fill(template, &given))
}

/// A title as it stands within a sentence.
fn lowered(title: &str) -> String {
    title.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::review_task;

    #[test]
    fn phrasings_name_the_task_s_own_words_and_labels() {
        let found = wordings(&review_task(), &[]);
        assert_eq!(
            found[0],
            "Classify each review by its sentiment. The sentiment is one of: positive, negative."
        );
        // Descriptions need records.
        assert_eq!(found.len(), 6);
        assert!(found.iter().all(|text| !text.contains('{')));
    }

    #[test]
    fn chinese_tasks_get_chinese_phrasings() {
        let spec = TaskSpec {
            language: Language::Chinese,
            instruction: "判断情感。".to_owned(),
            answer_title: "情感".to_owned(),
            ..review_task()
        };
        let found = wordings(&spec, &[]);
        assert!(
            found[0].starts_with("请判断每条review的情感"),
            "{}",
            found[0]
        );
        assert_eq!(answer_titles(&spec), ["答案", "类别"]);
    }

    #[test]
    fn open_answers_have_phrasings_of_their_own() {
        let spec = TaskSpec {
            output: Output::Text { max_tokens: 8 },
            ..review_task()
        };
        assert_eq!(wordings(&spec, &[]).len(), 6);
    }
}
