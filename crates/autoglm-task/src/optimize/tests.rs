use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use autoglm_spec::Calibration;
use serde_json::json;

use super::*;
use crate::eval::{Measure, labelled};
use crate::judge::agreement::Compare;
use crate::scripted::{Script, Scripted, record, review_task};
use crate::select::Pool;
use crate::store::SqliteStore;
use crate::strategy::{ExampleChoice, StrategyState};

/// Labelled reviews whose words tell the label.
pub(super) fn rows(count: usize) -> Vec<Labelled> {
    let row = |i: usize| {
        let (word, gold) = if i.is_multiple_of(2) {
            ("great", "positive")
        } else {
            ("awful", "negative")
        };
        record(&json!({"text": format!("a {word} film number {i}"), "label": gold}))
    };
    labelled(&review_task(), None, (0..count).map(row))
}

/// Understands a review where the prompt says in these words what the labels are.
fn understands(prompt: &str) -> Option<usize> {
    let understood = prompt.contains("one of: positive, negative");
    let review = prompt.rsplit("Review: ").next()?;
    understood.then(|| usize::from(review.contains("awful")))
}

pub(super) struct Desk {
    pub(super) spec: TaskSpec,
    pub(super) settings: RunSettings,
    pub(super) start: Strategy,
    pub(super) records: Vec<Labelled>,
    pub(super) budget: Budget,
    pub(super) engine: Scripted,
    /// Milliseconds.
    pub(super) clock: AtomicU64,
}

impl Desk {
    pub(super) fn new(script: Script, records: usize, calls: u64) -> Self {
        let settings = RunSettings::default();
        Self {
            spec: review_task(),
            start: Strategy::as_written(&settings),
            settings,
            records: rows(records),
            budget: Budget::Calls(calls),
            engine: Scripted::new(script),
            clock: AtomicU64::new(0),
        }
    }

    pub(super) fn search(&self) -> Search<'_> {
        Search {
            library: &[],
            spec: &self.spec,
            settings: &self.settings,
            start: &self.start,
            parent: None,
            engine: &self.engine,
            writer: None,
            records: self.records.clone(),
            budget: self.budget,
            seed: 1,
            scope: "scripted",
            origin: "test",
            similar: None,
            hold: None,
        }
    }

    pub(super) fn with_hooks<T>(&self, work: impl FnOnce(SearchHooks<'_>) -> T) -> T {
        let cancel = Cancel::default();
        work(SearchHooks {
            // Each look at the clock takes 10 ms.
            now: &|| {
                let before = self.clock.fetch_add(10, Ordering::Relaxed);
                UNIX_EPOCH + Duration::from_millis(before + 10)
            },
            cancel: &cancel,
            tokens: &|prompt| Some(prompt.display_text().len().div_ceil(4)),
            progress: &|_| {},
        })
    }

    pub(super) fn optimize(&self, store: &mut SqliteStore) -> Result<SearchReport, TaskError> {
        self.with_hooks(|hooks| optimize(&self.search(), store, hooks))
    }

    pub(super) fn estimate(&self) -> Estimate {
        self.with_hooks(|hooks| estimate(&self.search(), hooks))
            .unwrap()
    }
}

pub(super) fn store() -> SqliteStore {
    SqliteStore::in_memory().unwrap()
}

pub(super) fn keen() -> Script {
    Script {
        prefers: Some(understands),
        ..Script::default()
    }
}

#[test]
fn a_better_strategy_is_found_promoted_and_told() {
    let desk = Desk::new(keen(), 300, 1_500);
    let mut store = store();
    let report = desk.optimize(&mut store).unwrap();
    let found = report.found.clone().unwrap();
    assert_eq!(found.decision, Decision::Promoted, "{report}");
    let paired = found.scores.untouched.unwrap().worth;
    assert!(paired.second > 0.95 && paired.first < 0.7, "{report}");
    let key = StrategyKey::of(&desk.spec);
    let live = store.live_strategy(&key).unwrap().unwrap();
    assert_eq!((live.id, live.state), (found.version, StrategyState::Live));
    assert_eq!(live.calls, report.spent.calls);
    let text = report.to_string();
    for part in ["it is better, and live", "instruction:", "rung", "cost: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_search_from_a_bad_instruction_ends_above_it() {
    let mut desk = Desk::new(keen(), 300, 1_000);
    desk.spec.instruction = "Write a poem about the sea.".to_owned();
    let report = desk.optimize(&mut store()).unwrap();
    assert_eq!(report.found.unwrap().decision, Decision::Promoted);
}

#[test]
fn chance_is_not_promoted() {
    // Answers by hash: nothing is better than anything.
    for seed in 0..8 {
        let desk = Desk::new(Script::default(), 200, 600);
        let mut search = desk.search();
        search.seed = seed;
        let mut store = store();
        let report = desk
            .with_hooks(|hooks| optimize(&search, &mut store, hooks))
            .unwrap();
        let key = StrategyKey::of(&desk.spec);
        let live = store.live_strategy(&key).unwrap();
        if let Some(found) = &report.found {
            let better = found.scores.untouched.unwrap().is_better();
            assert_eq!(live.is_some(), better, "{report}");
            assert_eq!(better, found.decision == Decision::Promoted);
        } else {
            assert!(live.is_none());
        }
    }
}

#[test]
fn chance_is_seldom_promoted() {
    // Answers by hash: either rule lets at most one in twenty and one in forty pass.
    let is_promoted = |seed: &u64| {
        let desk = Desk::new(Script::default(), 120, 300);
        let search = Search {
            seed: *seed,
            ..desk.search()
        };
        let report = desk.with_hooks(|hooks| optimize(&search, &mut store(), hooks));
        let found = report.unwrap().found;
        found.is_some_and(|found| found.decision == Decision::Promoted)
    };
    let promoted = (0..60).filter(is_promoted).count();
    assert!(promoted <= 4, "{promoted} of 60");
}

#[test]
fn the_budget_is_never_exceeded() {
    for calls in [120, 150, 333, 700, 2_000] {
        let desk = Desk::new(keen(), 300, calls);
        let report = desk.optimize(&mut store()).unwrap();
        assert!(report.spent.calls <= calls, "{calls}: {report}");
        assert_eq!(desk.engine.requests() as u64, report.spent.calls);
    }
    let counting = Script {
        counts_tokens: true,
        ..keen()
    };
    for tokens in [20_000, 60_000] {
        let mut desk = Desk::new(counting.clone(), 300, 0);
        desk.budget = Budget::Tokens(tokens);
        let report = desk.optimize(&mut store()).unwrap();
        assert!(report.spent.tokens() <= tokens, "{report}");
        assert!(report.spent.tokens() * 2 > tokens, "{report}");
    }
    let mut desk = Desk::new(keen(), 300, 0);
    desk.budget = Budget::Time(Duration::from_secs(5));
    let report = desk.optimize(&mut store()).unwrap();
    assert!(report.spent.elapsed <= Duration::from_secs(5), "{report}");
    assert!(report.found.is_some());
}

#[test]
fn too_small_a_budget_and_too_few_records_are_refused() {
    let desk = Desk::new(keen(), 300, 20);
    let error = desk.optimize(&mut store()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the budget of 20 calls does not suffice"),
        "{error}"
    );
    let desk = Desk::new(keen(), 20, 500);
    let error = desk.optimize(&mut store()).unwrap_err();
    assert!(matches!(
        error,
        TaskError::TooFewRecords {
            found: 20,
            wanted: LEAST_RECORDS
        }
    ));
}

#[test]
fn few_records_make_a_candidate_at_most() {
    let desk = Desk::new(keen(), 36, 600);
    let mut store = store();
    let report = desk.optimize(&mut store).unwrap();
    let found = report.found.unwrap();
    assert_eq!(found.decision, Decision::TooFewRecords);
    let key = StrategyKey::of(&desk.spec);
    assert_eq!(store.live_strategy(&key).unwrap(), None);
    assert_eq!(
        store.strategy(found.version).unwrap().state,
        StrategyState::Candidate
    );
}

#[test]
fn a_killed_search_goes_on_without_repeating_a_call() {
    let whole = Desk::new(keen(), 200, 500);
    let wanted = whole.optimize(&mut store()).unwrap();
    let mut kept = store();
    let broken = Desk::new(
        Script {
            broken_after: Some(170),
            ..keen()
        },
        200,
        500,
    );
    let error = broken.optimize(&mut kept).unwrap_err();
    assert!(matches!(error, TaskError::Engine { .. }), "{error}");
    let again = Desk::new(keen(), 200, 500);
    let report = again.optimize(&mut kept).unwrap();
    assert_eq!(report.rungs, wanted.rungs);
    assert_eq!(
        report.found.unwrap().strategy,
        wanted.found.unwrap().strategy
    );
    assert_eq!(report.spent.calls, wanted.spent.calls);
    assert_eq!(report.spent.stored, 170);
    let (first, second) = (broken.engine.asked(), again.engine.asked());
    assert!(first.keys().all(|prompt| !second.contains_key(prompt)));
    assert_eq!(first.len() + second.len(), wanted.spent.calls as usize);
    // The same search once more asks nothing.
    let third = Desk::new(keen(), 200, 500);
    third.optimize(&mut kept).unwrap();
    assert_eq!(third.engine.requests(), 0);
}

#[test]
fn a_stopped_search_says_so_and_goes_on() {
    let stopped = Desk::new(
        Script {
            cancel_after: Some(100),
            ..keen()
        },
        200,
        500,
    );
    let mut kept = store();
    let report = stopped.optimize(&mut kept).unwrap();
    assert_eq!(report.ended, Ended::Interrupted);
    assert!(report.found.is_none());
    let again = Desk::new(keen(), 200, 500);
    let report = again.optimize(&mut kept).unwrap();
    assert_eq!((report.ended, report.spent.stored), (Ended::Finished, 100));
}

#[test]
fn parts_share_no_record_and_have_the_labels_in_their_proportions() {
    let mut records = rows(90);
    records.extend(rows(90));
    let split = Split::of(&review_task(), records, 5).unwrap();
    assert_eq!(split.sizes(), [30, 30, 30]);
    let mut texts: Vec<String> = [&split.propose, &split.select, &split.untouched]
        .into_iter()
        .flatten()
        .map(|l| l.record["text"].to_string())
        .collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 90);
    for part in [&split.propose, &split.select, &split.untouched] {
        let positive = part.iter().filter(|l| l.gold == "positive").count();
        assert!((13..=17).contains(&positive), "{positive}");
        let first = part[..10].iter().filter(|l| l.gold == "positive").count();
        assert!((3..=7).contains(&first), "{first}");
    }
}

#[test]
fn rules_and_labels_survive_every_strategy_that_is_tried() {
    let mut desk = Desk::new(keen(), 200, 800);
    desk.spec.constraints = vec!["Sarcasm counts as negative.".to_owned()];
    desk.optimize(&mut store()).unwrap();
    for prompt in desk.engine.asked().keys() {
        assert!(prompt.contains("Sarcasm counts as negative."), "{prompt}");
        let heading = prompt.split("Review: ").next().unwrap();
        for label in ["positive", "negative"] {
            assert!(heading.contains(label), "{prompt}");
        }
    }
}

#[test]
fn a_writer_s_instructions_enter_the_race() {
    let mut desk = Desk::new(keen(), 200, 800);
    desk.start.instruction = Some("Judge it.".to_owned());
    let writer = Scripted::new(Script {
        chat: true,
        text: Some("<instruction>Say whether it is one of: positive, negative.</instruction>"),
        ..Script::default()
    });
    let mut search = desk.search();
    search.writer = Some(Writer {
        engine: &writer,
        scope: "writer",
    });
    let report = desk
        .with_hooks(|hooks| optimize(&search, &mut store(), hooks))
        .unwrap();
    assert!(writer.requests() >= 4);
    // It is told what was answered wrongly by the start, and with which words.
    let own = |prompt: &String| prompt.contains("model:\n\nJudge it.");
    assert!(writer.asked().keys().all(own));
    let written = |prompt: &String| prompt.starts_with("Say whether it is one of");
    assert!(desk.engine.asked().keys().any(written));
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[test]
fn open_answers_are_searched_too() {
    let mut desk = Desk::new(
        Script {
            text: Some("positive"),
            ..Script::default()
        },
        90,
        300,
    );
    desk.spec.output = autoglm_spec::Output::Text { max_tokens: 4 };
    desk.start.calibration = Calibration::None;
    let report = desk.optimize(&mut store()).unwrap();
    assert_eq!(report.measure, Measure::Same(Compare::Words));
    // All say the same, so that nothing beats the start.
    assert!(report.found.is_none(), "{report}");
}

#[test]
fn the_start_s_examples_are_in_no_part() {
    let mut desk = Desk::new(keen(), 60, 300);
    let first = desk.records[0].clone();
    desk.spec.examples = vec![autoglm_spec::Example {
        input: first.record.clone(),
        output: first.gold.clone(),
    }];
    let parts = |desk: &Desk| desk.estimate().parts.iter().sum::<usize>();
    assert_eq!(parts(&desk), 59);
    let fixed = desk.records[1..4]
        .iter()
        .map(|labelled| autoglm_spec::Example {
            input: labelled.record.clone(),
            output: labelled.gold.clone(),
        });
    desk.start.examples = ExampleChoice::Fixed(fixed.collect());
    assert_eq!(parts(&desk), 56);
    desk.spec.examples.clear();
    assert_eq!(parts(&desk), 57);
}

#[test]
fn a_strategy_s_examples_hold_the_fields_of_the_task_alone() {
    let desk = Desk::new(keen(), 300, 1_000);
    let found = desk.optimize(&mut store()).unwrap().found.unwrap();
    let ExampleChoice::Fixed(examples) = found.strategy.examples else {
        panic!("the winner has examples of its own");
    };
    assert!(!examples.is_empty());
    for example in examples {
        assert!(example.input.keys().eq(["text"]), "{example:?}");
    }
}

#[test]
fn a_winner_that_is_held_stays_a_candidate_and_the_report_says_why() {
    let desk = Desk::new(keen(), 300, 1_500);
    let mut store = store();
    let mut search = desk.search();
    search.hold = Some("runs answer with more");
    let report = desk
        .with_hooks(|hooks| optimize(&search, &mut store, hooks))
        .unwrap();
    let found = report.found.clone().unwrap();
    assert_eq!(found.decision, Decision::Held, "{report}");
    let key = StrategyKey::of(&desk.spec);
    assert_eq!(store.live_strategy(&key).unwrap(), None);
    let text = report.to_string();
    let promote = format!("strategy promote {}", found.version.0);
    for part in ["note: runs answer with more", "candidate", &promote] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Knows an open answer where an example before it shows it.
fn looks_up(prompt: &str) -> Option<String> {
    let asked = prompt.rsplit("Review: ").next()?;
    let key = asked.split_whitespace().next()?.to_owned();
    let shown = prompt.split("Review: ").find(|part| {
        part.split_whitespace().next() == Some(key.as_str()) && !std::ptr::eq(*part, asked)
    })?;
    let answer = shown.rsplit("Answer: ").next()?;
    Some(answer.split_whitespace().next()?.to_owned())
}

#[test]
fn examples_chosen_for_each_record_win_where_the_nearest_tells_the_answer() {
    let mut desk = Desk::new(
        Script {
            says: Some(looks_up),
            ..Script::default()
        },
        0,
        3_000,
    );
    desk.spec = crate::select::tests::question_task();
    desk.spec.fields[0].title = "Review".to_owned();
    let row = |i: usize| {
        let key = i / 6;
        record(&json!({"text": format!("key{key} word{i}"), "answer": format!("v{key}")}))
    };
    desk.records = labelled(&desk.spec, None, (0..240).map(row));
    let mut store = store();
    let report = desk.optimize(&mut store).unwrap();
    let found = report.found.clone().unwrap();
    let selection = found.strategy.selection.clone().unwrap();
    assert_eq!(found.decision, Decision::Promoted, "{report}");
    assert!(
        found.scores.untouched.unwrap().worth.second > 0.8,
        "{report}"
    );
    // The version brings along what it chooses from, and says so.
    match selection.pool {
        Pool::Fixed(pool) => assert_eq!(pool.len(), report.parts[0]),
        Pool::Library => panic!("{selection:?}"),
    }
    assert!(
        report.to_string().contains("nearest by words of 80"),
        "{report}"
    );
}

/// A search that starts from the task as it is written, while another version is live.
fn beside_a_live_one(made_for: &str, model: &str) -> SearchReport {
    let desk = Desk::new(keen(), 300, 1_500);
    let mut store = store();
    let key = StrategyKey::of(&desk.spec);
    let live = Strategy {
        answer_title: Some("Opinion".to_owned()),
        ..desk.start.clone()
    };
    let version = NewStrategy {
        key: key.clone(),
        parent: None,
        strategy: live,
        changes: Vec::new(),
        scores: None,
        calls: 0,
        usage: autoglm_spec::Usage::default(),
        origin: "test".to_owned(),
        model: model.to_owned(),
        made_for: made_for.to_owned(),
    };
    let id = store.add_strategy(&version, UNIX_EPOCH).unwrap();
    store.promote(&key, Some(id), UNIX_EPOCH).unwrap();
    let report = desk.optimize(&mut store).unwrap();
    let found = report.found.as_ref().unwrap();
    let after = store.live_strategy(&key).unwrap().unwrap();
    let is_live = found.decision == Decision::Promoted;
    assert_eq!(after.id, if is_live { found.version } else { id });
    report
}

#[test]
fn a_live_version_that_the_winner_was_not_compared_with_stays_live() {
    let instruction = crate::scripted::review_task().instruction;
    for model in ["scripted", "another model"] {
        let report = beside_a_live_one(&instruction, model);
        let found = report.found.clone().unwrap();
        assert_eq!(found.decision, Decision::NotCompared, "{report}");
        assert!(report.to_string().contains("--compare 1 2"), "{report}");
    }
    // What was made for another instruction does not run, and is no rival.
    let report = beside_a_live_one("Another instruction.", "scripted");
    assert_eq!(report.found.unwrap().decision, Decision::Promoted);
}
