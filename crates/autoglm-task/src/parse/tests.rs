//! Instructions with what shall be read from them: `fixtures/instructions.jsonl`, and
//! `fixtures/instructions-heldout.jsonl`, which was written before the rules.

use autoglm_spec::{Language, Output, TaskKind, TaskSpec};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

const CASES: &str = include_str!("../../fixtures/instructions.jsonl");
const HELD_OUT: &str = include_str!("../../fixtures/instructions-heldout.jsonl");

/// What a case expects; what it leaves out is not looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    text: String,
    kind: Option<TaskKind>,
    labels: Option<Vec<String>>,
    language: Option<Language>,
    fields: Option<Vec<String>>,
    title: Option<String>,
    answer: Option<String>,
    constraints: Option<Vec<String>>,
    keys: Option<Vec<String>>,
    numbers: Option<Vec<String>>,
    code: Option<String>,
    max_tokens: Option<usize>,
    remark: Option<String>,
}

fn cases(source: &str) -> Vec<Case> {
    let lines = source.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

fn labels_of(spec: &TaskSpec) -> Vec<&str> {
    match &spec.output {
        Output::Labels { labels } => labels.iter().map(|label| label.name.as_str()).collect(),
        _ => Vec::new(),
    }
}

fn fields_of(spec: &TaskSpec) -> Vec<&str> {
    spec.fields
        .iter()
        .map(|field| field.name.as_str())
        .collect()
}

fn keys_of(spec: &TaskSpec, numbers_only: bool) -> Vec<&str> {
    let Output::Json { schema, .. } = &spec.output else {
        return Vec::new();
    };
    let Some(properties) = schema["properties"].as_object() else {
        return Vec::new();
    };
    let wanted = |value: &Value| !numbers_only || value.to_string().contains("number");
    let keys = properties.iter().filter(|(_, value)| wanted(value));
    keys.map(|(key, _)| key.as_str()).collect()
}

/// What a case expected and did not get.
fn misses(case: &Case) -> Vec<String> {
    let (spec, remarks) = parse(&case.text);
    let mut misses = Vec::new();
    let mut check = |what: &str, want: Option<String>, got: String| {
        if let Some(want) = want.filter(|want| *want != got) {
            misses.push(format!("{what}: want {want}, got {got}"));
        }
    };
    let list = |names: &Option<Vec<String>>| names.as_ref().map(|names| format!("{names:?}"));
    let labels = case.labels.clone().or(case.kind.map(|_| Vec::new()));
    check(
        "kind",
        case.kind.map(|k| format!("{k:?}")),
        format!("{:?}", spec.kind),
    );
    check("labels", list(&labels), format!("{:?}", labels_of(&spec)));
    check(
        "language",
        case.language.map(|l| format!("{l:?}")),
        format!("{:?}", spec.language),
    );
    check(
        "fields",
        list(&case.fields),
        format!("{:?}", fields_of(&spec)),
    );
    check("title", case.title.clone(), spec.fields[0].title.clone());
    check("answer", case.answer.clone(), spec.answer_title.clone());
    check(
        "constraints",
        list(&case.constraints),
        format!("{:?}", spec.constraints),
    );
    check(
        "keys",
        list(&case.keys),
        format!("{:?}", keys_of(&spec, false)),
    );
    check(
        "numbers",
        list(&case.numbers),
        format!("{:?}", keys_of(&spec, true)),
    );
    check(
        "max_tokens",
        case.max_tokens.map(|n| n.to_string()),
        spec.output.max_tokens().to_string(),
    );
    if let Some(code) = &case.code {
        let found = match &spec.output {
            Output::Code { language, .. } => language.clone().unwrap_or_default(),
            _ => "no code".to_owned(),
        };
        check("code", Some(code.clone()), found);
    }
    if let Some(part) = &case.remark
        && !remarks.iter().any(|remark| remark.message.contains(part))
    {
        misses.push(format!("remark: want `{part}`, got {remarks:?}"));
    }
    misses
}

#[test]
fn every_case_is_read_as_it_is_meant() {
    let cases = cases(CASES);
    assert!(cases.len() >= 150);
    let report: Vec<String> = cases
        .iter()
        .map(|case| (case, misses(case)))
        .filter(|(_, misses)| !misses.is_empty())
        .map(|(case, misses)| format!("{}\n    {}", case.text, misses.join("\n    ")))
        .collect();
    assert!(
        report.is_empty(),
        "{} of {}:\n{}",
        report.len(),
        cases.len(),
        report.join("\n")
    );
}

#[test]
fn ten_thousand_characters_are_read_and_remarked_on() {
    for filler in [
        "classify translate 是否 还是 、or, ",
        "情感还是分类、",
        "a/b or (c, d) \"e\" ",
    ] {
        let text = format!(
            "Classify as good or bad. {}",
            filler.repeat(10_000 / filler.chars().count())
        );
        let (spec, remarks) = parse(&text);
        assert_eq!(spec.instruction, text.trim());
        assert!(
            remarks
                .iter()
                .any(|remark| remark.message.contains("sent with every record"))
        );
    }
}

/// Prints what the rules get wrong on the instructions that were written before them.
#[test]
#[ignore = "a measurement: cargo test -p autoglm-task held_out -- --ignored --nocapture"]
fn held_out() {
    let cases = cases(HELD_OUT);
    let mut wrong = [0usize; 5];
    for case in &cases {
        let misses = misses(case);
        for (count, what) in wrong
            .iter_mut()
            .zip(["kind", "labels", "language", "fields"])
        {
            *count += usize::from(misses.iter().any(|miss| miss.starts_with(what)));
        }
        wrong[4] += usize::from(!misses.is_empty());
        if !misses.is_empty() {
            println!("{}\n    {}", case.text, misses.join("\n    "));
        }
    }
    let [kind, labels, language, fields, any] = wrong.map(|count| cases.len() - count);
    println!(
        "of {}: kind {kind}, labels {labels}, language {language}, fields {fields}, all {any}",
        cases.len()
    );
}

proptest! {
    #[test]
    fn parsing_never_fails_and_spans_lie_inside_the_text(text in any::<String>()) {
        let (spec, remarks) = parse(&text);
        prop_assert!(!spec.fields.is_empty());
        for remark in remarks {
            prop_assert!(text.get(remark.span.clone()).is_some(), "{:?}", remark);
        }
    }

    #[test]
    fn whatever_is_put_together_from_the_rules_words_is_read(
        parts in prop::collection::vec(prop::sample::select(vec![
            "classify", "as", " ", "、", "或", "and", "，", "标签：", "\"", "“", "(", "）", "/", "not",
            "是否", "分为", "还是", "三类", "a", "b", "体育", ": ", "\n- ", "1.", "extract", "从", "中",
            "json", "one of", "`", "{x}", "fields", "，", "字", "50", "at most", "words", ".", "？",
        ]), 0..14)
    ) {
        let text = parts.concat();
        let (_, remarks) = parse(&text);
        for remark in remarks {
            prop_assert!(text.get(remark.span.clone()).is_some(), "{:?} {:?}", text, remark);
        }
    }
}
