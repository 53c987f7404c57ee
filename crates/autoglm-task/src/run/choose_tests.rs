//! Runs whose records have examples of their own.

use std::sync::Arc;

use autoglm_spec::{Cancel, Prompt};
use serde_json::json;

use super::tests::Bench;
use super::*;
use crate::scripted::{Script, Scripted};
use crate::select::tests::{by, example, question_task};
use crate::select::{Nearness, Selection, Selector};
use crate::store::SqliteStore;

/// Takes rows and keeps none.
struct Nowhere;

impl RowSink for Nowhere {
    fn start(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn write_rows(&mut self, _: &[Row]) -> std::io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn bench() -> Bench {
    let lines = ["what is 2 plus 3", "who wrote Faust", "what is 7 plus 1"];
    let input = lines.map(|text| json!({ "text": text }).to_string() + "\n");
    Bench {
        spec: question_task(),
        input: input.concat(),
        ..Bench::new(0)
    }
}

fn library() -> Vec<autoglm_spec::Example> {
    vec![
        example("what is 2 plus 2", "4"),
        example("who wrote Hamlet", "Shakespeare"),
        example("what is 7 plus 1", "8"),
    ]
}

fn run_with(
    bench: &Bench,
    engine: &Scripted,
    selection: Selection,
    tokens: &dyn Fn(&Prompt) -> Option<usize>,
    store: &mut SqliteStore,
) -> Result<RunReport, TaskError> {
    let selector = Selector::new(&bench.spec, &selection, &library());
    let mut job = bench.job(engine)?;
    job.settings.selection = Some(selection);
    job.choosing = Some(Choosing {
        selector: Arc::new(selector),
        embedder: None,
        tokens: Some(tokens),
    });
    bench.run_job(&job, store, &mut Nowhere, &Cancel::default())
}

fn outputs(row: &Row) -> Vec<&str> {
    let examples = row.examples.iter();
    examples.map(|c| c.example.output.as_str()).collect()
}

#[test]
fn each_record_has_its_nearest_examples_and_the_row_says_which() {
    let (bench, engine) = (bench(), Scripted::new(Script::default()));
    let mut store = SqliteStore::in_memory().unwrap();
    let report = run_with(
        &bench,
        &engine,
        by(Nearness::Words, 1),
        &|_| None,
        &mut store,
    )
    .unwrap();
    let rows = store.rows(report.run, 0, 10).unwrap();
    let shown: Vec<Vec<&str>> = rows.iter().map(outputs).collect();
    // The last record stands in the library itself, and is not shown its own answer.
    assert_eq!(shown, [["4"], ["Shakespeare"], ["4"]]);
    assert!(rows[0].examples[0].score > 0.0);
    assert!(engine.asked().keys().all(|prompt| !prompt.contains('8')));
}

#[test]
fn a_stored_record_is_answered_again_with_its_own_examples() {
    let (bench, engine) = (bench(), Scripted::new(Script::default()));
    let mut store = SqliteStore::in_memory().unwrap();
    let selection = by(Nearness::Words, 2);
    let report = run_with(&bench, &engine, selection, &|_| None, &mut store).unwrap();
    let shown = show(&store, report.run, 1).unwrap();
    assert!(shown.same_prompt);
    let again = Again {
        engine: &engine,
        similar: None,
        embedder: None,
    };
    let replayed = replay(&store, report.run, 1, &again, &Cancel::default()).unwrap();
    assert!(replayed.same_verdict && replayed.shown.same_prompt);
}

#[test]
fn the_least_near_examples_are_dropped_until_the_prompt_has_room() {
    let (bench, engine) = (bench(), Scripted::new(Script::default()));
    let count = |selection: Selection, tokens: &dyn Fn(&Prompt) -> Option<usize>| {
        let mut store = SqliteStore::in_memory().unwrap();
        let report = run_with(&bench, &engine, selection, tokens, &mut store).unwrap();
        let row = store.rows(report.run, 0, 1).unwrap().remove(0);
        outputs(&row)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let words = |prompt: &Prompt| Some(prompt.display_text().split_whitespace().count());
    let at_most = |tokens| Selection {
        tokens: Some(tokens),
        ..by(Nearness::Words, 3)
    };
    let all = count(at_most(500), &words);
    assert_eq!(all.len(), 3);
    let mut lengths = Vec::new();
    for most in 0..100 {
        let kept = count(at_most(most), &words);
        // The nearest stays the longest.
        assert_eq!(kept, all[3 - kept.len()..]);
        lengths.push(kept.len());
    }
    assert!(lengths.is_sorted());
    lengths.dedup();
    assert_eq!(lengths, [0, 1, 2, 3]);
    // Bytes are more than tokens: less fits where the engine does not count.
    assert_eq!(count(at_most(100), &words).len(), 3);
    assert!(count(at_most(100), &|_| None).len() < 3);
}

#[test]
fn a_run_does_not_go_on_with_another_choice_of_examples() {
    let mut bench = bench();
    let engine = Scripted::new(Script::default());
    let mut store = SqliteStore::in_memory().unwrap();
    let mut run = |bench: &Bench, count: usize| {
        let selection = by(Nearness::Words, count);
        run_with(bench, &engine, selection, &|_| None, &mut store)
    };
    run(&bench, 1).unwrap();
    bench.resume = Resume::Matching;
    assert_eq!(run(&bench, 1).unwrap().resumed, 3);
    match run(&bench, 2) {
        Err(TaskError::ResumeMismatch { what, .. }) => assert_eq!(what, "choice of examples"),
        other => panic!("{other:?}"),
    }
}
