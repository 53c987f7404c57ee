//! Runs with a judge that labelled records have taught.

use std::time::SystemTime;

use autoglm_spec::{Calibration, Cancel, Embed};

use super::fakes::*;
use super::*;
use crate::TaskError;
use crate::library::Ensembles;
use crate::records::{InputFormat, OutputFormat, Records, RowWriter};
use crate::run::{
    Again, Engine, Hooks, Job, Resume, RunReport, RunSettings, Taught, replay, run, show,
};
use crate::store::SqliteStore;

const AT: SystemTime = SystemTime::UNIX_EPOCH;

/// Records 500 to 529, and a store.
struct Bench<'a> {
    engine: &'a dyn Engine,
    embedder: Option<&'a dyn Embed>,
    resume: Resume,
    store: SqliteStore,
}

impl<'a> Bench<'a> {
    fn new(engine: &'a dyn Engine) -> Self {
        Self {
            engine,
            embedder: None,
            resume: Resume::No,
            store: SqliteStore::in_memory().unwrap(),
        }
    }

    fn run(&mut self, ensemble: &Ensemble) -> Result<RunReport, TaskError> {
        let lines: Vec<String> = (500..530)
            .map(|n| format!("{{\"text\":\"n{n}\"}}"))
            .collect();
        let input = lines.join("\n");
        let spec = spec();
        let job = Job {
            spec: &spec,
            choosing: None,
            engine: self.engine,
            taught: Some(Taught {
                ensemble,
                embedder: self.embedder,
            }),
            settings: RunSettings::default(),
            similar: None,
            source: "-".to_owned(),
            survey: None,
            output: "-".to_owned(),
            resume: self.resume,
            correction: None,
        };
        let mut records = Records::new(input.as_bytes(), InputFormat::Jsonl, "text");
        let mut sink = RowWriter::new(Vec::new(), OutputFormat::Jsonl, &spec.output, true);
        let hooks = Hooks {
            now: &|| AT,
            cancel: &Cancel::default(),
            progress: &|_| (),
            step: &|_| {},
        };
        run(&job, &mut records, &mut self.store, &mut sink, hooks)
    }

    fn with(&self) -> Again<'_> {
        Again {
            engine: self.engine,
            similar: None,
            embedder: self.embedder,
        }
    }
}

fn all_views(engine: &Fake, embedder: &FakeEmbedder) -> Ensemble {
    let (spec, cancel) = (spec(), Cancel::default());
    let mut fitting = fitting(&spec, engine, &cancel);
    fitting.engines.embedder = Some(embedder);
    fit(&fitting, &rows(0..60)).unwrap().unwrap()
}

#[test]
fn a_run_with_a_taught_judge_can_be_shown_and_replayed() {
    let engine = Fake::leaning(true);
    let ensemble = fitted(&engine, &rows(0..40), FitSettings::default()).unwrap();
    let mut bench = Bench::new(&engine);
    bench.store.put_ensemble("key", &ensemble, AT).unwrap();
    assert_eq!(
        bench.store.ensemble_of_key("key").unwrap(),
        Some(ensemble.clone())
    );
    assert_eq!(bench.store.ensemble_of_key("other").unwrap(), None);
    let report = bench.run(&ensemble).unwrap();
    assert_eq!((report.written, report.errors, report.waiting), (30, 0, 0));

    let shown = show(&bench.store, report.run, 7).unwrap();
    assert!(shown.same_prompt);
    assert_eq!(
        shown.row.verdict.as_ref().unwrap().calibration,
        Calibration::Fitted
    );
    let again = replay(
        &bench.store,
        report.run,
        7,
        &bench.with(),
        &Cancel::default(),
    )
    .unwrap();
    assert!(again.same_verdict && again.shown.same_prompt);
}

#[test]
fn records_own_vectors_take_part_in_fit_run_and_replay() {
    let (engine, embedder) = (Fake::leaning(false), FakeEmbedder::new());
    let ensemble = all_views(&engine, &embedder);
    assert!(ensemble.uses_vectors());
    let of_vectors = ensemble.report().views[1];
    assert_eq!(of_vectors.view, View::Vectors);
    assert!(
        of_vectors.accuracy > 0.9 && of_vectors.weight > 0.0,
        "{of_vectors:?}"
    );

    let mut bench = Bench::new(&engine);
    bench.embedder = Some(&embedder);
    bench.store.put_ensemble("key", &ensemble, AT).unwrap();
    let report = bench.run(&ensemble).unwrap();
    let right = |index: u64| {
        let row = show(&bench.store, report.run, index).unwrap().row;
        row.verdict.unwrap().answer == LABELS[(500 + index as usize) % 3]
    };
    let count = (0..30).filter(|&index| right(index)).count();
    assert!(count >= 28, "{count}");
    let again = replay(
        &bench.store,
        report.run,
        9,
        &bench.with(),
        &Cancel::default(),
    )
    .unwrap();
    assert!(again.same_verdict);
}

#[test]
fn a_run_goes_on_with_its_own_judge_alone() {
    let engine = Fake::leaning(true);
    let one = fitted(&engine, &rows(0..40), FitSettings::default()).unwrap();
    let other = fitted(&engine, &rows(0..60), FitSettings::default()).unwrap();
    let mut bench = Bench::new(&engine);
    for (key, ensemble) in [("one", &one), ("other", &other)] {
        bench.store.put_ensemble(key, ensemble, AT).unwrap();
    }
    let report = bench.run(&one).unwrap();
    bench.resume = Resume::Run(report.run);
    let error = bench.run(&other).unwrap_err();
    assert!(
        error.to_string().contains("judge that labelled records"),
        "{error}"
    );
    assert_eq!(bench.run(&one).unwrap().resumed, 30);
}

#[test]
fn a_record_whose_hidden_state_is_not_finite_is_an_error_of_that_record() {
    let engine = Fake::new(|heard| {
        let part = |k: usize| heard.noise(k) + if k == heard.number % 3 { 1.5 } else { 0.0 };
        let state: Vec<f32> = (0..8).map(part).collect();
        let spoilt = heard.number == 505;
        Ok(Said {
            logprobs: vec![-1.0; heard.labels],
            states: vec![if spoilt {
                vec![f32::INFINITY; 8]
            } else {
                state
            }],
        })
    });
    let ensemble = fitted(&engine, &rows(0..40), FitSettings::default()).unwrap();
    let mut bench = Bench::new(&engine);
    bench.store.put_ensemble("key", &ensemble, AT).unwrap();
    let report = bench.run(&ensemble).unwrap();
    assert_eq!((report.written, report.errors), (30, 1));
    let row = show(&bench.store, report.run, 5).unwrap().row;
    assert!(row.error.unwrap().contains("not finite"));
}
