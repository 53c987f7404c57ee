use std::time::UNIX_EPOCH;

use autoglm_spec::{Cancel, Usage};
use serde_json::json;

use super::tests::{Bench, again};
use super::*;
use crate::scripted::{Script, Scripted, record};
use crate::store::SqliteStore;
use crate::strategy::{
    Branch, NewStrategy, Route, RouteLesson, Strategy, StrategyId, StrategyKey, StrategyStore,
};

/// Understands films where the prompt asks about films, and books where it asks about books; of the
/// other it says the contrary.
fn specialist(prompt: &str) -> Option<usize> {
    let text = prompt.rsplit("Review: ").next()?;
    let is_bad = usize::from(text.contains("awful"));
    let of_films = text.contains("film");
    let asks_films = prompt.contains("Judge the film.");
    Some(if of_films == asks_films {
        is_bad
    } else {
        1 - is_bad
    })
}

fn branch(number: i64, instruction: &str) -> Branch {
    Branch {
        version: Some(StrategyId(number)),
        strategy: Strategy {
            instruction: Some(instruction.to_owned()),
            ..Strategy::as_written(&RunSettings::default())
        },
        prior: Prior::none(),
    }
}

/// A route that has been taught that the first branch knows films and the second books.
fn routed() -> Strategy {
    let lesson = |i: usize| {
        let (text, _) = TEXTS[i % 4];
        let merits = if text.contains("film") {
            vec![0.95, 0.05]
        } else {
            vec![0.05, 0.95]
        };
        RouteLesson {
            input: record(&json!({ "text": text })),
            merits,
        }
    };
    let route = Route {
        branches: vec![branch(1, "Judge the film."), branch(2, "Judge the book.")],
        lessons: (0..400).map(lesson).collect(),
    };
    Strategy {
        route: Some(Box::new(route)),
        ..Strategy::as_written(&RunSettings::default())
    }
}

const TEXTS: [(&str, &str); 5] = [
    ("a great film", "positive"),
    ("an awful book", "negative"),
    ("an awful film", "negative"),
    ("a great book", "positive"),
    ("nothing known of it", "positive"),
];

fn bench() -> Bench {
    let mut bench = Bench::new(0);
    let lines = TEXTS.map(|(text, _)| json!({ "text": text }).to_string());
    bench.input = lines.join("\n");
    (bench.spec, bench.settings) = routed().apply(&bench.spec, &bench.settings);
    bench
}

fn engine() -> Scripted {
    Scripted::new(Script {
        prefers: Some(specialist),
        ..Script::default()
    })
}

/// A store that knows the route.
fn store() -> SqliteStore {
    let mut store = SqliteStore::in_memory().unwrap();
    let version = NewStrategy {
        key: StrategyKey::of(&bench().spec),
        parent: None,
        strategy: routed(),
        changes: Vec::new(),
        scores: None,
        calls: 0,
        usage: Usage::default(),
        origin: "test".to_owned(),
        model: String::new(),
        made_for: String::new(),
    };
    store.add_strategy(&version, UNIX_EPOCH).unwrap();
    store
}

#[test]
fn records_go_to_the_strategy_that_knows_them_and_to_all_where_nobody_is_sure() {
    let (engine, mut store) = (engine(), store());
    let (_, report) = bench().run(&engine, &mut store);
    let rows = store.rows(report.unwrap().run, 0, 9).unwrap();
    for (row, (_, answer)) in rows.iter().zip(TEXTS).take(4) {
        assert_eq!(row.verdict.as_ref().unwrap().answer, answer, "{row:?}");
    }
    let only = |row: &Row| row.route.as_ref().unwrap().only;
    let ways: Vec<Option<usize>> = rows.iter().map(only).collect();
    assert_eq!(ways, [Some(0), Some(1), Some(0), Some(1), None]);
    // One request for each of the sure ones, and one a branch for the other.
    assert_eq!(engine.requests(), 4 + 2);
    let soft = rows[4].route.as_ref().unwrap();
    let names: Vec<&str> = soft.branches.iter().map(|b| b.0.as_str()).collect();
    assert_eq!(names, ["strategy 1", "strategy 2"]);
    assert!((soft.branches[0].1 + soft.branches[1].1 - 1.0).abs() < 1e-6);
    assert_eq!(rows[4].usage.prompt_tokens, 2 * rows[0].usage.prompt_tokens);
    // Both are sure of the contrary of each other, so that their probabilities decide.
    let confidence = rows[4].verdict.as_ref().unwrap().confidence;
    let likelier = soft.branches[0].1.max(soft.branches[1].1);
    assert!(
        (confidence - likelier).abs() < 0.15,
        "{confidence} {soft:?}"
    );
}

#[test]
fn a_record_of_a_route_is_shown_with_its_prompt_and_answered_again_alike() {
    let (engine, mut store) = (engine(), store());
    let (_, report) = bench().run(&engine, &mut store);
    let run = report.unwrap().run;
    for (index, asks) in [(0, "Judge the film."), (1, "Judge the book.")] {
        let shown = show(&store, run, index).unwrap();
        assert!(shown.same_prompt, "{shown:?}");
        assert!(shown.prompt.unwrap().display_text().contains(asks));
    }
    for index in 0..5 {
        let replayed = replay(&store, run, index, &again(&engine), &Cancel::default()).unwrap();
        assert!(
            replayed.same_verdict && replayed.shown.same_prompt,
            "{replayed:?}"
        );
    }
}

#[test]
fn a_run_without_the_route_is_another_run_and_asks_the_task_as_it_is_written() {
    let (engine, mut store) = (engine(), store());
    let mut bench = bench();
    let (_, first) = bench.run(&engine, &mut store);
    bench.settings = RunSettings::default();
    bench.resume = Resume::Run(first.unwrap().run);
    let (_, mixed) = bench.run(&engine, &mut store);
    assert!(matches!(
        mixed.unwrap_err(),
        TaskError::ResumeMismatch {
            what: "calibration",
            ..
        }
    ));
    bench.resume = Resume::No;
    let (_, plain) = bench.run(&engine, &mut store);
    let rows = store.rows(plain.unwrap().run, 0, 9).unwrap();
    assert!(rows.iter().all(|row| row.route.is_none()));
}

#[test]
fn an_interrupted_routed_run_ends_with_the_same_rows() {
    let (mut bench, mut whole, mut parts) = (bench(), store(), store());
    let lines: Vec<String> = bench.input.lines().map(str::to_owned).collect();
    bench.input = (0..40)
        .flat_map(|_| lines.clone())
        .collect::<Vec<_>>()
        .join("\n");
    let (expected, _) = bench.run(&engine(), &mut whole);
    let broken = Scripted::new(Script {
        prefers: Some(specialist),
        broken_after: Some(100),
        ..Script::default()
    });
    let (_, failed) = bench.run(&broken, &mut parts);
    assert!(failed.is_err());
    bench.resume = Resume::Matching;
    let (output, report) = bench.run(&engine(), &mut parts);
    assert!(report.unwrap().resumed > 0);
    assert_eq!(output, expected);
}
