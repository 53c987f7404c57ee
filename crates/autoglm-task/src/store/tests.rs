use std::time::{Duration, UNIX_EPOCH};

use autoglm_spec::{Calibration, Sampling, Usage, Verdict};
use serde_json::json;

use super::*;
use crate::judge::agreement::SamplingPlan;
use crate::row::Raw;
use crate::run::RunSettings;
use crate::scripted::{record, review_task};
use crate::strategy::{
    NewStrategy, RouteTaken, Strategy, StrategyId, StrategyKey, StrategyState, StrategyStore,
};

fn key() -> RunKey {
    RunKey {
        selection: None,
        task_hash: "t".to_owned(),
        model: ModelFacts {
            name: "m".to_owned(),
            context_tokens: 9,
            chat: true,
        },
        source: "/in".to_owned(),
        fingerprint: Some("f".to_owned()),
        output: "/out".to_owned(),
        calibration: Calibration::Batch,
        ensemble: None,
        sampling: Sampling::GREEDY,
        plan: SamplingPlan::default(),
        compare: None,
        similar: None,
        calibrator: None,
        min_confidence: None,
        stop: Vec::new(),
        both_orders: false,
        limit: None,
        strategy: None,
        feedback: None,
    }
}

fn begin(store: &mut dyn Store) -> RunId {
    store
        .begin(&RunStart {
            key: &key(),
            spec: &review_task(),
            at: UNIX_EPOCH + Duration::from_secs(5),
        })
        .unwrap()
}

fn answered(index: u64) -> Row {
    Row {
        route: Some(RouteTaken {
            branches: vec![
                ("strategy 1".to_owned(), 0.75),
                ("strategy 2".to_owned(), 0.25),
            ],
            only: Some(0),
        }),
        prompt_hash: Some("ab".to_owned()),
        raw: Some(Raw::Scores {
            logprobs: vec![-0.1, -2.5],
        }),
        verdict: Some(Verdict {
            answer: "好".to_owned(),
            confidence: 0.900_1,
            distribution: vec![("好".to_owned(), 0.900_1), ("坏".to_owned(), 0.099_9)],
            calibration: Calibration::Batch,
            vote: None,
            learnt: None,
        }),
        error: None,
        usage: Usage {
            prompt_tokens: 3,
            cached_tokens: 2,
            completion_tokens: 1,
            compute: Duration::from_micros(77),
        },
        ..Row::failed(
            index,
            index + 1,
            Some(record(&json!({"text": "🙂"}))),
            String::new(),
        )
    }
}

#[test]
fn runs_and_rows_come_back_as_they_were_put() {
    let mut store = SqliteStore::in_memory().unwrap();
    let run = begin(&mut store);
    let rows = [
        answered(0),
        Row::failed(1, 2, None, "bad".to_owned()),
        answered(2),
    ];
    store.put_rows(run, &rows).unwrap();
    assert_eq!(store.rows(run, 0, 10).unwrap(), rows);
    assert_eq!(store.rows(run, 1, 1).unwrap(), rows[1..2]);

    let prior = Prior::contextual(&[vec![-0.3, -1.7]]);
    store.put_prior(run, &prior).unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(9);
    store.put_status(run, RunStatus::Finished, at).unwrap();
    let info = store.run(run).unwrap();
    assert_eq!(info.key, key());
    assert_eq!(info.spec, review_task());
    assert_eq!(info.prior, Some(prior));
    assert_eq!((info.created_ms, info.updated_ms), (5000, 9000));
    assert_eq!(info.status, RunStatus::Finished);
    assert_eq!((info.records, info.errors), (3, 1));
    assert_eq!(store.runs().unwrap(), [info]);
}

#[test]
fn a_row_that_replaces_another_is_counted_once() {
    let mut store = SqliteStore::in_memory().unwrap();
    let run = begin(&mut store);
    let waiting = Row {
        verdict: None,
        ..answered(0)
    };
    store.put_rows(run, &[waiting]).unwrap();
    store.put_rows(run, &[answered(0), answered(1)]).unwrap();
    assert_eq!(store.run(run).unwrap().records, 2);
    assert_eq!(store.rows(run, 0, 9).unwrap(), [answered(0), answered(1)]);
}

#[test]
fn the_file_keeps_runs_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/runs.db");
    let run = begin(&mut SqliteStore::open(&path).unwrap());
    let mut again = SqliteStore::open(&path).unwrap();
    assert_eq!(again.run(run).unwrap().id, run);
    assert!(begin(&mut again) > run);
}

#[test]
fn a_run_that_does_not_exist_is_named() {
    let store = SqliteStore::in_memory().unwrap();
    let error = store.run(RunId(41)).unwrap_err();
    assert!(error.to_string().starts_with("there is no run 41"));
}

#[test]
fn a_store_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    drop(SqliteStore::open(&path).unwrap());
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = SqliteStore::open(&path)
        .err()
        .expect("version 99 is not known");
    assert!(matches!(error, TaskError::StoreVersion { found: 99, .. }));
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    std::fs::write(&path, "just some text, long enough to be looked at").unwrap();
    assert!(matches!(
        SqliteStore::open(&path).err(),
        Some(TaskError::Store { action: "open", .. })
    ));
}

#[test]
fn a_store_from_before_there_were_votes_opens_and_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("schema.sql")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    let mut key = serde_json::to_value(key()).unwrap();
    for name in ["plan", "compare", "similar", "min_confidence"] {
        key.as_object_mut().unwrap().remove(name).unwrap();
    }
    let spec = serde_json::to_string(&review_task()).unwrap();
    old.execute(
        "INSERT INTO runs (task_name, run_key, spec, created_ms, updated_ms, status, records) \
         VALUES ('t', ?1, ?2, 1, 1, '\"finished\"', 1)",
        rusqlite::params![key.to_string(), spec],
    )
    .unwrap();
    let raw =
        json!({"kind": "text", "text": "a", "mean_logprob": -0.5, "tokens": 1, "finish": "stop"});
    old.execute(
        "INSERT INTO records VALUES (1, 0, 1, '{}', 'h', ?1, 'a', 0.5, '[]', '\"none\"', NULL, 1, 0, 1, 9)",
        [raw.to_string()],
    )
    .unwrap();
    drop(old);
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.run(RunId(1)).unwrap().key, self::key());
    let mut row = store.rows(RunId(1), 0, 9).unwrap().remove(0);
    assert_eq!(row.raw.as_ref().unwrap().samples().len(), 1);
    row.abstained = Some("the confidence 0.5 is below 0.6".to_owned());
    row.verdict.as_mut().unwrap().vote = Some(autoglm_spec::Vote {
        samples: 3,
        agreed: 2,
        stopped: autoglm_spec::Stopped::Limit,
        entropy: 0.5,
        alternatives: Vec::new(),
        unusable: 0,
        repaired: true,
    });
    store
        .put_rows(RunId(1), std::slice::from_ref(&row))
        .unwrap();
    assert_eq!(store.rows(RunId(1), 0, 9).unwrap(), [row]);
}

fn version(task: &TaskSpec, strategy: Strategy) -> NewStrategy {
    NewStrategy {
        key: StrategyKey::of(task),
        parent: None,
        changes: vec!["instruction: a → b".to_owned()],
        strategy,
        scores: None,
        calls: 12,
        usage: Usage::default(),
        origin: "test".to_owned(),
        model: "m".to_owned(),
        made_for: task.instruction.clone(),
    }
}

fn strategy(instruction: &str) -> Strategy {
    Strategy {
        instruction: Some(instruction.to_owned()),
        ..Strategy::as_written(&crate::run::RunSettings::default())
    }
}

#[test]
fn a_promoted_version_is_live_until_it_is_rolled_back() {
    let mut store = SqliteStore::in_memory().unwrap();
    let (task, at) = (review_task(), UNIX_EPOCH);
    let key = StrategyKey::of(&task);
    let add = |store: &mut SqliteStore, text: &str| {
        let added = version(&task, strategy(text));
        store.add_strategy(&added, at).unwrap()
    };
    let (one, two) = (add(&mut store, "one"), add(&mut store, "two"));
    assert_eq!(add(&mut store, "one"), one);
    let live = |store: &SqliteStore| store.live_strategy(&key).unwrap().map(|v| v.id);
    assert_eq!(live(&store), None);
    store.promote(&key, Some(one), at).unwrap();
    store.promote(&key, Some(two), at).unwrap();
    assert_eq!(live(&store), Some(two));
    let states: Vec<StrategyState> = store
        .strategies(Some("reviews"))
        .unwrap()
        .iter()
        .map(|v| v.state)
        .collect();
    assert_eq!(states, [StrategyState::Live, StrategyState::Retired]);
    assert_eq!(store.roll_back(&key).unwrap(), Some(one));
    assert_eq!(live(&store), Some(one));
    store.promote(&key, None, at).unwrap();
    assert_eq!(live(&store), None);
    assert_eq!(store.roll_back(&key).unwrap(), Some(one));
    assert_eq!(store.roll_back(&key).unwrap(), None);
    assert!(matches!(
        store.roll_back(&key),
        Err(TaskError::NothingPromoted { .. })
    ));
}

#[test]
fn a_version_comes_back_as_it_was_put_and_belongs_to_its_task() {
    let mut store = SqliteStore::in_memory().unwrap();
    let task = review_task();
    let added = version(&task, strategy("one"));
    let id = store.add_strategy(&added, UNIX_EPOCH).unwrap();
    let found = store.strategy(id).unwrap();
    assert_eq!(found.strategy, added.strategy);
    assert_eq!((found.changes, found.calls), (added.changes, 12));
    assert_eq!(found.state, StrategyState::Candidate);
    let other = TaskSpec {
        name: "other".to_owned(),
        ..task
    };
    let refused = store.promote(&StrategyKey::of(&other), Some(id), UNIX_EPOCH);
    assert!(matches!(refused, Err(TaskError::StrategyOfOther { .. })));
    assert!(matches!(
        store.strategy(StrategyId(99)),
        Err(TaskError::NoSuchStrategy { id: 99 })
    ));
}

#[test]
fn a_strategy_found_again_tells_of_its_last_search_and_another_model_s_is_another_version() {
    let mut store = SqliteStore::in_memory().unwrap();
    let first = version(&review_task(), strategy("one"));
    let id = store.add_strategy(&first, UNIX_EPOCH).unwrap();
    let again = NewStrategy {
        origin: "optimize --seed 9".to_owned(),
        changes: vec!["examples".to_owned()],
        calls: 77,
        ..first.clone()
    };
    let later = UNIX_EPOCH + Duration::from_secs(5);
    assert_eq!(store.add_strategy(&again, later).unwrap(), id);
    let found = store.strategy(id).unwrap();
    assert_eq!((&found.origin, found.calls), (&again.origin, 77));
    assert_eq!((found.changes, found.created_ms), (again.changes, 5_000));
    for other in [
        NewStrategy {
            model: "another".to_owned(),
            ..first.clone()
        },
        NewStrategy {
            made_for: "Another instruction.".to_owned(),
            ..first.clone()
        },
    ] {
        assert_ne!(store.add_strategy(&other, later).unwrap(), id);
    }
    assert_eq!(store.strategies(None).unwrap().len(), 3);
}

#[test]
fn calls_come_back_by_their_keys() {
    let mut store = SqliteStore::in_memory().unwrap();
    let call = StoredCall {
        outcome: Ok(Raw::Scores {
            logprobs: vec![-0.1, -2.5],
        }),
        usage: Usage::default(),
    };
    let failed = StoredCall {
        outcome: Err("too long".to_owned()),
        usage: Usage::default(),
    };
    let calls = [
        ("a".to_owned(), call.clone()),
        ("b".to_owned(), failed.clone()),
    ];
    store.put_calls(&calls, UNIX_EPOCH).unwrap();
    assert_eq!(store.call("a").unwrap(), Some(call));
    assert_eq!(store.call("b").unwrap(), Some(failed));
    assert_eq!(store.call("c").unwrap(), None);
}

#[test]
fn runs_of_before_there_were_strategies_are_read() {
    let mut old = serde_json::to_value(key()).unwrap();
    old.as_object_mut().unwrap().remove("strategy");
    assert_eq!(serde_json::from_value::<RunKey>(old).unwrap(), key());
}

#[test]
fn a_store_from_before_there_was_feedback_takes_some() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("schema.sql")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let mut store = SqliteStore::open(&path).unwrap();
    let row = NewFeedback {
        record: Some((RunId(3), 5)),
        input: record(&json!({"text": "🙂"})),
        opinion: Some(vec![("好".to_owned(), 0.75), ("坏".to_owned(), 0.25)]),
        given: Some("好".to_owned()),
        judgement: Judgement::Correct("坏".to_owned()),
        note: Some("why".to_owned()),
        pinned: true,
    };
    let at = UNIX_EPOCH + Duration::from_secs(7);
    let rows = [row.clone(), row.clone()];
    let batch = store.put_feedback("t", &rows, at).unwrap();
    assert_eq!(store.put_feedback("other", &rows, at).unwrap(), batch + 1);
    store.withdraw("t", Withdrawal::Row(2), at).unwrap();
    let stored = store.feedback("t").unwrap();
    let wanted = |id: i64, withdrawn_ms: Option<i64>| Feedback {
        id,
        batch,
        at_ms: 7000,
        run: Some(RunId(3)),
        index: Some(5),
        input: row.input.clone(),
        opinion: row.opinion.clone(),
        given: row.given.clone(),
        judgement: row.judgement.clone(),
        note: row.note.clone(),
        pinned: true,
        withdrawn_ms,
    };
    assert_eq!(stored, [wanted(1, None), wanted(2, Some(7000))]);
    assert!(store.withdraw("t", Withdrawal::Row(2), at).is_err());
}

#[test]
fn a_calibrator_is_found_by_all_that_confidences_depend_on() {
    let mut store = SqliteStore::in_memory().unwrap();
    let (spec, settings) = (review_task(), RunSettings::default());
    let basis = confidence_basis(&spec, (&key().model, ""), &settings, None);
    let fitted = FittedConfidence {
        calibrator: Calibrator::platt(&[(0.2, false), (0.9, true)]).unwrap(),
        rows: 2,
        gain: crate::eval::Paired::of(&[0.1], &[0.2], 1),
        calibration_error: [0.3, 0.1],
    };
    store
        .put_calibrator("t", &basis, &fitted, UNIX_EPOCH)
        .unwrap();
    assert_eq!(store.calibrator("t", &basis).unwrap(), Some(fitted));
    assert_eq!(store.calibrator("other", &basis).unwrap(), None);
    let mut reworded = spec.clone();
    reworded.instruction.push('!');
    let mut sampled = settings.clone();
    sampled.plan.samples = 3;
    for other in [
        confidence_basis(&reworded, (&key().model, ""), &settings, None),
        confidence_basis(&spec, (&key().model, ""), &sampled, None),
        confidence_basis(&spec, (&key().model, ""), &sampled, Some("minilm")),
        confidence_basis(&spec, (&key().model, "adapter"), &settings, None),
    ] {
        assert_eq!(store.calibrator("t", &other).unwrap(), None);
    }
}

#[test]
fn an_evaluation_comes_back_with_what_its_run_tells_of_it() {
    let mut store = SqliteStore::in_memory().unwrap();
    let run = begin(&mut store);
    let rows = [Row {
        input: Some(record(&json!({"text": "🙂", "label": "positive"}))),
        ..answered(0)
    }];
    let evaluation = crate::eval::Evaluation {
        spec: &review_task(),
        model: "m",
        gold_field: None,
        plan: SamplingPlan::default(),
        compare: None,
        similar: None,
        elapsed: Duration::from_secs(3),
    };
    let report = evaluation.of(&rows).unwrap();
    let mut kept = NewEvaluation {
        run,
        strategy: Some(StrategyId(4)),
        gold_field: Some("label"),
        data_hash: "d".to_owned(),
        report: &report,
    };
    let at = UNIX_EPOCH + Duration::from_secs(7);
    assert_eq!(store.put_evaluation(&kept, at).unwrap(), 1);
    kept.strategy = None;
    store.put_evaluation(&kept, at).unwrap();
    let stored = store.evaluations("reviews", 9).unwrap();
    assert_eq!((stored[0].id, stored[0].strategy), (2, None));
    let wanted = StoredEvaluation {
        id: 1,
        at_ms: 7000,
        run,
        source: "/in".to_owned(),
        data_hash: "d".to_owned(),
        gold_field: Some("label".to_owned()),
        task_hash: "t".to_owned(),
        model: "m".to_owned(),
        strategy: Some(StrategyId(4)),
        taught: None,
        feedback: 0,
        report: report.clone(),
    };
    assert_eq!(stored[1], wanted);
    assert_eq!(store.evaluations("reviews", 1).unwrap().len(), 1);
    assert!(store.evaluations("other", 9).unwrap().is_empty());
    kept.run = RunId(9);
    assert!(store.put_evaluation(&kept, at).is_err());
}
