//! What searches cost: budgets, estimates, windows.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use autoglm_spec::{
    Completion, EngineError, Generate, GenerateRequest, ModelFacts, Score, ScoreRequest, Scoring,
};

use super::calls::Request;
use super::tests::{Desk, keen, store};
use super::trial::Trial;
use super::*;
use crate::scripted::{Script, Scripted};

fn assert_near(estimate: u64, real: u64, report: &SearchReport) {
    let ratio = estimate as f64 / real as f64;
    assert!(
        (0.85..=1.15).contains(&ratio),
        "{estimate} {real}\n{report}"
    );
}

#[test]
fn an_estimate_asks_nothing_and_is_within_15_percent_in_the_budget_s_unit() {
    let script = |chat| Script {
        counts_tokens: true,
        chat,
        ..keen()
    };
    for (records, calls) in [(300, 300), (300, 1_000), (600, 2_000), (120, 700)] {
        for chat in [false, true] {
            let desk = Desk::new(script(chat), records, calls);
            let estimated = desk.estimate();
            assert_eq!(desk.engine.requests(), 0);
            let report = desk.optimize(&mut store()).unwrap();
            assert_near(estimated.calls, report.spent.calls, &report);
        }
    }
    for tokens in [30_000, 100_000] {
        let mut desk = Desk::new(script(false), 300, 0);
        desk.budget = Budget::Tokens(tokens);
        let estimated = desk.estimate();
        let report = desk.optimize(&mut store()).unwrap();
        assert_near(estimated.tokens, report.spent.tokens(), &report);
    }
}

#[test]
fn where_long_prompts_win_the_tokens_lie_between_the_bounds() {
    let script = Script {
        counts_tokens: true,
        ..keen()
    };
    let desk = Desk::new(script, 300, 1_000);
    let [least, most] = desk.estimate().tokens_between;
    let tokens = desk.optimize(&mut store()).unwrap().spent.tokens();
    assert!((least..=most).contains(&tokens), "{least} {tokens} {most}");
}

#[test]
fn time_is_not_estimated_and_nothing_is_asked() {
    let mut desk = Desk::new(keen(), 300, 0);
    desk.budget = Budget::Time(Duration::from_secs(90));
    let refused = desk.with_hooks(|hooks| estimate(&desk.search(), hooks));
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("90 s cannot be told"), "{told}");
    assert_eq!(desk.engine.requests(), 0);
}

/// Writes instructions, each of which takes some time.
struct Slow<'a> {
    engine: Scripted,
    clock: &'a AtomicU64,
    request_ms: u64,
    windows: Mutex<Vec<usize>>,
}

impl<'a> Slow<'a> {
    fn of(&'a self, scope: &'a str) -> Writer<'a> {
        Writer {
            engine: self,
            scope,
        }
    }

    fn new(clock: &'a AtomicU64, request_ms: u64) -> Self {
        Self {
            engine: Scripted::new(Script {
                chat: true,
                text: Some("<instruction>Tell how the reviewer feels.</instruction>"),
                ..Script::default()
            }),
            clock,
            request_ms,
            windows: Mutex::default(),
        }
    }
}

impl Generate for Slow<'_> {
    fn facts(&self) -> &ModelFacts {
        self.engine.facts()
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &autoglm_spec::Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        self.windows.lock().unwrap().push(requests.len());
        let took = self.request_ms * requests.len() as u64;
        self.clock.fetch_add(took, Ordering::Relaxed);
        self.engine.generate(requests, cancel, on_delta)
    }
}

impl Score for Slow<'_> {
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        self.engine.score(requests, cancel)
    }
}

#[test]
fn the_budget_that_is_wanted_pays_for_the_writer_and_too_small_a_one_asks_it_nothing() {
    let found = |calls| {
        let desk = Desk::new(keen(), 300, calls);
        let writer = Slow::new(&desk.clock, 1);
        let mut search = desk.search();
        search.writer = Some(writer.of("writer"));
        let found = desk.with_hooks(|hooks| optimize(&search, &mut store(), hooks));
        (found, writer.engine.requests())
    };
    let (Err(TaskError::BudgetTooSmall { wanted, .. }), 0) = found(20) else {
        panic!("20 calls pay for nothing");
    };
    let least: u64 = wanted.split(' ').next().unwrap().parse().unwrap();
    let (enough, written) = found(least);
    assert!(enough.is_ok() && written > 0, "{least}");
    assert!(matches!(
        found(least * 4 / 5),
        (Err(TaskError::BudgetTooSmall { .. }), 0)
    ));
}

#[test]
fn a_slow_writer_does_not_make_scores_look_slow() {
    let mut desk = Desk::new(keen(), 300, 0);
    desk.budget = Budget::Time(Duration::from_mins(1));
    let writer = Slow::new(&desk.clock, 2_000);
    let mut search = desk.search();
    search.writer = Some(writer.of("writer"));
    let report = desk
        .with_hooks(|hooks| optimize(&search, &mut store(), hooks))
        .unwrap();
    assert!(report.spent.elapsed <= Duration::from_mins(1), "{report}");
    assert!(report.spent.calls > 1_000, "{report}");
}

#[test]
fn answers_are_generated_in_small_windows() {
    let desk = Desk::new(keen(), 90, 300);
    let writer = Slow::new(&desk.clock, 1);
    let mut spec = desk.spec.clone();
    spec.output = autoglm_spec::Output::Text { max_tokens: 4 };
    let mut search = desk.search();
    (search.spec, search.engine) = (&spec, &writer);
    desk.with_hooks(|hooks| optimize(&search, &mut store(), hooks))
        .unwrap();
    let windows = writer.windows.lock().unwrap();
    assert_eq!(windows.iter().max(), Some(&16), "{windows:?}");
}

#[test]
fn no_amount_of_tokens_overflows() {
    let mut desk = Desk::new(keen(), 300, 0);
    desk.budget = Budget::Tokens(u64::MAX);
    desk.spec.output = autoglm_spec::Output::Text {
        max_tokens: usize::MAX,
    };
    let search = desk.search();
    let course = Course::new(&search).unwrap();
    desk.with_hooks(|hooks| {
        let trial = Trial::new(course.ground(&hooks), &desk.start).unwrap();
        let requests: Vec<Request> = trial.all_requests(&desk.records[..2]);
        let source = Source::Nowhere(Survivors::Mixed);
        let caller = Caller::new(source, search.budget, outside(&search, &hooks));
        let most = caller.most(&requests, search.engine.facts());
        assert!(most >= 2.0 * usize::MAX as f64, "{most}");
        assert!(caller.likely_tokens_of(&requests) > 0);
    });
}

#[test]
fn no_time_at_all_asks_nothing() {
    let mut desk = Desk::new(keen(), 300, 0);
    desk.budget = Budget::Time(Duration::ZERO);
    let report = desk.optimize(&mut store()).unwrap();
    assert_eq!((report.ended, report.spent.calls), (Ended::BudgetSpent, 0));
}

#[test]
fn a_slow_writer_does_not_make_open_answers_look_slow() {
    let mut desk = Desk::new(keen(), 300, 0);
    desk.budget = Budget::Time(Duration::from_mins(1));
    desk.spec.output = autoglm_spec::Output::Text { max_tokens: 4 };
    let writer = Slow::new(&desk.clock, 2_000);
    let mut search = desk.search();
    search.writer = Some(writer.of("writer"));
    let report = desk
        .with_hooks(|hooks| optimize(&search, &mut store(), hooks))
        .unwrap();
    assert!(report.spent.calls > 1_000, "{report}");
}

#[test]
fn a_writer_does_not_spend_what_the_comparisons_need() {
    let mut desk = Desk::new(keen(), 300, 0);
    desk.budget = Budget::Time(Duration::from_mins(1));
    // All that it is asked for would take longer than the whole budget.
    let writer = Slow::new(&desk.clock, 9_000);
    let mut search = desk.search();
    search.writer = Some(writer.of("writer"));
    let report = desk
        .with_hooks(|hooks| optimize(&search, &mut store(), hooks))
        .unwrap();
    assert!((1..=3).contains(&writer.engine.requests()), "{report}");
    assert!(
        report.to_string().contains("instructions were written"),
        "{report}"
    );
    let found = report.found.clone().unwrap();
    assert!(
        found.scores.untouched.unwrap().worth.rows >= LEAST_UNTOUCHED,
        "{report}"
    );
}

#[test]
fn what_one_writer_wrote_is_not_taken_for_another_s() {
    let mut store = store();
    let mut written_by = |scope: &str| {
        let desk = Desk::new(keen(), 300, 1_000);
        let writer = Slow::new(&desk.clock, 1);
        let mut search = desk.search();
        search.writer = Some(writer.of(scope));
        desk.with_hooks(|hooks| optimize(&search, &mut store, hooks))
            .unwrap();
        writer.engine.requests()
    };
    let first = written_by("one address");
    assert!(first > 0);
    assert_eq!(written_by("one address"), 0);
    assert_eq!(written_by("another address"), first);
}

#[test]
fn blanks_of_contextual_calibration_are_paid_once() {
    let mut desk = Desk::new(keen(), 300, 300);
    desk.start.calibration = autoglm_spec::Calibration::Contextual;
    let search = desk.search();
    let course = Course::new(&search).unwrap();
    desk.with_hooks(|hooks| {
        let source = Source::Nowhere(Survivors::Mixed);
        let caller = Caller::new(source, Budget::Calls(60), outside(&search, &hooks));
        let trial = || Trial::new(course.ground(&hooks), &desk.start).unwrap();
        // Both ask the same: as many records as there are calls besides the blanks.
        let blanks = trial().all_requests(&desk.records[..1]).len() - 1;
        assert!(blanks > 0);
        let count = course.affordable(&caller, &[trial(), trial()], &course.split.untouched);
        assert_eq!(count, 60 - blanks);
    });
}
