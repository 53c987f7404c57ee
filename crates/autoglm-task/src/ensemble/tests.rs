//! An ensemble on an engine whose hidden states tell the label, and its parts against independent
//! implementations.

use std::collections::BTreeSet;

use autoglm_spec::{
    Calibration, Cancel, Completion, EngineError, Example, Field, Generate, GenerateRequest, Label,
    Language, ModelFacts, OptionScore, Output, Record, Score, ScoreRequest, Scoring, TaskKind,
    TaskSpec, Usage,
};
use proptest::prelude::*;
use serde_json::Value;

use super::covariance::shrunk_covariance;
use super::discriminant::Discriminant;
use super::halves::{deal, examples};
use super::pool::{Opinions, Pool, log_loss};
use super::*;
use crate::TaskError;
use crate::library::Ensembles;
use crate::numeric::log_softmax;
use crate::records::{InputFormat, OutputFormat, Records, RowWriter};
use crate::run::{Again, Hooks, Job, Resume, RunSettings, Taught, replay, run, show};
use crate::store::SqliteStore;

const AT: std::time::SystemTime = std::time::SystemTime::UNIX_EPOCH;

/// Labels of the small task; a record is a number, its label the remainder by their count.
const LABELS: [&str; 3] = ["red", "green", "blue"];

fn spec() -> TaskSpec {
    let label = |name: &&str| Label {
        name: (*name).to_owned(),
        word: (*name).to_owned(),
    };
    TaskSpec {
        name: "colours".to_owned(),
        kind: TaskKind::Classification,
        instruction: "Name the colour.".to_owned(),
        language: Language::English,
        fields: vec![Field {
            name: "text".to_owned(),
            title: "Number".to_owned(),
        }],
        answer_title: "Colour".to_owned(),
        output: Output::Labels {
            labels: LABELS.iter().map(label).collect(),
        },
        constraints: Vec::new(),
        examples: Vec::new(),
    }
}

fn record(number: usize) -> Record {
    Record::from_iter([("text".to_owned(), Value::from(format!("n{number}")))])
}

fn rows(numbers: std::ops::Range<usize>) -> Vec<Example> {
    let row = |number: usize| Example {
        input: record(number),
        output: LABELS[number % 3].to_owned(),
    };
    numbers.map(row).collect()
}

/// Scores that lean to the first label whatever the record, and hidden states in which the label
/// shows beside much else. Prompts move both.
struct Leaning {
    facts: ModelFacts,
    has_states: bool,
}

impl Leaning {
    fn new(has_states: bool) -> Self {
        Self {
            facts: ModelFacts {
                name: "leaning".to_owned(),
                context_tokens: 1000,
                chat: false,
            },
            has_states,
        }
    }
}

impl Generate for Leaning {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn generate(
        &self,
        _: &[GenerateRequest],
        _: &Cancel,
        _: &mut dyn FnMut(usize, &str),
    ) -> Vec<Result<Completion, EngineError>> {
        unreachable!("labels are scored")
    }
}

impl Score for Leaning {
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        let answer = |request: &ScoreRequest| {
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            let text = request.prompt.display_text();
            let numbers = text.split('n').filter_map(|part| {
                let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<usize>().ok()
            });
            let number = numbers.into_iter().next_back().unwrap();
            let shift = text.len() as f32 / 100.0;
            let noise = |k: usize| ((number * 7919 + k * 104_729) % 101) as f32 / 101.0;
            let state = |k: usize| shift + noise(k) + if k % 8 == number % 3 { 1.5 } else { 0.0 };
            let logprob = |k: usize| {
                let right = if k == number % 3 { 0.4 } else { 0.0 };
                right + noise(k) - if k == 0 { 0.0 } else { 3.0 + shift }
            };
            Ok(Scoring {
                options: (0..request.options.len())
                    .map(|k| OptionScore {
                        logprob: logprob(k),
                        tokens: 1,
                    })
                    .collect(),
                state: self.has_states.then(|| (0..8).map(state).collect()),
                usage: Usage::default(),
            })
        };
        requests.iter().map(answer).collect()
    }
}

fn fitted(engine: &Leaning, rows: &[Example], settings: FitSettings) -> Option<Ensemble> {
    fit(
        &Fitting {
            spec: &spec(),
            engines: Engines {
                language: engine,
                embedder: None,
            },
            settings,
            cancel: &Cancel::default(),
            progress: &|_| (),
        },
        rows,
    )
    .unwrap()
}

/// The share of records 1000 to 1199 that an ensemble gets right.
fn share_right(engine: &Leaning, ensemble: &Ensemble) -> f64 {
    let spec = spec();
    let panel = Panel::new(&spec, ensemble.sets(), engine).unwrap();
    let is_right = |number: &usize| {
        let prompts = panel.prompts(&record(*number)).unwrap();
        let prompts: Vec<_> = prompts.iter().collect();
        let told = panel.ask(&prompts, &Cancel::default()).unwrap();
        let evidence = Evidence {
            prompts: told.into_iter().map(Result::unwrap).collect(),
            vector: None,
        };
        let verdict = ensemble.verdict(spec.output.labels(), &evidence);
        assert_eq!(verdict.calibration, Calibration::Fitted);
        verdict.answer == LABELS[number % 3]
    };
    (1000..1200).filter(is_right).count() as f64 / 200.0
}

#[test]
fn labelled_records_teach_what_the_scores_do_not_tell() {
    let engine = Leaning::new(true);
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
    let engine = Leaning::new(false);
    let ensemble = fitted(&engine, &rows(0..60), FitSettings::default()).unwrap();
    let views: Vec<View> = ensemble.report().views.iter().map(|v| v.view).collect();
    assert_eq!(views, [View::Scores]);
    assert!(share_right(&engine, &ensemble) > 0.5);
}

#[test]
fn the_order_of_rows_and_repeated_rows_change_nothing() {
    let engine = Leaning::new(true);
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
    let engine = Leaning::new(true);
    let ensemble = fitted(&engine, &rows(0..40), FitSettings::default()).unwrap();
    let json = serde_json::to_string(&ensemble).unwrap();
    let back: Ensemble = serde_json::from_str(&json).unwrap();
    assert_eq!(back, ensemble);
    assert_eq!(back.hash(), ensemble.hash());
}

#[test]
fn rows_of_one_label_or_one_a_label_teach_nothing() {
    let engine = Leaning::new(true);
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
    let error = fit(
        &Fitting {
            spec: &spec(),
            engines: Engines {
                language: &Leaning::new(true),
                embedder: None,
            },
            settings: FitSettings::default(),
            cancel: &Cancel::default(),
            progress: &|_| (),
        },
        &odd,
    )
    .unwrap_err();
    assert!(
        matches!(&error, TaskError::NoSuchLabel { label, .. } if label == "mauve"),
        "{error}"
    );
}

#[test]
fn a_raised_flag_ends_a_fit() {
    let cancel = Cancel::default();
    cancel.cancel();
    let error = fit(
        &Fitting {
            spec: &spec(),
            engines: Engines {
                language: &Leaning::new(true),
                embedder: None,
            },
            settings: FitSettings::default(),
            cancel: &cancel,
            progress: &|_| (),
        },
        &rows(0..12),
    )
    .unwrap_err();
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

#[test]
fn a_run_with_a_taught_judge_can_be_shown_and_replayed() {
    let engine = Leaning::new(true);
    let ensemble = fitted(&engine, &rows(0..40), FitSettings::default()).unwrap();
    let mut store = SqliteStore::in_memory().unwrap();
    store.put_ensemble("key", &ensemble, AT).unwrap();
    assert_eq!(
        store.ensemble_of_key("key").unwrap(),
        Some(ensemble.clone())
    );
    assert_eq!(store.ensemble_of_key("other").unwrap(), None);

    let lines: Vec<String> = (500..530)
        .map(|n| format!("{{\"text\":\"n{n}\"}}"))
        .collect();
    let input = lines.join("\n");
    let spec = spec();
    let job = Job {
        spec: &spec,
        engine: &engine,
        taught: Some(Taught {
            ensemble: &ensemble,
            embedder: None,
        }),
        settings: RunSettings::default(),
        similar: None,
        source: "-".to_owned(),
        survey: None,
        output: "-".to_owned(),
        resume: Resume::No,
        correction: None,
    };
    let mut records = Records::new(input.as_bytes(), InputFormat::Jsonl, "text");
    let mut sink = RowWriter::new(Vec::new(), OutputFormat::Jsonl, &spec.output, true);
    let cancel = Cancel::default();
    let hooks = Hooks {
        now: &|| AT,
        cancel: &cancel,
        progress: &|_| (),
    };
    let report = run(&job, &mut records, &mut store, &mut sink, hooks).unwrap();
    assert_eq!((report.written, report.errors, report.waiting), (30, 0, 0));

    let shown = show(&store, report.run, 7).unwrap();
    assert!(shown.same_prompt);
    assert_eq!(
        shown.row.verdict.as_ref().unwrap().calibration,
        Calibration::Fitted
    );
    let with = Again {
        engine: &engine,
        similar: None,
        embedder: None,
    };
    let again = replay(&store, report.run, 7, &with, &cancel).unwrap();
    assert!(again.same_verdict && again.shown.same_prompt);
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
fn the_covariance_is_that_of_scikit_learn() {
    let golden = golden();
    for case in golden["covariances"].as_array().unwrap() {
        let samples = vectors(&case["samples"]);
        let width = samples[0].len();
        let flat = samples.iter().flatten().map(|&x| f64::from(x));
        let matrix = nalgebra::DMatrix::from_row_iterator(samples.len(), width, flat);
        let found = shrunk_covariance(&matrix);
        for (row, wanted) in case["covariance"].as_array().unwrap().iter().enumerate() {
            for (column, wanted) in numbers(wanted).into_iter().enumerate() {
                let difference = (found[(row, column)] - wanted).abs();
                assert!(
                    difference < 1e-9 * (1.0 + wanted.abs()),
                    "{row} {column} {difference}"
                );
            }
        }
    }
}

#[test]
fn probes_are_those_of_scikit_learn() {
    let golden = golden();
    for case in golden["probes"].as_array().unwrap() {
        let train = vectors(&case["train"]);
        let train: Vec<&[f32]> = train.iter().map(Vec::as_slice).collect();
        let labels: Vec<usize> = numbers(&case["labels"])
            .into_iter()
            .map(|l| l as usize)
            .collect();
        let count = labels.iter().max().unwrap() + 1;
        let probe = Discriminant::fit(&train, &labels, count);
        let wanted = case["log_probabilities"].as_array().unwrap();
        for (vector, wanted) in vectors(&case["test"]).iter().zip(wanted) {
            for (found, wanted) in probe.log_probabilities(vector).iter().zip(numbers(wanted)) {
                assert!(
                    (found - wanted).abs() < 1e-3 * (1.0 + wanted.abs()),
                    "{found} {wanted}"
                );
            }
        }
    }
}

#[test]
fn a_label_without_samples_is_unlikely_and_nothing_breaks() {
    let same: [&[f32]; 4] = [&[1.0, 2.0], &[1.0, 2.0], &[3.0, 2.0], &[3.0, 2.0]];
    let probe = Discriminant::fit(&same, &[0, 0, 2, 2], 3);
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
        let pool = Pool::fit(&views, &labels);
        prop_assert!(pool.weights.iter().all(|weight| *weight >= 0.0));
        let flat: Opinions = labels.iter().map(|_| log_softmax(&[0.0; 3])).collect();
        let pooled = pool.opinions(&views);
        prop_assert!(log_loss(&pooled, &labels) < log_loss(&flat, &labels) + 0.02);
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
        let pool = Pool::fit(&[knows, noise], &labels);
        prop_assert!(pool.weights[0] > 2.0 * pool.weights[1], "{:?}", pool.weights);
    }
}
