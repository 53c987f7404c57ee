//! The wording of prompts: one data file per language, read once. To add a language, add its
//! file to [`Wording::of`]; to add a kind of task, add its `[kinds.…]` table to every file.

use std::collections::HashMap;
use std::sync::LazyLock;

use autoglm_spec::{Language, TaskKind};
use serde::Deserialize;

const ENGLISH: &str = include_str!("templates/en.toml");
const CHINESE: &str = include_str!("templates/zh.toml");

/// How prompts of one language read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wording {
    /// What stands between a title and its value. Its trailing space, where it has one, belongs
    /// to what follows: a scored label begins with it.
    pub(super) colon: String,
    /// What stands between the items of a list.
    pub(super) separator: String,
    /// What stands around a quoted value.
    pub(super) quotes: [String; 2],
    /// Values without content, for contextual calibration.
    pub(super) blanks: Vec<String>,
    /// What stands before the examples and the record, with the placeholders `{instruction}`,
    /// `{constraints}` (those that the instruction does not contain) and `{rule}`. Lines that come
    /// out empty are left out.
    pub(super) heading: String,
    /// What shall come out, in words.
    pub(super) rules: Rules,
    kinds: HashMap<TaskKind, KindWording>,
}

/// What shall come out, in words, where the output says more than the kind of task does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// A closed set; `{labels}`.
    pub(super) labels: String,
    /// A JSON object; `{keys}`.
    pub(super) json: String,
    /// Any other JSON; `{schema}`.
    pub(super) schema: String,
    /// Code.
    pub(super) code: String,
    /// Code in a named language; `{language}`.
    pub(super) code_in: String,
}

/// What is particular to a kind of task.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KindWording {
    /// What shall come out where the output is free text.
    pub(super) rule: String,
    /// How values are written for models that continue text.
    pub(super) plain: ValueStyle,
    /// How values are written in a chat.
    pub(super) chat: ValueStyle,
    /// What ends a text answer of a model that continues text.
    pub(super) stop: Vec<String>,
}

/// How a record's value is written into a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ValueStyle {
    /// On the title's line; line breaks become spaces.
    Line,
    /// As `Line`, between quotation marks.
    Quoted,
    /// On the title's line where the value is one line, else between quotation fences.
    Block,
    /// Between code fences.
    Code,
    /// As `Code`, but the last field's fence stays open and the answer continues the code.
    Continued,
}

impl Wording {
    /// The wording of a language.
    pub(super) fn of(language: Language) -> &'static Self {
        static ENGLISH_WORDING: LazyLock<Wording> = LazyLock::new(|| read(ENGLISH));
        static CHINESE_WORDING: LazyLock<Wording> = LazyLock::new(|| read(CHINESE));
        match language {
            Language::English => &ENGLISH_WORDING,
            Language::Chinese => &CHINESE_WORDING,
        }
    }

    /// The text of a language's file, for hashing.
    pub(super) fn source(language: Language) -> &'static str {
        match language {
            Language::English => ENGLISH,
            Language::Chinese => CHINESE,
        }
    }

    /// What is particular to a kind of task.
    pub(super) fn kind(&self, kind: TaskKind) -> &KindWording {
        self.kinds
            .get(&kind)
            .expect("a test reads every kind from every file")
    }

    /// The colon without its trailing space.
    pub(super) fn bare_colon(&self) -> &str {
        self.colon.trim_end()
    }

    /// What a scored label begins with in a text that goes on: the colon's trailing space.
    pub(super) fn option_lead(&self) -> &str {
        &self.colon[self.bare_colon().len()..]
    }
}

fn read(source: &str) -> Wording {
    toml::from_str(source).expect("a test reads every file")
}

/// Replaces each `{name}` in one pass, so that a value that looks like a placeholder stays as it
/// is.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let hit = values.iter().find_map(|(name, value)| {
            let tail = rest[1..].strip_prefix(name)?.strip_prefix('}')?;
            Some((tail, value))
        });
        if let Some((tail, value)) = hit {
            out.push_str(value);
            rest = tail;
        } else {
            out.push('{');
            rest = &rest[1..];
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [TaskKind; 9] = [
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

    #[test]
    fn every_language_has_wording_for_every_kind() {
        for language in [Language::English, Language::Chinese] {
            let wording = Wording::of(language);
            assert_eq!(wording.kinds.len(), KINDS.len());
            for kind in KINDS {
                wording.kind(kind);
            }
        }
    }

    #[test]
    fn a_value_that_looks_like_a_placeholder_stays_as_it_is() {
        let out = fill("{a}-{b}-{c}", &[("a", "{b}"), ("b", "2")]);
        assert_eq!(out, "{b}-2-{c}");
    }

    #[test]
    fn english_labels_begin_with_a_space_and_chinese_ones_do_not() {
        assert_eq!(Wording::of(Language::English).option_lead(), " ");
        assert_eq!(Wording::of(Language::Chinese).option_lead(), "");
    }
}
