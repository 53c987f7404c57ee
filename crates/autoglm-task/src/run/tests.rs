use std::cell::Cell;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autoglm_spec::{Calibration, Cancel, Output, TaskSpec};
use proptest::prelude::*;

use super::*;
use crate::records::{InputFormat, OutputFormat, Records, RowWriter};
use crate::scripted::{Script, Scripted, review_task};
use crate::store::{RunStart, SqliteStore};

/// One bench: a task, an input, and what comes out.
pub(super) struct Bench {
    pub(super) spec: TaskSpec,
    pub(super) settings: RunSettings,
    pub(super) input: String,
    pub(super) format: OutputFormat,
    pub(super) resume: Resume,
}

impl Bench {
    pub(super) fn new(records: usize) -> Self {
        Self {
            spec: review_task(),
            settings: RunSettings::default(),
            input: lines(records),
            format: OutputFormat::Jsonl,
            resume: Resume::No,
        }
    }

    pub(super) fn run(
        &self,
        engine: &Scripted,
        store: &mut dyn Store,
    ) -> (String, Result<RunReport, TaskError>) {
        self.run_by(engine, store)
    }

    pub(super) fn run_by(
        &self,
        engine: &dyn Engine,
        store: &mut dyn Store,
    ) -> (String, Result<RunReport, TaskError>) {
        let (out, report) = self.run_torn(engine, store, usize::MAX);
        (String::from_utf8(out).unwrap(), report)
    }

    fn run_torn(
        &self,
        engine: &dyn Engine,
        store: &mut dyn Store,
        budget_bytes: usize,
    ) -> (Vec<u8>, Result<RunReport, TaskError>) {
        let mut out = Torn {
            bytes: Vec::new(),
            budget: budget_bytes,
        };
        let mut sink = RowWriter::new(&mut out, self.format, &self.spec.output, false);
        let report = self.run_into(engine, store, &mut sink, &Cancel::default());
        drop(sink);
        (out.bytes, report)
    }

    fn run_into(
        &self,
        engine: &dyn Engine,
        store: &mut dyn Store,
        sink: &mut dyn RowSink,
        cancel: &Cancel,
    ) -> Result<RunReport, TaskError> {
        self.run_job(&self.job(engine)?, store, sink, cancel)
    }

    pub(super) fn job<'a>(&'a self, engine: &'a dyn Engine) -> Result<Job<'a>, TaskError> {
        Ok(Job {
            spec: &self.spec,
            choosing: None,
            engine,
            taught: None,
            settings: self.settings.clone(),
            similar: None,
            source: "/in.jsonl".to_owned(),
            survey: Some(survey(self.input.as_bytes(), InputFormat::Jsonl)?),
            output: "/out".to_owned(),
            resume: self.resume,
            correction: None,
        })
    }

    pub(super) fn run_job(
        &self,
        job: &Job<'_>,
        store: &mut dyn Store,
        sink: &mut dyn RowSink,
        cancel: &Cancel,
    ) -> Result<RunReport, TaskError> {
        let mut records = Records::new(self.input.as_bytes(), InputFormat::Jsonl, "text");
        let clock = Cell::new(0);
        let hooks = Hooks {
            now: &|| tick(&clock),
            cancel,
            progress: &|_| {},
            step: &|_| {},
        };
        run(job, &mut records, store, sink, hooks)
    }
}

/// Every look at the clock is a second later.
fn tick(clock: &Cell<u64>) -> SystemTime {
    clock.set(clock.get() + 1);
    UNIX_EPOCH + Duration::from_secs(clock.get())
}

fn lines(records: usize) -> String {
    (0..records).fold(String::new(), |text, i| match i % 50 {
        17 => text + "{\"text\": \n",
        33 => text + &format!("{{\"id\": {i}}}\n"),
        _ => text + &format!("{{\"text\": \"评论 {i}\", \"id\": {i}}}\n"),
    })
}

/// Takes so many bytes and then fails, as a process that is killed in the middle of a line.
struct Torn {
    bytes: Vec<u8>,
    budget: usize,
}

impl io::Write for Torn {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let room = self.budget - self.bytes.len();
        if room == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = room.min(buffer.len());
        self.bytes.extend_from_slice(&buffer[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A store that stops taking anything after so many writes, as if the process were gone.
struct Dying<'a> {
    store: &'a mut SqliteStore,
    writes_left: usize,
}

impl Dying<'_> {
    fn write<T>(
        &mut self,
        write: impl FnOnce(&mut SqliteStore) -> Result<T, TaskError>,
    ) -> Result<T, TaskError> {
        if self.writes_left == 0 {
            return Err(TaskError::Store {
                action: "go on",
                source: rusqlite::Error::InvalidQuery,
            });
        }
        self.writes_left -= 1;
        write(self.store)
    }
}

impl Store for Dying<'_> {
    fn begin(&mut self, start: &RunStart<'_>) -> Result<RunId, TaskError> {
        self.write(|store| store.begin(start))
    }
    fn put_rows(&mut self, run: RunId, rows: &[Row]) -> Result<(), TaskError> {
        self.write(|store| store.put_rows(run, rows))
    }
    fn put_prior(&mut self, run: RunId, prior: &Prior) -> Result<(), TaskError> {
        self.write(|store| store.put_prior(run, prior))
    }
    fn put_status(&mut self, r: RunId, s: RunStatus, at: SystemTime) -> Result<(), TaskError> {
        self.write(|store| store.put_status(r, s, at))
    }
    fn runs(&self) -> Result<Vec<RunInfo>, TaskError> {
        self.store.runs()
    }
    fn run(&self, run: RunId) -> Result<RunInfo, TaskError> {
        self.store.run(run)
    }
    fn rows(&self, run: RunId, first: u64, count: usize) -> Result<Vec<Row>, TaskError> {
        self.store.rows(run, first, count)
    }
}

pub(super) fn again(engine: &dyn Engine) -> Again<'_> {
    Again {
        engine,
        similar: None,
        embedder: None,
    }
}

/// What a run comes to that nothing interrupts.
pub(super) fn whole_by(bench: &Bench, script: Script) -> String {
    let mut store = SqliteStore::in_memory().unwrap();
    let (out, report) = bench.run(&Scripted::new(script), &mut store);
    report.unwrap();
    out
}

fn whole(bench: &Bench) -> (String, RunReport) {
    let engine = Scripted::new(Script::default());
    let mut store = SqliteStore::in_memory().unwrap();
    let (out, report) = bench.run(&engine, &mut store);
    (out, report.unwrap())
}

#[test]
fn every_record_has_its_row_in_the_inputs_order() {
    let (out, report) = whole(&Bench::new(300));
    let rows: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 300);
    for (i, row) in rows.iter().enumerate() {
        match i % 50 {
            17 | 33 => assert_eq!(row["line"], i + 1),
            _ => {
                assert_eq!(row["id"], i);
                assert!(row["answer"] == "positive" || row["answer"] == "negative");
            }
        }
    }
    assert!(rows[17]["error"].as_str().unwrap().starts_with("not JSON"));
    assert!(rows[33]["error"].as_str().unwrap().contains("text"));
    assert_eq!(report.status, RunStatus::Finished);
    assert_eq!((report.written, report.errors), (300, 12));
    assert_eq!(report.prior.unwrap().records, 256 - 10);
}

#[test]
fn what_was_stored_can_be_shown() {
    let engine = Scripted::new(Script::default());
    let mut store = SqliteStore::in_memory().unwrap();
    let bench = Bench::new(40);
    let (out, report) = bench.run(&engine, &mut store);
    let report = report.unwrap();
    let rows = store.rows(report.run, 0, 100).unwrap();
    let mut again = Vec::new();
    RowWriter::new(&mut again, OutputFormat::Jsonl, &bench.spec.output, false)
        .write_rows(&rows)
        .unwrap();
    assert_eq!(String::from_utf8(again).unwrap(), out);
    let info = store.run(report.run).unwrap();
    assert_eq!(info.spec, bench.spec);
    assert_eq!(info.prior, report.prior);
    assert_eq!((info.records, info.errors), (40, 2));
}

/// Runs until the script, the output or the store gives out, then resumes.
fn crash_and_resume(bench: &mut Bench, script: Script, out_bytes: usize, writes: usize) {
    let (wanted, _) = whole(bench);
    let mut store = SqliteStore::in_memory().unwrap();
    let first = Scripted::new(script);
    let mut dying = Dying {
        store: &mut store,
        writes_left: writes,
    };
    let (torn, ended) = bench.run_torn(&first, &mut dying, out_bytes);
    if ended.is_ok() {
        assert_eq!(torn, wanted.as_bytes());
    } else {
        assert!(wanted.as_bytes().starts_with(&torn));
    }
    let runs = store.runs().unwrap();
    let stored = runs.first().map_or(0, |run| run.records as usize);

    bench.resume = Resume::Matching;
    let second = Scripted::new(Script::default());
    let (out, report) = bench.run(&second, &mut store);
    bench.resume = Resume::No;
    let report = report.unwrap();
    assert_eq!(out, wanted);
    assert_eq!(report.resumed as usize, stored);
    assert_eq!(store.runs().unwrap().len(), 1);

    let first = first.asked();
    let mut seconds = second.asked();
    seconds.retain(|prompt, _| prompt.contains("评论"));
    assert!(seconds.values().all(|&times| times == 1));
    let twice = seconds
        .keys()
        .filter(|prompt| first.contains_key(*prompt))
        .count();
    assert!(
        twice <= job::SCORE_WINDOW_RECORDS,
        "{twice} records were asked twice"
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_resumed_run_ends_as_the_uninterrupted_one(
        records in 0usize..420,
        broken_after in 0usize..420,
        out_bytes in 0usize..40_000,
        writes in 0usize..16,
        what in 0usize..3,
        csv in any::<bool>(),
        calibration in prop_oneof![
            Just(Calibration::None), Just(Calibration::Contextual), Just(Calibration::Batch)
        ],
    ) {
        let mut bench = Bench::new(records);
        bench.format = if csv { OutputFormat::Csv } else { OutputFormat::Jsonl };
        bench.settings.calibration = calibration;
        let script = Script {
            broken_after: (what == 0).then_some(broken_after),
            ..Script::default()
        };
        let out_bytes = if what == 1 { out_bytes } else { usize::MAX };
        let writes = if what == 2 { writes } else { usize::MAX };
        crash_and_resume(&mut bench, script, out_bytes, writes);
    }
}

#[test]
fn a_run_that_ends_between_scores_and_prior_goes_on() {
    // Written before the end: the run, and four windows of scores.
    crash_and_resume(&mut Bench::new(257), Script::default(), usize::MAX, 5);
}

#[test]
fn open_answers_resume_too() {
    let mut bench = Bench::new(70);
    bench.spec.output = Output::Text { max_tokens: 5 };
    for broken_after in [0, 1, 16, 40] {
        let script = Script {
            broken_after: Some(broken_after),
            ..Script::default()
        };
        crash_and_resume(&mut bench, script, usize::MAX, usize::MAX);
    }
}

#[test]
fn a_raised_flag_ends_the_run_with_whole_rows_and_it_goes_on_later() {
    let mut bench = Bench::new(400);
    let (wanted, _) = whole(&bench);
    let engine = Scripted::new(Script {
        cancel_after: Some(300),
        ..Script::default()
    });
    let mut store = SqliteStore::in_memory().unwrap();
    let (out, report) = bench.run(&engine, &mut store);
    let report = report.unwrap();
    assert_eq!(report.status, RunStatus::Interrupted);
    assert!(wanted.starts_with(&out) && out.ends_with('\n'));
    assert_eq!(out.lines().count() as u64, report.written);
    assert_eq!(
        store.run(report.run).unwrap().status,
        RunStatus::Interrupted
    );

    bench.resume = Resume::Run(report.run);
    let engine = Scripted::new(Script::default());
    let (out, again) = bench.run(&engine, &mut store);
    assert_eq!(out, wanted);
    assert_eq!(again.unwrap().resumed, report.written);
}

#[test]
fn a_flag_that_is_raised_before_the_prior_is_known_leaves_the_rows_in_the_store() {
    let bench = Bench::new(400);
    let engine = Scripted::new(Script {
        cancel_after: Some(100),
        ..Script::default()
    });
    let mut store = SqliteStore::in_memory().unwrap();
    let (out, report) = bench.run(&engine, &mut store);
    let report = report.unwrap();
    assert_eq!(out, "");
    assert!(report.waiting >= 100);
    assert_eq!(store.run(report.run).unwrap().records, report.waiting);
}

#[test]
fn a_finished_run_is_written_again_without_asking_the_engine() {
    let mut bench = Bench::new(60);
    let engine = Scripted::new(Script::default());
    let mut store = SqliteStore::in_memory().unwrap();
    let (wanted, _) = bench.run(&engine, &mut store);
    let asked = engine.requests();
    bench.resume = Resume::Matching;
    let (out, report) = bench.run(&engine, &mut store);
    assert_eq!(out, wanted);
    assert_eq!(report.unwrap().resumed, 60);
    assert_eq!(engine.requests(), asked);
}

#[test]
fn a_task_or_input_that_changed_is_not_resumed() {
    let mut bench = Bench::new(60);
    let engine = Scripted::new(Script::default());
    let mut store = SqliteStore::in_memory().unwrap();
    bench.run(&engine, &mut store).1.unwrap();
    bench.resume = Resume::Matching;
    let mut mismatch = |bench: &Bench, wanted: &str| {
        let error = bench.run(&engine, &mut store).1.unwrap_err();
        assert!(
            matches!(error, TaskError::ResumeMismatch { what, .. } if what == wanted),
            "{error}"
        );
    };
    bench.spec.instruction.push('!');
    mismatch(&bench, "task");
    bench.spec = review_task();
    bench.input.push_str("{\"text\": \"one more\"}\n");
    mismatch(&bench, "content of the input");
    bench.input = lines(60);
    bench.settings.calibration = Calibration::None;
    mismatch(&bench, "calibration");
    bench.settings.calibration = Calibration::Batch;
    bench.settings.limit = Some(3);
    mismatch(&bench, "limit");
}

#[test]
fn a_stream_with_other_records_is_not_resumed() {
    let bench = Bench::new(60);
    let mut store = SqliteStore::in_memory().unwrap();
    let engine = Scripted::new(Script::default());
    let mut job = Job {
        spec: &bench.spec,
        choosing: None,
        engine: &engine,
        taught: None,
        settings: bench.settings.clone(),
        similar: None,
        source: "-".to_owned(),
        survey: None,
        output: "-".to_owned(),
        resume: Resume::No,
        correction: None,
    };
    let clock = Cell::new(0);
    let cancel = Cancel::default();
    let mut run_on = |job: &Job<'_>, input: &str| {
        let mut records = Records::new(input.as_bytes(), InputFormat::Jsonl, "text");
        let hooks = Hooks {
            now: &|| tick(&clock),
            cancel: &cancel,
            progress: &|_| {},
            step: &|_| {},
        };
        run(job, &mut records, &mut store, &mut Vec::<Row>::new(), hooks)
    };
    run_on(&job, &bench.input).unwrap();
    job.resume = Resume::Matching;
    let changed = bench.input.replace("\"id\": 7}", "\"id\": 8}");
    let error = run_on(&job, &changed).unwrap_err();
    assert!(
        matches!(error, TaskError::InputChanged { index: 7, .. }),
        "{error}"
    );
}

#[test]
fn a_strict_run_stops_at_the_first_bad_record_and_keeps_what_was_done() {
    let mut bench = Bench::new(40);
    bench.settings.strict = true;
    bench.settings.calibration = Calibration::None;
    let engine = Scripted::new(Script::default());
    let mut store = SqliteStore::in_memory().unwrap();
    let (out, ended) = bench.run(&engine, &mut store);
    assert!(matches!(ended, Err(TaskError::Malformed { .. })));
    assert_eq!(out.lines().count(), 17);
    let info = store.runs().unwrap().remove(0);
    assert_eq!((info.status, info.records), (RunStatus::Failed, 17));
}

#[test]
fn a_record_that_does_not_fit_is_an_error_row_or_stops_a_strict_run() {
    let engine = || {
        Scripted::new(Script {
            too_long: Some("评论 7\n"),
            ..Script::default()
        })
    };
    let mut bench = Bench::new(10);
    let mut store = SqliteStore::in_memory().unwrap();
    let (out, report) = bench.run(&engine(), &mut store);
    let line = out.lines().nth(7).unwrap();
    assert!(
        line.contains("\"line\":8,\"error\":\"the prompt has 2000 tokens"),
        "{line}"
    );
    assert_eq!(report.unwrap().errors, 1);

    bench.settings.strict = true;
    bench.settings.calibration = Calibration::None;
    let (out, ended) = bench.run(&engine(), &mut store);
    assert!(matches!(ended, Err(TaskError::Unanswered { line: 8, .. })));
    assert_eq!(out.lines().count(), 7);
}

#[test]
fn an_engine_that_breaks_stops_the_run_and_says_where() {
    let mut bench = Bench::new(200);
    bench.settings.calibration = Calibration::None;
    let engine = Scripted::new(Script {
        broken_after: Some(100),
        ..Script::default()
    });
    let mut store = SqliteStore::in_memory().unwrap();
    let (out, ended) = bench.run(&engine, &mut store);
    let error = ended.unwrap_err();
    assert!(
        matches!(error, TaskError::Engine { line: 105, .. }),
        "{error}"
    );
    assert_eq!(out.lines().count(), 104);
}

#[test]
fn both_orders_of_the_examples_are_scored_and_averaged() {
    let mut bench = Bench::new(9);
    bench.spec.examples = ["positive", "negative"]
        .map(|label| autoglm_spec::Example {
            input: crate::scripted::record(&serde_json::json!({"text": label})),
            output: label.to_owned(),
        })
        .to_vec();
    bench.settings.calibration = Calibration::None;
    let scores = |bench: &Bench| -> Vec<Vec<f32>> {
        let engine = Scripted::new(Script::default());
        let mut store = SqliteStore::in_memory().unwrap();
        let report = bench.run(&engine, &mut store).1.unwrap();
        let rows = store.rows(report.run, 0, 99).unwrap();
        rows.iter().filter_map(scores_of).collect()
    };
    let both = scores(&bench);
    bench.settings.both_orders = false;
    let one = scores(&bench);
    bench.spec.examples.reverse();
    let other = scores(&bench);
    assert_eq!(both.len(), 9);
    for ((both, one), other) in both.iter().zip(one).zip(other) {
        let mean: Vec<f32> = one.iter().zip(other).map(|(a, b)| (a + b) / 2.0).collect();
        assert_eq!(both, &mean);
    }
}

#[test]
fn the_limit_holds() {
    let mut bench = Bench::new(100);
    bench.settings.limit = Some(5);
    let (out, report) = whole(&bench);
    assert_eq!(out.lines().count(), 5);
    assert_eq!(report.written, 5);
}

#[test]
fn json_that_does_not_come_out_whole_is_an_error_row() {
    let mut bench = Bench::new(3);
    bench.spec.output = Output::Json {
        schema: serde_json::json!({"type": "object"}),
        max_tokens: 4,
    };
    let engine = Scripted::new(Script {
        text: Some("{\"a\": 1"),
        ..Script::default()
    });
    let mut store = SqliteStore::in_memory().unwrap();
    let (out, report) = bench.run(&engine, &mut store);
    assert_eq!(report.unwrap().errors, 3);
    assert!(out.starts_with(
        "{\"text\":\"评论 0\",\"id\":0,\"line\":1,\"error\":\"the answer is not JSON"
    ));
}

#[test]
fn a_replayed_record_gives_the_stored_answer() {
    let engine = Scripted::new(Script::default());
    let mut store = SqliteStore::in_memory().unwrap();
    let (_, report) = Bench::new(300).run(&engine, &mut store);
    let run = report.unwrap().run;
    let cancel = Cancel::default();
    let replayed = replay(&store, run, 299, &again(&engine), &cancel).unwrap();
    assert!(replayed.shown.same_prompt && replayed.same_verdict);
    let shown = show(&store, run, 299).unwrap();
    assert_eq!(shown, replayed.shown);
    assert!(shown.prompt.unwrap().display_text().contains("评论 299"));
    let malformed = show(&store, run, 17).unwrap();
    assert!(malformed.prompt.is_none() && malformed.row.error.is_some());
    let error = replay(&store, run, 300, &again(&engine), &cancel).unwrap_err();
    assert!(matches!(
        error,
        TaskError::NoSuchRecord { records: 300, .. }
    ));
}

#[test]
fn progress_tells_rate_and_time_left_of_this_part() {
    let progress = Progress {
        done: 60,
        resumed: 20,
        total: Some(100),
        errors: 0,
        elapsed: Duration::from_secs(10),
    };
    assert_eq!(progress.records_per_second(), 4.0);
    assert_eq!(progress.time_left(), Some(Duration::from_secs(10)));
    let none = Progress {
        total: None,
        ..progress
    };
    assert_eq!(none.time_left(), None);
}
