//! Runs whose open answers are sampled.

use autoglm_spec::{FinishReason, Output};

use super::tests::{Bench, again, whole_by};
use super::*;
use crate::judge::agreement::{SamplingPlan, StopRule};
use crate::scripted::{Script, Scripted};
use crate::store::SqliteStore;

fn bench(records: usize, samples: usize, stop: StopRule) -> Bench {
    let mut bench = Bench::new(records);
    bench.spec.output = Output::Text { max_tokens: 16 };
    bench.settings.plan = SamplingPlan {
        samples,
        stop,
        ..SamplingPlan::default()
    };
    bench
}

fn varied() -> Script {
    Script {
        variety: 3,
        ..Script::default()
    }
}

fn rows(bench: &Bench) -> (Vec<Row>, usize) {
    let engine = Scripted::new(varied());
    let mut store = SqliteStore::in_memory().unwrap();
    let run = bench.run(&engine, &mut store).1.unwrap().run;
    (store.rows(run, 0, 999).unwrap(), engine.requests())
}

#[test]
fn easy_records_take_fewer_samples_and_all_are_counted() {
    let (rows, requests) = rows(&bench(60, 10, StopRule::Adaptive));
    let votes: Vec<_> = rows
        .iter()
        .filter_map(|row| row.verdict.as_ref()?.vote.clone())
        .collect();
    assert_eq!(
        votes.iter().map(|vote| vote.samples).sum::<usize>(),
        requests
    );
    let unanimous = votes
        .iter()
        .filter(|vote| vote.samples <= 2 && vote.agreed == vote.samples);
    assert!(unanimous.count() > 5);
    assert!(votes.iter().any(|vote| vote.samples > 5));
    assert!(requests < 60 * 8);
    for row in &rows {
        let (Some(verdict), Some(raw)) = (&row.verdict, &row.raw) else {
            continue;
        };
        let vote = verdict.vote.as_ref().unwrap();
        assert_eq!(raw.samples().len(), vote.samples);
        assert_eq!(vote.alternatives[0].answer, verdict.answer);
        assert_eq!(row.usage.prompt_tokens, 10 * vote.samples);
    }
}

#[test]
fn adaptive_samples_are_the_first_of_the_fixed_ones() {
    let (adaptive, few) = rows(&bench(60, 8, StopRule::Adaptive));
    let (fixed, many) = rows(&bench(60, 8, StopRule::Fixed));
    assert!(few < many);
    for (a, f) in adaptive.iter().zip(&fixed) {
        let (Some(a_raw), Some(f_raw)) = (&a.raw, &f.raw) else {
            continue;
        };
        let (some, all) = (a_raw.samples(), f_raw.samples());
        assert_eq!(all.len(), 8);
        assert_eq!(some, all[..some.len()]);
        let stopped = a.verdict.as_ref().unwrap().vote.as_ref().unwrap().stopped;
        if stopped == autoglm_spec::Stopped::Limit {
            assert_eq!(a.verdict, f.verdict);
        }
    }
}

#[test]
fn one_sample_is_what_it_was_without_a_vote() {
    let one = bench(20, 1, StopRule::Fixed);
    let plain = {
        let mut bench = bench(20, 1, StopRule::Adaptive);
        bench.settings.plan = SamplingPlan::default();
        bench
    };
    let (sampled, _) = rows(&one);
    assert!(
        sampled
            .iter()
            .flat_map(|row| &row.verdict)
            .all(|verdict| verdict.vote.is_none())
    );
    assert_eq!(sampled, rows(&plain).0);
}

#[test]
fn sampled_runs_resume_as_if_nothing_had_happened() {
    for stop in [StopRule::Adaptive, StopRule::Fixed] {
        let mut bench = bench(50, 6, stop);
        bench.settings.min_confidence = Some(0.5);
        let wanted = whole_by(&bench, varied());
        for broken_after in [0, 7, 40, 120, 200] {
            let mut store = SqliteStore::in_memory().unwrap();
            let broken = Scripted::new(Script {
                broken_after: Some(broken_after),
                ..varied()
            });
            bench.resume = Resume::No;
            let (torn, ended) = bench.run(&broken, &mut store);
            assert!(wanted.starts_with(&torn));
            assert!(ended.is_err() || torn == wanted);
            bench.resume = Resume::Matching;
            let (out, report) = bench.run(&Scripted::new(varied()), &mut store);
            assert_eq!(out, wanted);
            assert_eq!(report.unwrap().written, 50);
        }
    }
}

#[test]
fn a_raised_flag_ends_a_sampled_run_with_whole_rows() {
    let bench = bench(40, 6, StopRule::Adaptive);
    let wanted = whole_by(&bench, varied());
    let engine = Scripted::new(Script {
        cancel_after: Some(50),
        ..varied()
    });
    let mut store = SqliteStore::in_memory().unwrap();
    let (out, report) = bench.run(&engine, &mut store);
    assert_eq!(report.unwrap().status, RunStatus::Interrupted);
    assert!(wanted.starts_with(&out));
}

#[test]
fn another_plan_does_not_go_on() {
    let mut bench = bench(20, 6, StopRule::Adaptive);
    let engine = Scripted::new(varied());
    let mut store = SqliteStore::in_memory().unwrap();
    bench.run(&engine, &mut store).1.unwrap();
    bench.resume = Resume::Matching;
    bench.settings.plan.samples = 7;
    let error = bench.run(&engine, &mut store).1.unwrap_err();
    assert!(
        matches!(
            error,
            TaskError::ResumeMismatch {
                what: "plan of samples",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_replayed_record_takes_the_same_samples() {
    let bench = bench(30, 6, StopRule::Adaptive);
    let engine = Scripted::new(varied());
    let mut store = SqliteStore::in_memory().unwrap();
    let run = bench.run(&engine, &mut store).1.unwrap().run;
    for index in [3, 8, 29] {
        let again = replay(&store, run, index, &again(&engine), &Cancel::default()).unwrap();
        assert!(again.same_verdict, "{index}");
    }
}

#[test]
fn answers_that_are_not_sure_are_withheld_and_stay_in_the_store() {
    let mut bench = bench(40, 10, StopRule::Adaptive);
    bench.settings.min_confidence = Some(0.6);
    let engine = Scripted::new(varied());
    let mut store = SqliteStore::in_memory().unwrap();
    let (out, report) = bench.run(&engine, &mut store);
    let report = report.unwrap();
    assert!(report.abstained > 0 && report.abstained < 30);
    let stored = store.rows(report.run, 0, 99).unwrap();
    for (line, row) in out.lines().zip(&stored) {
        let written: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(verdict) = &row.verdict else {
            continue;
        };
        assert_eq!(row.abstained.is_some(), verdict.confidence < 0.6);
        assert_eq!(written.get("answer").is_some(), row.abstained.is_none());
        assert_eq!(written["abstained"] == true, row.abstained.is_some());
    }
}

#[test]
fn a_calibrator_corrects_confidences_before_any_answer_is_withheld() {
    let mut bench = bench(40, 6, StopRule::Adaptive);
    bench.settings.min_confidence = Some(0.5);
    let (raw, _) = rows(&bench);
    let calibrator = crate::judge::Calibrator::Logistic {
        slope: 1.0,
        offset: -2.0,
    };
    bench.settings.calibrator = Some(calibrator.clone());
    let engine = Scripted::new(varied());
    let mut store = SqliteStore::in_memory().unwrap();
    let run = bench.run(&engine, &mut store).1.unwrap().run;
    let corrected = store.rows(run, 0, 99).unwrap();
    let mut withheld = 0;
    for (raw, row) in raw.iter().zip(&corrected) {
        let (Some(before), Some(after)) = (&raw.verdict, &row.verdict) else {
            continue;
        };
        assert_eq!(after.confidence, calibrator.apply(before.confidence));
        assert_eq!(after.calibration, Calibration::Fitted);
        assert_eq!(row.abstained.is_some(), after.confidence < 0.5);
        withheld += usize::from(raw.abstained.is_none() && row.abstained.is_some());
    }
    assert!(withheld > 0);
    let again = replay(&store, run, 3, &again(&engine), &Cancel::default()).unwrap();
    assert!(again.same_verdict);
    bench.settings.calibrator = None;
    bench.resume = Resume::Matching;
    let error = bench.run(&engine, &mut store).1.unwrap_err();
    assert!(
        error.to_string().contains("correction of confidences"),
        "{error}"
    );
}

/// A chat model that gives JSON that is cut, and whole JSON once it is told what is wrong.
struct Careless {
    facts: autoglm_spec::ModelFacts,
}

impl Generate for Careless {
    fn facts(&self) -> &autoglm_spec::ModelFacts {
        &self.facts
    }

    fn generate(
        &self,
        requests: &[autoglm_spec::GenerateRequest],
        _: &Cancel,
        _: &mut dyn FnMut(usize, &autoglm_spec::Delta),
    ) -> Vec<Result<autoglm_spec::Completion, autoglm_spec::EngineError>> {
        let answer = |request: &autoglm_spec::GenerateRequest| {
            let prompt = request.prompt.display_text();
            let text = if prompt.contains("cannot be used: the JSON was not complete") {
                "[1]"
            } else {
                "[1, 1"
            };
            Ok(autoglm_spec::Completion {
                text: text.to_owned(),
                tokens: Vec::new(),
                logprobs: vec![-0.1],
                top: Vec::new(),
                finish: autoglm_spec::FinishReason::Length,
                usage: Usage {
                    prompt_tokens: 5,
                    ..Usage::default()
                },
            })
        };
        requests.iter().map(answer).collect()
    }
}

impl Score for Careless {
    fn score(
        &self,
        _: &[autoglm_spec::ScoreRequest],
        _: &Cancel,
    ) -> Vec<Result<autoglm_spec::Scoring, autoglm_spec::EngineError>> {
        Vec::new()
    }
}

#[test]
fn a_chat_model_is_told_what_is_wrong_and_its_answer_counts() {
    let mut bench = bench(2, 3, StopRule::Adaptive);
    bench.spec.output = Output::Json {
        schema: serde_json::json!({"type": "array"}),
        max_tokens: 4,
    };
    bench.settings.plan.repair = true;
    for row in careless(&bench, true) {
        let verdict = row.verdict.unwrap();
        let vote = verdict.vote.unwrap();
        assert_eq!(
            (verdict.answer.as_str(), vote.samples, vote.unusable),
            ("[1]", 4, 3)
        );
        assert!(vote.repaired && row.raw.unwrap().samples()[3].repair);
        assert_eq!(row.usage.prompt_tokens, 20);
    }
    for (chat, repair) in [(true, false), (false, true)] {
        bench.settings.plan.repair = repair;
        for row in careless(&bench, chat) {
            assert!(row.error.unwrap().starts_with("the JSON was not complete"));
        }
    }
    bench.settings.plan.samples = 1;
    bench.settings.plan.repair = true;
    for row in careless(&bench, true) {
        let verdict = row.verdict.unwrap();
        let vote = verdict.vote.unwrap();
        assert_eq!((verdict.answer.as_str(), vote.samples), ("[1]", 2));
        assert!(vote.repaired);
    }
}

/// The rows that a careless model, with turns or without, is repaired to.
fn careless(bench: &Bench, chat: bool) -> Vec<Row> {
    let facts = autoglm_spec::ModelFacts {
        name: "careless".to_owned(),
        context_tokens: 99,
        chat,
    };
    let mut store = SqliteStore::in_memory().unwrap();
    let report = bench.run_by(&Careless { facts }, &mut store).1.unwrap();
    store.rows(report.run, 0, 9).unwrap()
}

#[test]
fn a_sample_that_a_cancellation_has_cut_is_no_answer() {
    for samples in [1, 6] {
        let bench = bench(40, samples, StopRule::Adaptive);
        let wanted = whole_by(&bench, varied());
        let engine = Scripted::new(Script {
            cut_after: Some(50.min(20 * samples)),
            ..varied()
        });
        let mut store = SqliteStore::in_memory().unwrap();
        let (out, report) = bench.run(&engine, &mut store);
        let report = report.unwrap();
        assert_eq!(report.status, RunStatus::Interrupted);
        assert!(wanted.starts_with(&out) && out.len() < wanted.len());
        for row in store.rows(report.run, 0, 99).unwrap() {
            let samples = row.raw.map(|raw| raw.samples()).unwrap_or_default();
            assert!(samples.iter().all(|s| s.finish == FinishReason::Stop));
        }
    }
}
