use autoglm_spec::{Calibration, FinishReason, Label, Output};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn labels(names: &[&str]) -> Output {
    let label = |name: &&str| Label {
        name: (*name).to_owned(),
        word: (*name).to_owned(),
    };
    Output::Labels {
        labels: names.iter().map(label).collect(),
    }
}

fn logs(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln()).collect()
}

fn verdict(prior: Prior, probabilities: &[f32]) -> Verdict {
    let raw = Raw::Scores {
        logprobs: logs(probabilities),
    };
    Judge::new(&labels(&["a", "b"]), prior)
        .verdict(&raw)
        .unwrap()
}

#[test]
fn without_calibration_the_most_likely_label_is_the_answer() {
    let verdict = verdict(Prior::none(), &[0.3, 0.7]);
    assert_eq!(verdict.answer, "b");
    assert!((verdict.confidence - 0.7).abs() < 1e-6);
    assert_eq!(verdict.distribution[1].0, "a");
    assert_eq!(verdict.calibration, Calibration::None);
}

#[test]
fn a_bias_towards_a_label_is_divided_out() {
    let content_free = [logs(&[0.9, 0.1]), logs(&[0.7, 0.3])];
    let verdict = verdict(Prior::contextual(&content_free), &[0.7, 0.3]);
    // Prior 0.8 and 0.2: odds 0.7/0.8 to 0.3/0.2.
    assert_eq!(verdict.answer, "b");
    let wanted = (0.3 / 0.2) / (0.3 / 0.2 + 0.7 / 0.8);
    assert!((verdict.confidence - wanted).abs() < 1e-5);
}

#[test]
fn few_records_lean_on_the_records_without_content() {
    let of_one_kind = vec![logs(&[0.99, 0.01]); 8];
    let content_free = [logs(&[0.5, 0.5])];
    let prior = Prior::batch(&of_one_kind, &content_free);
    assert!((prior.probabilities[0] - (0.25 * 0.99 + 0.75 * 0.5)).abs() < 1e-5);
    assert_eq!(prior.calibration, Calibration::Batch);
    assert_eq!(prior.records, 8);
}

#[test]
fn without_records_the_batch_prior_is_the_contextual_one() {
    let content_free = [logs(&[0.6, 0.4])];
    let prior = Prior::batch(&[], &content_free);
    assert_eq!(prior, Prior::contextual(&content_free));
}

#[test]
fn labels_without_any_probability_do_not_break_the_judge() {
    let raw = Raw::Scores {
        logprobs: vec![f32::NEG_INFINITY, f32::NEG_INFINITY],
    };
    let verdict = Judge::new(&labels(&["a", "b"]), Prior::none())
        .verdict(&raw)
        .unwrap();
    assert_eq!((verdict.answer.as_str(), verdict.confidence), ("a", 0.5));
}

fn text(text: &str, finish: FinishReason) -> Raw {
    Raw::Text {
        text: text.to_owned(),
        mean_logprob: -0.5,
        tokens: 3,
        finish,
    }
}

#[test]
fn open_answers_are_as_sure_as_their_tokens_and_never_certain() {
    let judge = Judge::new(&Output::Text { max_tokens: 9 }, Prior::none());
    let verdict = judge.verdict(&text(" fine\n", FinishReason::Stop)).unwrap();
    assert_eq!(verdict.answer, "fine");
    assert!((verdict.confidence - (-0.5f32).exp()).abs() < 1e-6);
    assert_eq!(open_confidence(0.0, 5), OPEN_CONFIDENCE_LIMIT);
    assert_eq!(open_confidence(0.0, 0), 0.0);
}

#[test]
fn json_that_is_not_complete_is_no_answer() {
    let output = Output::Json {
        schema: json!({}),
        max_tokens: 16,
    };
    let judge = Judge::new(&output, Prior::none());
    let cut = judge.verdict(&text("{\"a\": [1,", FinishReason::Length));
    assert_eq!(
        cut.unwrap_err(),
        "the JSON was not complete after 16 tokens, the task's limit"
    );
    let whole = judge.verdict(&text(" {\"a\": 1} ", FinishReason::Stop));
    assert_eq!(whole.unwrap().answer, "{\"a\": 1}");
}

#[test]
fn the_indentation_of_code_is_kept() {
    let output = Output::Code {
        language: None,
        max_tokens: 9,
    };
    let judge = Judge::new(&output, Prior::none());
    let verdict = judge.verdict(&text("    return 1\n\n", FinishReason::Stop));
    assert_eq!(verdict.unwrap().answer, "    return 1");
}

proptest! {
    #[test]
    fn distributions_are_probabilities_in_falling_order(
        scores in prop::collection::vec(-30f32..0.0, 2),
        records in prop::collection::vec(prop::collection::vec(-30f32..0.0, 2), 0..50),
    ) {
        let prior = Prior::batch(&records, &[logs(&[0.5, 0.5])]);
        let raw = Raw::Scores { logprobs: scores };
        let verdict = Judge::new(&labels(&["a", "b"]), prior).verdict(&raw).unwrap();
        let sum: f32 = verdict.distribution.iter().map(|(_, p)| p).sum();
        prop_assert!((sum - 1.0).abs() < 1e-5);
        prop_assert!(verdict.distribution[0].1 >= verdict.distribution[1].1);
        prop_assert_eq!(verdict.confidence, verdict.distribution[0].1);
    }
}
