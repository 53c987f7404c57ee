//! Records that come one by one, and the prior that they share.

use std::time::UNIX_EPOCH;

use autoglm_spec::{Calibration, Cancel, TaskSpec};
use serde_json::json;

use super::*;
use crate::scripted::{Script, Scripted, record, review_task};
use crate::store::SqliteStore;

/// A task whose records come in requests.
struct Desk {
    spec: TaskSpec,
    engine: Scripted,
    store: SqliteStore,
    calibration: Calibration,
}

impl Desk {
    fn new(calibration: Calibration) -> Self {
        Self {
            spec: review_task(),
            engine: Scripted::new(Script::default()),
            store: SqliteStore::in_memory().unwrap(),
            calibration,
        }
    }

    fn job(&self, prior: Option<Prior>) -> Job<'_> {
        Job {
            spec: &self.spec,
            engine: &self.engine,
            taught: None,
            settings: RunSettings {
                calibration: self.calibration,
                prior,
                ..RunSettings::default()
            },
            similar: None,
            source: "-".to_owned(),
            survey: None,
            output: "-".to_owned(),
            resume: Resume::No,
            correction: None,
            choosing: None,
        }
    }

    fn standing(&self) -> StandingPrior {
        StandingPrior::open(&self.job(None), &self.store).unwrap()
    }

    /// Answers the records with these numbers in one request.
    fn answer(&mut self, prior: Option<Prior>, numbers: &[usize]) -> (RunReport, Vec<Row>) {
        let mut store = std::mem::replace(&mut self.store, SqliteStore::in_memory().unwrap());
        let mut rows = Vec::new();
        let items = numbers.iter().map(|number| {
            Ok(NumberedRecord {
                line: 1,
                record: record(&json!({"text": format!("评论 {number}")})),
            })
        });
        let hooks = Hooks {
            now: &|| UNIX_EPOCH,
            cancel: &Cancel::default(),
            progress: &|_| {},
            step: &|_| {},
        };
        let job = self.job(prior);
        let report = run(&job, &mut items.into_iter(), &mut store, &mut rows, hooks).unwrap();
        self.store = store;
        (report, rows)
    }

    /// Answers them one by one, each with the prior of its time, and says on how many records that
    /// was found.
    fn answer_singly(&mut self, standing: &mut StandingPrior, numbers: &[usize]) -> Vec<usize> {
        let one = |number: &usize| {
            let prior = standing.prior();
            let records = prior.as_ref().map_or(0, |prior| prior.records);
            let (report, rows) = self.answer(prior, &[*number]);
            standing.learn(&report, &rows);
            records
        };
        numbers.iter().map(one).collect()
    }
}

#[test]
fn the_prior_changes_when_the_records_have_doubled_and_then_stays() {
    let mut desk = Desk::new(Calibration::Batch);
    let mut standing = desk.standing();
    let numbers: Vec<usize> = (0..300).collect();
    let used = desk.answer_singly(&mut standing, &numbers);
    let doubled = |n: usize| match n {
        0..32 => 0,
        32..64 => 32,
        64..128 => 64,
        128..256 => 128,
        _ => 256,
    };
    let expected: Vec<usize> = (0..300).map(doubled).collect();
    assert_eq!(used, expected);
}

#[test]
fn a_record_has_the_same_verdict_alone_and_among_others() {
    let mut desk = Desk::new(Calibration::Batch);
    let mut standing = desk.standing();
    desk.answer_singly(&mut standing, &(0..40).collect::<Vec<usize>>());
    let prior = standing.prior();
    let numbers: Vec<usize> = (50..150).collect();
    let (_, together) = desk.answer(prior.clone(), &numbers);
    for (row, number) in together.iter().zip(numbers) {
        let (report, alone) = desk.answer(prior.clone(), &[number]);
        assert_eq!(alone[0].verdict, row.verdict);
        assert_eq!(report.prior, prior);
    }
}

#[test]
fn what_was_learnt_is_found_again_in_the_store() {
    let mut desk = Desk::new(Calibration::Batch);
    let mut standing = desk.standing();
    desk.answer_singly(&mut standing, &(0..50).collect::<Vec<usize>>());
    let mut again = desk.standing();
    assert_eq!(again, standing);
    let more: Vec<usize> = (50..70).collect();
    desk.answer_singly(&mut again, &more);
    assert_eq!(again.prior().unwrap().records, 64);
    assert_eq!(desk.standing().prior(), again.prior());
}

#[test]
fn the_same_record_again_does_not_count() {
    let mut desk = Desk::new(Calibration::Batch);
    let mut standing = desk.standing();
    desk.answer_singly(&mut standing, &[7; 40]);
    assert_eq!(standing.prior(), Some(Prior::none()));
}

#[test]
fn a_prior_from_a_run_over_a_file_is_used() {
    let mut desk = Desk::new(Calibration::Batch);
    let (report, _) = desk.answer(None, &(0..100).collect::<Vec<usize>>());
    assert_eq!(report.prior.as_ref().unwrap().records, 100);
    assert_eq!(desk.standing().prior(), report.prior);
}

#[test]
fn records_without_content_are_asked_about_once() {
    let mut desk = Desk::new(Calibration::Contextual);
    let mut standing = desk.standing();
    assert_eq!(standing.prior(), None);
    let (report, rows) = desk.answer(None, &[1]);
    standing.learn(&report, &rows);
    let before = desk.engine.requests();
    let (again, _) = desk.answer(standing.prior(), &[2]);
    assert_eq!(again.prior, report.prior);
    let per_record = if desk.spec.examples.len() >= 2 { 2 } else { 1 };
    assert_eq!(desk.engine.requests(), before + per_record);
    assert_eq!(desk.standing().prior(), report.prior);
}

#[test]
fn a_prior_that_labelled_records_taught_stands_whatever_records_come() {
    let mut desk = Desk::new(Calibration::Fitted);
    let taught = Prior::fitted(
        &[vec![-0.1, -3.0], vec![-0.3, -2.0], vec![-0.2, -2.5]],
        &[1, 0, 1],
    );
    let job = desk.job(Some(taught.clone()));
    let standing = StandingPrior::open(&job, &desk.store).unwrap();
    drop(job);
    assert_eq!(standing.prior(), Some(taught.clone()));
    let (_, plain) = desk.answer(None, &[3]);
    for numbers in [vec![3], (0..100).collect()] {
        let (report, rows) = desk.answer(standing.prior(), &numbers);
        assert_eq!(report.prior, Some(taught.clone()));
        let row = rows
            .iter()
            .find(|row| row.prompt_hash == plain[0].prompt_hash)
            .unwrap();
        let Some(Raw::Scores { logprobs }) = &row.raw else {
            panic!("labels are scored")
        };
        let verdict = row.verdict.as_ref().unwrap();
        let given = taught.divide_out(logprobs);
        let most = given.iter().copied().fold(0.0, f32::max);
        assert_eq!(
            (verdict.confidence, verdict.calibration),
            (most, Calibration::Fitted)
        );
        assert_ne!(
            verdict.distribution,
            plain[0].verdict.as_ref().unwrap().distribution
        );
    }
}
