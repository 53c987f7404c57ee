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

/// A batch in which `share` of 100 records speak for the first label, all too much for it.
fn biased_batch(share: usize) -> Vec<Vec<f32>> {
    let record = |i: usize| if i < share { [0.98, 0.02] } else { [0.6, 0.4] };
    (0..100).map(|i| logs(&record(i))).collect()
}

#[test]
fn a_batch_prior_finds_the_point_between_the_labels() {
    let prior = Prior::batch(&biased_batch(50), true);
    assert_eq!(prior.records, 100);
    assert_eq!(verdict(prior.clone(), &[0.6, 0.4]).answer, "b");
    assert_eq!(verdict(prior, &[0.98, 0.02]).answer, "a");
}

#[test]
fn an_uneven_batch_moves_the_prior_less_than_its_mean_alone() {
    let lean = |share| {
        let prior = Prior::batch(&biased_batch(share), false);
        prior.logprobs[0] - prior.logprobs[1]
    };
    let mean_lean = |share: f32| {
        let p = 0.98 * share + 0.6 * (1.0 - share);
        (p / (1.0 - p)).ln()
    };
    assert!(lean(80) - lean(50) < mean_lean(0.8) - mean_lean(0.5));
}

#[test]
fn confidence_follows_the_spread_where_there_are_examples() {
    let narrow: Vec<Vec<f32>> = (0..64)
        .map(|i| logs(if i % 2 == 0 { &[0.6, 0.4] } else { &[0.4, 0.6] }))
        .collect();
    let confidence = |has_examples| {
        let prior = Prior::batch(&narrow, has_examples);
        verdict(prior, &[0.6, 0.4]).confidence
    };
    assert!((confidence(false) - 0.6).abs() < 1e-5);
    // The spread is half of ln 1.5, 0.7 of it less than the least temperature, 0.3.
    let odds = 1.5f32.powf(1.0 / 0.3);
    assert!((confidence(true) - odds / (1.0 + odds)).abs() < 1e-5);
}

#[test]
fn few_records_are_believed_in_part() {
    let of_one_kind = vec![logs(&[0.9, 0.1]); 8];
    let prior = Prior::batch(&of_one_kind, false);
    let lean = prior.logprobs[0] - prior.logprobs[1];
    assert!((lean - 0.25 * 9f32.ln()).abs() < 1e-5);
    // One more of that kind is still answered as the others are.
    assert_eq!(verdict(prior, &[0.9, 0.1]).answer, "a");
}

#[test]
fn without_records_a_batch_has_no_bias() {
    let prior = Prior::batch(&[], true);
    assert_eq!(prior.temperature, 1.0);
    assert_eq!(verdict(prior, &[0.6, 0.4]).answer, "a");
}

#[test]
fn one_record_beyond_doubt_does_not_decide_for_all() {
    let mut batch = biased_batch(50);
    let before = Prior::batch(&batch, false);
    batch.push(vec![0.0, -5000.0]);
    let after = Prior::batch(&batch, false);
    let lean = |prior: &Prior| prior.logprobs[0] - prior.logprobs[1];
    assert!((lean(&after) - lean(&before)).abs() < 0.1);
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
        more: Vec::new(),
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
        let prior = Prior::batch(&records, true);
        let raw = Raw::Scores { logprobs: scores };
        let verdict = Judge::new(&labels(&["a", "b"]), prior).verdict(&raw).unwrap();
        let sum: f32 = verdict.distribution.iter().map(|(_, p)| p).sum();
        prop_assert!((sum - 1.0).abs() < 1e-5);
        prop_assert!(verdict.distribution[0].1 >= verdict.distribution[1].1);
        prop_assert_eq!(verdict.confidence, verdict.distribution[0].1);
    }
}

/// Records of two labels whose log-odds are these.
fn records_of(odds: &[f32]) -> Vec<Vec<f32>> {
    let both = |z: &f32| vec![-(1.0 + z.exp()).ln(), -(1.0 + (-z).exp()).ln()];
    odds.iter().map(both).collect()
}

#[test]
fn a_lean_that_a_mixture_explains_is_left_alone_and_a_larger_one_is_taken_off() {
    let even: Vec<f32> = (0..64)
        .map(|n| if n % 2 == 0 { 2.0 } else { -2.0 })
        .collect();
    let shifted = |by: f32| records_of(&even.iter().map(|z| z + by).collect::<Vec<_>>());
    assert_eq!(Prior::batch(&shifted(0.2), true).logprobs, [0.0, 0.0]);
    let lean = Prior::batch(&shifted(2.0), true).logprobs;
    assert!(lean[1] - lean[0] > 1.0, "{lean:?}");
}
