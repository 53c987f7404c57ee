//! What an ensemble says of rows that it knows is what it would say of new ones, and what it does
//! with engines that tell little or odd things.

use std::collections::BTreeSet;

use autoglm_spec::{Cancel, EngineError, Example, Label, Output, TaskSpec};

use super::fakes::*;
use super::*;

/// Rows whose labels have nothing to do with their records.
fn rows_by_chance(count: usize) -> Vec<Example> {
    let label = |number: usize| LABELS[(noise(number, 99) * 3.0) as usize];
    let row = |number: usize| Example {
        input: record(number),
        output: label(number).to_owned(),
    };
    (0..count).map(row).collect()
}

fn with_shots(shots: usize) -> FitSettings {
    FitSettings {
        shots: Some(shots),
        ..FitSettings::default()
    }
}

#[test]
fn an_engine_that_repeats_its_examples_is_found_to_know_nothing() {
    let parrot = Fake::new(|heard| {
        let own = format!("Number: n{}\nColour: ", heard.number);
        let told = heard.before.split(&own).nth(1);
        let logprob = |label: usize| match told {
            Some(rest) if rest.starts_with(LABELS[label]) => 0.0,
            Some(_) => -9.0,
            None => -1.0 - heard.noise(label),
        };
        Ok(Said {
            logprobs: (0..heard.labels).map(logprob).collect(),
            states: Vec::new(),
        })
    });
    let ensemble = fitted(&parrot, &rows_by_chance(60), with_shots(8)).unwrap();
    let shown: usize = ensemble.sets().iter().map(Vec::len).sum();
    assert!(shown > 40, "most rows stand in a prompt: {shown}");
    let accuracy = ensemble.report().accuracy;
    assert!(accuracy < 0.5, "{accuracy}");
}

#[test]
fn a_probe_of_states_that_say_nothing_is_found_to_know_nothing() {
    let random = Fake::new(|heard| {
        Ok(Said {
            logprobs: vec![-1.0; heard.labels],
            states: vec![(0..64).map(|k| heard.noise(k)).collect()],
        })
    });
    let ensemble = fitted(&random, &rows_by_chance(120), with_shots(1)).unwrap();
    let accuracy = ensemble.report().accuracy;
    assert!(accuracy < 0.5, "{accuracy}");
}

#[test]
fn what_a_prompt_does_to_all_records_alike_is_taken_off() {
    let moved = Fake::new(|heard| {
        let by_prompt = |k: usize| 40.0 * noise(heard.before.len(), k);
        let right = |k: usize| if k == heard.number % 3 { 2.0 } else { 0.0 };
        let logprob = |k: usize| right(k) + heard.noise(k) - by_prompt(k) - 10.0;
        let state = |k: usize| right(k) + heard.noise(k) + by_prompt(k + 9);
        Ok(Said {
            logprobs: (0..heard.labels).map(logprob).collect(),
            states: vec![(0..8).map(state).collect()],
        })
    });
    for view in [View::Scores, View::States] {
        let settings = FitSettings {
            views: BTreeSet::from([view]),
            ..with_shots(2)
        };
        let ensemble = fitted(&moved, &rows(0..60), settings).unwrap();
        let right = share_right(&moved, &ensemble);
        assert!(right > 0.95, "{view:?} {right}");
    }
}

#[test]
fn the_number_of_examples_is_the_one_that_does_best() {
    let fond_of_twelve = Fake::new(|heard| {
        let knows = heard.shown() == 12;
        let logprob = |k: usize| {
            heard.noise(k)
                + if knows && k == heard.number % 3 {
                    3.0
                } else {
                    0.0
                }
        };
        Ok(Said {
            logprobs: (0..heard.labels).map(logprob).collect(),
            states: Vec::new(),
        })
    });
    let ensemble = fitted(&fond_of_twelve, &rows(0..60), FitSettings::default()).unwrap();
    assert_eq!(ensemble.report().shots, 4);
    assert!(share_right(&fond_of_twelve, &ensemble) > 0.95);
}

#[test]
fn examples_that_leave_no_room_for_the_record_are_left_out() {
    let forgetful = Fake::new(|heard| {
        if heard.shown() > 0 {
            return Err(EngineError::ContextExceeded {
                prompt_tokens: 9,
                reserved_tokens: 0,
                limit_tokens: 4,
            });
        }
        let logprob = |k: usize| heard.noise(k) + if k == heard.number % 3 { 3.0 } else { 0.0 };
        Ok(Said {
            logprobs: (0..heard.labels).map(logprob).collect(),
            states: Vec::new(),
        })
    });
    let ensemble = fitted(&forgetful, &rows(0..30), FitSettings::default()).unwrap();
    assert_eq!(ensemble.report().shots, 0);
    assert!(share_right(&forgetful, &ensemble) > 0.95);
}

#[test]
fn many_labels_without_hidden_states_teach_nothing() {
    let label = |k: usize| Label {
        name: format!("label{k}"),
        word: format!("label{k}"),
    };
    let spec = TaskSpec {
        output: Output::Labels {
            labels: (0..21).map(label).collect(),
        },
        ..spec()
    };
    let row = |number: usize| Example {
        input: record(number),
        output: format!("label{}", number % 21),
    };
    let rows: Vec<Example> = (0..84).map(row).collect();
    let cancel = Cancel::default();
    let engine = Fake::leaning(false);
    assert_eq!(fit(&fitting(&spec, &engine, &cancel), &rows).unwrap(), None);
    let engine = Fake::leaning(true);
    let ensemble = fit(&fitting(&spec, &engine, &cancel), &rows).unwrap();
    let views: Vec<View> = ensemble
        .unwrap()
        .report()
        .views
        .iter()
        .map(|v| v.view)
        .collect();
    assert_eq!(views, [View::States]);
}

#[test]
fn rows_whose_state_is_not_finite_are_left_out() {
    let odd = Fake::new(|heard| {
        let part = |k: usize| heard.noise(k) + if k == heard.number % 3 { 1.5 } else { 0.0 };
        let mut state: Vec<f32> = (0..8).map(part).collect();
        if heard.number == 7 {
            state[2] = f32::NAN;
        }
        Ok(Said {
            logprobs: vec![-1.0; heard.labels],
            states: vec![state],
        })
    });
    let ensemble = fitted(&odd, &rows(0..60), with_shots(1)).unwrap();
    assert_eq!(ensemble.report().rows, 59);
    assert!(share_right(&odd, &ensemble) > 0.9);
}

#[test]
fn other_rows_scopes_and_settings_have_other_keys_and_the_order_of_rows_has_not() {
    let (spec, engine, cancel) = (spec(), Fake::leaning(true), Cancel::default());
    let of = |change: &dyn Fn(&mut Fitting<'_>), rows: &[Example]| {
        let mut fitting = fitting(&spec, &engine, &cancel);
        change(&mut fitting);
        key(&fitting, rows)
    };
    let first = of(&|_| (), &rows(0..9));
    let mut turned = rows(0..9);
    turned.reverse();
    assert_eq!(of(&|_| (), &turned), first);
    assert_ne!(of(&|_| (), &rows(0..8)), first);
    assert_ne!(
        of(&|fitting| fitting.scope = "another adapter", &rows(0..9)),
        first
    );
    assert_ne!(
        of(&|fitting| fitting.settings.shots = Some(1), &rows(0..9)),
        first
    );
}

fn with_anchors() -> FitSettings {
    FitSettings {
        views: BTreeSet::from([View::Scores, View::States, View::Vectors, View::Anchors]),
        shots: Some(0),
    }
}

/// The labels' scores lie on a line: red in the middle, green on both sides of it.
fn folded() -> Fake {
    Fake::new(|heard| {
        let side = match heard.number % 4 {
            0 | 2 => 0.0,
            1 => 3.0,
            _ => -3.0,
        };
        Ok(Said {
            logprobs: vec![side + 0.2 * heard.noise(1), 0.0, -9.0],
            states: Vec::new(),
        })
    })
}

fn folded_rows(numbers: std::ops::Range<usize>) -> Vec<Example> {
    let row = |number: usize| Example {
        input: record(number),
        output: LABELS[number % 2].to_owned(),
    };
    numbers.map(row).collect()
}

#[test]
fn anchors_tell_labels_that_scores_cannot_tell() {
    let kinds = |ensemble: &Ensemble| -> Vec<View> {
        ensemble.report().views.iter().map(|v| v.view).collect()
    };
    let with = fitted(&folded(), &folded_rows(0..80), with_anchors()).unwrap();
    assert_eq!(kinds(&with), [View::Scores, View::Anchors]);
    assert!(with.report().accuracy > 0.95, "{:?}", with.report());
    let without = fitted(&folded(), &folded_rows(0..80), with_shots(0)).unwrap();
    assert!(without.report().accuracy < 0.8, "{:?}", without.report());
    // New records are judged as well as those of the report.
    let (spec, engine) = (spec(), folded());
    let panel = Panel::new(&spec, with.sets(), &engine).unwrap();
    let is_right = |number: &usize| {
        let prompts = panel.prompts(&record(*number)).unwrap();
        let prompts: Vec<_> = prompts.iter().collect();
        let told = panel.ask(&prompts, &Cancel::default()).unwrap();
        let evidence = Evidence {
            prompts: told.into_iter().map(Result::unwrap).collect(),
            vector: None,
        };
        with.verdict(spec.output.labels(), &evidence).answer == LABELS[number % 2]
    };
    assert!((1000..1100).filter(is_right).count() > 95);
}

#[test]
fn anchors_that_bring_nothing_change_nothing() {
    let engine = Fake::leaning(true);
    let with = fitted(&engine, &rows(0..60), with_anchors()).unwrap();
    let without = fitted(&engine, &rows(0..60), with_shots(0)).unwrap();
    assert_eq!(with, without);
}
