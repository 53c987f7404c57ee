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
    let content_free = [logs(&[0.9, 0.1]), logs(&[0.5, 0.5])];
    let verdict = verdict(Prior::contextual(&content_free), &[0.7, 0.3]);
    // The prior's odds are the geometric mean of 9 and 1, that is 3; those of the answer 7/3.
    assert_eq!(verdict.answer, "b");
    let odds = 3.0 / (0.7 / 0.3);
    assert!((verdict.confidence - odds / (1.0 + odds)).abs() < 1e-5);
}

#[test]
fn a_batch_prior_centres_its_batch_and_sharpens_confidence() {
    let pairs = [[0.9, 0.1], [0.5, 0.5]].repeat(16);
    let batch: Vec<Vec<f32>> = pairs.iter().map(|p| logs(p)).collect();
    let prior = Prior::batch(&batch);
    assert_eq!(prior.records, 32);
    let verdict = verdict(prior, &[0.9, 0.1]);
    assert_eq!(verdict.answer, "a");
    let odds = 3f32.powf(1.0 / BATCH_TEMPERATURE);
    assert!((verdict.confidence - odds / (1.0 + odds)).abs() < 1e-5);
}

#[test]
fn few_records_are_believed_in_part() {
    let of_one_kind = vec![logs(&[0.9, 0.1]); 8];
    let prior = Prior::batch(&of_one_kind);
    let lean = prior.logprobs[0] - prior.logprobs[1];
    assert!((lean - 0.25 * 9f32.ln()).abs() < 1e-5);
    // One more of that kind is still answered as the others are.
    assert_eq!(verdict(prior, &[0.9, 0.1]).answer, "a");
}

#[test]
fn without_records_a_batch_has_no_bias() {
    let verdict = verdict(Prior::batch(&[]), &[0.6, 0.4]);
    assert_eq!(verdict.answer, "a");
}

#[test]
fn one_record_beyond_doubt_does_not_decide_for_all() {
    let mut batch = vec![logs(&[0.5, 0.5]); 63];
    batch.push(vec![0.0, -5000.0]);
    let prior = Prior::batch(&batch);
    assert_eq!(verdict(prior, &[0.45, 0.55]).answer, "b");
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
        let prior = Prior::batch(&records);
        let raw = Raw::Scores { logprobs: scores };
        let verdict = Judge::new(&labels(&["a", "b"]), prior).verdict(&raw).unwrap();
        let sum: f32 = verdict.distribution.iter().map(|(_, p)| p).sum();
        prop_assert!((sum - 1.0).abs() < 1e-5);
        prop_assert!(verdict.distribution[0].1 >= verdict.distribution[1].1);
        prop_assert_eq!(verdict.confidence, verdict.distribution[0].1);
    }
}
