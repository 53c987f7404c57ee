//! Runs that the scripted engine has left in a store, listed and opened.

use autoglm_spec::TaskSpec;

use super::tests::{add_strategy, answer, answer_with, evaluate, labelled};
use super::*;
use crate::TaskError;
use crate::run::RunSettings;
use crate::scripted::review_task;
use crate::store::{RunId, SqliteStore};
use crate::strategy::{StrategyId, StrategyStore as _};

#[test]
fn a_list_says_what_each_run_followed_and_came_to() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    let (plain, rows) = answer(&mut store, &spec, &labelled(6));
    let strategy = add_strategy(&mut store, &spec);
    let version = store.strategy(strategy).unwrap();
    let (applied, settings) = version.strategy.apply(&spec, &RunSettings::default());
    // The scripted clock is before the strategy was made; such a run cannot have followed it.
    let (early, _) = answer_with(&mut store, &applied, &labelled(2), settings);
    let evaluated = evaluate(&mut store, &spec, &labelled(20), None);
    let list = list_runs(&store, &spec, 10).unwrap();
    assert_eq!(list.total, 3);
    let ids: Vec<RunId> = list.runs.iter().map(|run| run.info.id).collect();
    assert_eq!(ids, [evaluated, early, plain]);
    let [scored, followed, first] = <[RunSummary; 3]>::try_from(list.runs).unwrap();
    let score = scored.score.unwrap();
    assert_eq!((score.value, score.rows), (1.0, 20));
    assert_eq!((followed.as_written, followed.strategy), (false, None));
    assert_eq!((first.as_written, first.score), (true, None));
    let confidences = rows.iter().filter_map(|row| row.verdict.as_ref());
    let sum: f64 = confidences
        .map(|verdict| f64::from(verdict.confidence))
        .sum();
    assert!((first.mean_confidence.unwrap() - sum / 6.0).abs() < 1e-9);
    let tokens: usize = rows.iter().map(|row| row.usage.prompt_tokens).sum();
    assert_eq!(first.usage.unwrap().prompt_tokens, tokens);
    assert_eq!(list_runs(&store, &spec, 1).unwrap().runs.len(), 1);
}

#[test]
fn a_run_is_named_by_the_strategy_that_there_was() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    let strategy = add_strategy(&mut store, &spec);
    let version = store.strategy(strategy).unwrap();
    let (applied, settings) = version.strategy.apply(&spec, &RunSettings::default());
    answer_with(&mut store, &applied, &labelled(2), settings);
    let found = |created_ms: i64| -> Option<StrategyId> {
        let mut list = list_runs(&store, &spec, 1).unwrap();
        let mut info = list.runs.remove(0).info;
        info.created_ms = created_ms;
        super::runs::strategy_of(&[super::runs::Followed::of(&version)], &info)
    };
    assert_eq!(found(version.created_ms), Some(strategy));
    assert_eq!(found(version.created_ms - 1), None);
}

#[test]
fn a_run_is_opened_a_stretch_at_a_time() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    let run = evaluate(&mut store, &spec, &labelled(25), None);
    let places = |first: u64, count: usize| -> Vec<u64> {
        let page = open_run(&store, &spec, run, first, count).unwrap();
        assert_eq!(page.run.info.records, 25);
        page.records.iter().map(|record| record.index).collect()
    };
    assert_eq!(places(0, 10), (0..10).collect::<Vec<u64>>());
    assert_eq!(places(20, 10), (20..25).collect::<Vec<u64>>());
    assert_eq!(places(25, 10), [0; 0]);
    let page = open_run(&store, &spec, run, 1, 1).unwrap();
    let record = &page.records[0];
    assert_eq!(
        (record.gold.as_deref(), record.is_right),
        (Some("negative"), Some(true))
    );
    let other = TaskSpec {
        name: "other".to_owned(),
        ..spec.clone()
    };
    let of = |spec: &TaskSpec, run: RunId| open_run(&store, spec, run, 0, 1).unwrap_err();
    assert!(matches!(of(&other, run), TaskError::RunOfOtherTask { .. }));
    let absent = of(&spec, RunId(99));
    assert!(matches!(absent, TaskError::NoSuchRun { run: 99 }));
}

#[test]
fn each_run_of_a_list_has_its_own_sums() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    let mut wanted = Vec::new();
    for records in [3, 0, 5] {
        let (run, rows) = answer(&mut store, &spec, &labelled(records));
        let tokens: usize = rows.iter().map(|row| row.usage.prompt_tokens).sum();
        wanted.insert(0, (run, Some(tokens)));
        let other = TaskSpec {
            name: "other".to_owned(),
            ..spec.clone()
        };
        answer(&mut store, &other, &labelled(4));
    }
    let list = list_runs(&store, &spec, 10).unwrap();
    let found = list.runs.iter().map(|run| {
        let tokens = run.usage.map(|usage| usage.prompt_tokens);
        (run.info.id, tokens)
    });
    assert_eq!(found.collect::<Vec<_>>(), wanted);
    assert_eq!((wanted[1].1, list.runs[1].mean_confidence), (Some(0), None));
    // An opened run says the same of itself.
    for run in list.runs {
        let page = open_run(&store, &spec, run.info.id, 0, 1).unwrap();
        assert_eq!(page.run, run);
    }
}
