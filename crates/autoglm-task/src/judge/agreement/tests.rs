use autoglm_spec::{Example, FinishReason, Output};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::scripted::{record, review_task};

fn sample(text: &str) -> Sample {
    Sample {
        text: text.to_owned(),
        mean_logprob: -0.5,
        tokens: 4,
        finish: FinishReason::Stop,
        repair: false,
    }
}

fn samples(texts: &[&str]) -> Vec<Sample> {
    texts.iter().map(|text| sample(text)).collect()
}

const TEXT: Output = Output::Text { max_tokens: 64 };

fn counts(output: &Output, compare: Compare, texts: &[&str]) -> Vec<usize> {
    let counted = Agreement::new(output, compare).count(&samples(texts));
    counted.unwrap().ballot.counts
}

#[test]
fn numbers_agree_by_value() {
    let texts = [
        "So it is 1,200.",
        "#### 1200.0",
        "答案是一千二",
        "1200 of 7",
        "twelve",
    ];
    assert_eq!(counts(&TEXT, Compare::Number, &texts), [3, 1, 1]);
}

#[test]
fn json_agrees_by_value_whatever_the_order_of_keys() {
    let output = Output::Json {
        schema: json!({}),
        max_tokens: 9,
    };
    let texts = [
        r#"{"a": 1, "b": {"c": [1, 2], "d": null}}"#,
        r#"{"b": {"d": null, "c": [1.0, 2]}, "a": 1}"#,
        r#"{"a": 1, "b": {"c": [2, 1], "d": null}}"#,
        r#"{"a": 1"#,
    ];
    assert_eq!(counts(&output, Compare::Json, &texts), [2, 1]);
}

#[test]
fn short_texts_agree_by_their_words() {
    let texts = [
        "(B)",
        "b",
        "The answer is B.\nBecause.",
        "the C",
        "] ]",
        "]  ]",
    ];
    assert_eq!(counts(&TEXT, Compare::Words, &texts), [3, 1, 2]);
}

#[test]
fn a_task_says_how_its_answers_are_compared() {
    let mut task = review_task();
    let mut compare = |output: Output, instruction: &str| {
        task.output = output;
        instruction.clone_into(&mut task.instruction);
        Compare::of(&task)
    };
    let text = |max_tokens| Output::Text { max_tokens };
    assert_eq!(
        compare(text(200), "How many eggs are left?"),
        Compare::Number
    );
    assert_eq!(compare(text(200), "计算还剩多少元"), Compare::Number);
    assert_eq!(compare(text(200), "Explain the passage"), Compare::Meaning);
    for other in [
        "Describe the computer in the picture",
        "Explain the computed style and the numbers of the bus",
        "介绍一下计算机的历史",
        "介绍一下云计算和量子计算",
        "总结这篇关于数字化转型和数字经济的文章",
    ] {
        assert_eq!(compare(text(200), other), Compare::Meaning, "{other}");
    }
    for number in [
        "Compute: 3 + 4",
        "给出结果，只写数字。",
        "数字是什么？",
        "Give a number",
    ] {
        assert_eq!(compare(text(200), number), Compare::Number, "{number}");
    }
    assert_eq!(compare(text(16), "Which city is it?"), Compare::Words);
    let code = Output::Code {
        language: None,
        max_tokens: 9,
    };
    assert_eq!(compare(code, "Write it"), Compare::Code);
    let example = |output: &str| Example {
        input: record(&json!({"text": "a"})),
        output: output.to_owned(),
    };
    task.output = text(200);
    task.examples = vec![example("2 + 2 = 4\n#### 4"), example("17")];
    assert_eq!(Compare::of(&task), Compare::Number);
    task.examples.push(example("In 1990 it was red"));
    assert_eq!(Compare::of(&task), Compare::Meaning);
}

#[test]
fn the_vote_tells_who_won_and_how_sure_that_is() {
    let samples = samples(&["7", "8", "8", "#### 8", "9"]);
    let agreement = Agreement::new(&TEXT, Compare::Number);
    let counted = agreement.count(&samples).unwrap();
    let (answer, confidence, vote) = counted.verdict(&samples, Stopped::Limit).unwrap();
    assert_eq!(answer, "8");
    assert_eq!((vote.samples, vote.agreed, vote.unusable), (5, 3, 0));
    let answers: Vec<&str> = vote
        .alternatives
        .iter()
        .map(|a| a.answer.as_str())
        .collect();
    assert_eq!(answers, ["8", "7", "9"]);
    assert!((vote.alternatives[0].share - 0.6).abs() < 1e-6);
    let wanted = (2.0 + (-0.5f32).exp()) / 5.0;
    assert!((confidence - wanted).abs() < 1e-6);
}

#[test]
fn samples_that_cannot_be_used_lower_the_confidence_and_the_last_way_out_is_an_error() {
    let output = Output::Json {
        schema: json!({}),
        max_tokens: 9,
    };
    let agreement = Agreement::new(&output, Compare::Json);
    let verdict = |texts: &[&str]| {
        let samples = samples(texts);
        agreement
            .count(&samples)
            .unwrap()
            .verdict(&samples, Stopped::Limit)
    };
    let (answer, confidence, vote) = verdict(&["{", "[1]"]).unwrap();
    assert_eq!((answer.as_str(), vote.unusable), ("[1]", 1));
    assert!(confidence < 0.5);
    assert!(
        verdict(&["{", "["])
            .unwrap_err()
            .starts_with("the answer is not JSON")
    );
}

proptest! {
    #[test]
    fn who_agrees_does_not_depend_on_the_order_of_samples(
        texts in prop::collection::vec("[12](\\.0)?|the [12]|x", 1..9),
        shift in 0usize..9,
        compare in prop_oneof![Just(Compare::Number), Just(Compare::Words), Just(Compare::Meaning)],
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut turned = texts.clone();
        turned.rotate_left(shift % texts.len());
        let sorted = |texts: &[&str]| {
            let mut counts = counts(&TEXT, compare, texts);
            counts.sort_unstable();
            counts
        };
        prop_assert_eq!(sorted(&texts), sorted(&turned));
    }
}
