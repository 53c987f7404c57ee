//! An ensemble on an engine whose hidden states tell the label, and its parts against independent
//! implementations.

use std::collections::BTreeSet;

use autoglm_spec::{Cancel, EngineError, Example};
use proptest::prelude::*;
use serde_json::Value;

use super::discriminant::Discriminant;
use super::fakes::*;
use super::halves::{deal, examples};
use super::pool::{Opinions, Pool, losses};
use super::*;
use crate::TaskError;
use crate::numeric::log_softmax;

#[test]
fn labelled_records_teach_what_the_scores_do_not_tell() {
    let engine = Fake::leaning(true);
    let ensemble = fitted(&engine, &rows(0..90), FitSettings::default()).unwrap();
    let scores_alone = FitSettings {
        views: BTreeSet::from([View::Scores]),
        ..FitSettings::default()
    };
    let scores_alone = fitted(&engine, &rows(0..90), scores_alone).unwrap();
    let (with_states, without) = (
        share_right(&engine, &ensemble),
        share_right(&engine, &scores_alone),
    );
    assert!(with_states > 0.97, "{with_states}");
    assert!(without > 0.5, "the lean is taken off: {without}");
    assert!(with_states > without);
    assert!(ensemble.report().accuracy > 0.95);
}

#[test]
fn an_engine_without_hidden_states_is_judged_by_its_scores() {
    let engine = Fake::leaning(false);
    let ensemble = fitted(&engine, &rows(0..60), FitSettings::default()).unwrap();
    let views: Vec<View> = ensemble.report().views.iter().map(|v| v.view).collect();
    assert_eq!(views, [View::Scores]);
    assert!(share_right(&engine, &ensemble) > 0.5);
}

#[test]
fn the_order_of_rows_and_repeated_rows_change_nothing() {
    let engine = Fake::leaning(true);
    let straight = rows(0..40);
    let mut turned = straight.clone();
    turned.reverse();
    turned.extend(straight.iter().take(7).cloned());
    let one = fitted(&engine, &straight, FitSettings::default()).unwrap();
    let other = fitted(&engine, &turned, FitSettings::default()).unwrap();
    assert_eq!(one.hash(), other.hash());
}

#[test]
fn an_ensemble_survives_being_stored() {
    let engine = Fake::leaning(true);
    let ensemble = fitted(&engine, &rows(0..40), FitSettings::default()).unwrap();
    let json = serde_json::to_string(&ensemble).unwrap();
    let back: Ensemble = serde_json::from_str(&json).unwrap();
    assert_eq!(back, ensemble);
    assert_eq!(back.hash(), ensemble.hash());
}

#[test]
fn rows_of_one_label_or_one_a_label_teach_nothing() {
    let engine = Fake::leaning(true);
    let of_one: Vec<Example> = rows(0..30)
        .into_iter()
        .filter(|row| row.output == "red")
        .collect();
    assert_eq!(fitted(&engine, &of_one, FitSettings::default()), None);
    assert_eq!(fitted(&engine, &rows(0..3), FitSettings::default()), None);
}

#[test]
fn an_answer_that_is_no_label_is_named() {
    let mut odd = rows(0..12);
    odd[5].output = "mauve".to_owned();
    let engine = Fake::leaning(true);
    let error = try_fit(&engine, &odd, FitSettings::default(), &Cancel::default()).unwrap_err();
    assert!(
        matches!(&error, TaskError::NoSuchLabel { label, .. } if label == "mauve"),
        "{error}"
    );
}

#[test]
fn a_raised_flag_ends_a_fit() {
    let cancel = Cancel::default();
    cancel.cancel();
    let engine = Fake::leaning(true);
    let error = try_fit(&engine, &rows(0..12), FitSettings::default(), &cancel).unwrap_err();
    assert!(matches!(
        error,
        TaskError::Engine {
            source: EngineError::Cancelled,
            ..
        }
    ));
}

#[test]
fn no_row_is_judged_behind_a_prompt_that_holds_it() {
    let places = |row: &Example| LABELS.iter().position(|l| *l == row.output).unwrap();
    let dealt = deal(
        rows(0..31)
            .into_iter()
            .map(|r| (r.clone(), places(&r)))
            .collect(),
        3,
    );
    for row in &dealt {
        let shown = examples(&dealt, 1 - row.half, 8);
        assert!(!shown.contains(&row.example));
    }
    let shown = examples(&dealt, 0, 2);
    let of_label = |label: &str| shown.iter().filter(|e| e.output == label).count();
    assert_eq!(LABELS.map(of_label), [2, 2, 2]);
}

/// A golden file of `tools/reference/discriminant_golden.py`.
fn golden() -> Value {
    let text = include_str!("../../fixtures/discriminant.json");
    serde_json::from_str(text).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let of = |v: &Value| v.as_f64().unwrap();
    value.as_array().unwrap().iter().map(of).collect()
}

fn vectors(value: &Value) -> Vec<Vec<f32>> {
    let narrow = |row: &Value| numbers(row).into_iter().map(|x| x as f32).collect();
    value.as_array().unwrap().iter().map(narrow).collect()
}

#[test]
fn probes_are_those_of_numpy() {
    let golden = golden();
    for case in golden["probes"].as_array().unwrap() {
        let train = vectors(&case["train"]);
        let train: Vec<&[f32]> = train.iter().map(Vec::as_slice).collect();
        let labels: Vec<usize> = numbers(&case["labels"])
            .into_iter()
            .map(|l| l as usize)
            .collect();
        let count = labels.iter().max().unwrap() + 1;
        let shrinkage = case["shrinkage"].as_f64().unwrap();
        let probe = Discriminant::fit(&train, &labels, count, &[shrinkage]).remove(0);
        let wanted = case["log_probabilities"].as_array().unwrap();
        for (vector, wanted) in vectors(&case["test"]).iter().zip(wanted) {
            for (found, wanted) in probe.log_probabilities(vector).iter().zip(numbers(wanted)) {
                assert!(
                    (found - wanted).abs() < 1e-4 * (1.0 + wanted.abs()),
                    "{found} {wanted}"
                );
            }
        }
    }
}

#[test]
fn a_label_without_samples_is_unlikely_and_nothing_breaks() {
    let same: [&[f32]; 4] = [&[1.0, 2.0], &[1.0, 2.0], &[3.0, 2.0], &[3.0, 2.0]];
    let probe = Discriminant::fit(&same, &[0, 0, 2, 2], 3, &[0.5]).remove(0);
    let logs = probe.log_probabilities(&[1.0, 2.0]);
    assert!(logs.iter().all(|log| log.is_finite()), "{logs:?}");
    assert!(logs[0] > logs[2] && logs[1] < -20.0, "{logs:?}");
}

fn opinions(rows: usize, labels: usize) -> impl Strategy<Value = Opinions> {
    let row = prop::collection::vec(-4.0..0.0_f64, labels).prop_map(|logs| log_softmax(&logs));
    prop::collection::vec(row, rows)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn a_pool_is_no_worse_than_knowing_nothing(
        views in prop::collection::vec(opinions(60, 3), 2..4),
        labels in prop::collection::vec(0usize..3, 60),
    ) {
        let pool = Pool::fit(&[View::Scores, View::States, View::Vectors][..views.len()], &views, &labels);
        prop_assert!(pool.weights.iter().all(|weight| *weight >= 0.0));
        let flat: Opinions = labels.iter().map(|_| log_softmax(&[0.0; 3])).collect();
        let pooled = pool.opinions(&views);
        let mean = |opinions| losses(opinions, &labels).iter().sum::<f64>() / 60.0;
        prop_assert!(mean(&pooled) < mean(&flat) + 0.02);
        for row in &pooled {
            prop_assert!((row.iter().map(|log| log.exp()).sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_view_that_knows_outweighs_one_that_guesses(
        noise in opinions(80, 3),
        labels in prop::collection::vec(0usize..3, 80),
    ) {
        let knows: Opinions = labels
            .iter()
            .map(|&label| log_softmax(&std::array::from_fn::<f64, 3, _>(|k| if k == label { 2.0 } else { 0.0 })))
            .collect();
        let pool = Pool::fit(&[View::Scores, View::States], &[knows, noise], &labels);
        prop_assert!(pool.weights[0] > 2.0 * pool.weights[1], "{:?}", pool.weights);
    }
}
