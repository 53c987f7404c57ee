//! Facts gathered from a store that runs of the scripted engine have filled, and the page as a
//! browser reads it.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autoglm_spec::{Cancel, Label, Language, Output, TaskSpec, Usage};
use scraper::{ElementRef, Html, Selector};
use serde_json::{Value, json};

use super::*;
use crate::TaskError;
use crate::eval::{Evaluation, data_hash};
use crate::judge::agreement::SamplingPlan;
use crate::records::{InputFormat, Records, RowSink};
use crate::row::Row;
use crate::run::{Hooks, Job, Resume, RunSettings, run};
use crate::scripted::{Script, Scripted, record, review_task};
use crate::store::{
    EvaluationStore, FeedbackStore, Judgement, NewEvaluation, NewFeedback, RunId, SqliteStore,
};
use crate::strategy::{NewStrategy, Strategy, StrategyId, StrategyKey, StrategyStore};

pub(super) fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

#[derive(Default)]
struct Kept(Vec<Row>);

impl RowSink for Kept {
    fn start(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn write_rows(&mut self, rows: &[Row]) -> io::Result<()> {
        self.0.extend_from_slice(rows);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a task over records; the model prefers the second label for texts with `bad`, and longer
/// texts cost more.
pub(super) fn answer(
    store: &mut SqliteStore,
    spec: &TaskSpec,
    records: &[Value],
) -> (RunId, Vec<Row>) {
    answer_with(store, spec, records, RunSettings::default())
}

pub(super) fn answer_with(
    store: &mut SqliteStore,
    spec: &TaskSpec,
    records: &[Value],
    settings: RunSettings,
) -> (RunId, Vec<Row>) {
    let engine = Scripted::new(Script {
        counts_tokens: true,
        prefers: Some(|prompt| {
            let record = prompt.rsplit("\n\n").next()?;
            Some(usize::from(record.contains("bad")))
        }),
        ..Script::default()
    });
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let input = lines.join("\n");
    let mut items = Records::new(input.as_bytes(), InputFormat::Jsonl, "text");
    let job = Job {
        spec,
        choosing: None,
        engine: &engine,
        taught: None,
        settings,
        similar: None,
        source: "/data/labelled.jsonl".to_owned(),
        survey: None,
        output: "-".to_owned(),
        resume: Resume::No,
        correction: None,
    };
    let hooks = Hooks {
        now: &|| at(60),
        cancel: &Cancel::default(),
        progress: &|_| {},
        step: &|_| {},
    };
    let mut kept = Kept::default();
    let ended = run(&job, &mut items, store, &mut kept, hooks).unwrap();
    (ended.run, kept.0)
}

pub(super) fn evaluate(
    store: &mut SqliteStore,
    spec: &TaskSpec,
    records: &[Value],
    strategy: Option<StrategyId>,
) -> RunId {
    let (run, rows) = answer(store, spec, records);
    let evaluation = Evaluation {
        spec,
        model: "scripted",
        gold_field: None,
        plan: SamplingPlan::default(),
        compare: None,
        similar: None,
        elapsed: Duration::from_secs(2),
    };
    let kept = NewEvaluation {
        run,
        strategy,
        gold_field: None,
        data_hash: data_hash(None, &rows),
        report: &evaluation.of(&rows).unwrap(),
    };
    store.put_evaluation(&kept, at(100)).unwrap();
    run
}

pub(super) fn labelled(count: usize) -> Vec<Value> {
    let one = |n: usize| {
        let (word, label) = if n.is_multiple_of(2) {
            ("good", "positive")
        } else {
            ("bad", "negative")
        };
        json!({"text": format!("{word} {}", "long ".repeat(n)), "label": label})
    };
    (0..count).map(one).collect()
}

fn gather(store: &SqliteStore, spec: &TaskSpec) -> TaskReport {
    let wanted = Wanted {
        spec,
        run: None,
        now: at(200),
    };
    collect(store, &wanted).unwrap()
}

pub(super) fn add_strategy(store: &mut SqliteStore, spec: &TaskSpec) -> StrategyId {
    let key = StrategyKey::of(spec);
    let strategy = NewStrategy {
        key: key.clone(),
        parent: None,
        strategy: Strategy {
            instruction: Some("Say it.".to_owned()),
            ..Strategy::as_written(&RunSettings::default())
        },
        changes: vec!["instruction: \"Say it.\"".to_owned()],
        scores: None,
        calls: 3,
        usage: Usage::default(),
        origin: "by hand".to_owned(),
        model: "scripted".to_owned(),
        made_for: spec.instruction.clone(),
    };
    let id = store.add_strategy(&strategy, at(90)).unwrap();
    store.promote(&key, Some(id), at(91)).unwrap();
    id
}

fn give_feedback(store: &mut SqliteStore, spec: &TaskSpec, rows: usize) {
    let row = |n: usize| NewFeedback {
        record: None,
        input: record(&json!({"text": format!("word {n}")})),
        opinion: Some(vec![
            ("positive".to_owned(), 0.9),
            ("negative".to_owned(), 0.1),
        ]),
        given: Some("positive".to_owned()),
        judgement: Judgement::Correct("negative".to_owned()),
        note: None,
        pinned: false,
    };
    let rows: Vec<NewFeedback> = (0..rows).map(row).collect();
    store.put_feedback(&spec.name, &rows, at(120)).unwrap();
}

#[test]
fn evaluations_of_the_same_records_stand_together_and_the_latest_is_the_newest() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    let first = evaluate(&mut store, &spec, &labelled(20), None);
    let other = evaluate(&mut store, &spec, &labelled(7), None);
    let strategy = add_strategy(&mut store, &spec);
    let last = evaluate(&mut store, &spec, &labelled(20), Some(strategy));
    evaluate(
        &mut store,
        &TaskSpec {
            name: "other".to_owned(),
            ..review_task()
        },
        &labelled(3),
        None,
    );

    let report = gather(&store, &spec);
    let runs = |group: &DataGroup| -> Vec<RunId> { group.versions.iter().map(|v| v.run).collect() };
    let rows: Vec<_> = report
        .groups
        .iter()
        .map(|group| (group.rows, runs(group)))
        .collect();
    assert_eq!(rows, [(20, vec![first, last]), (7, vec![other])]);
    let newest = report.newest.unwrap();
    assert_eq!(
        (newest.run, newest.strategy, newest.at_ms),
        (last, Some(strategy), 100_000)
    );
    let score = &report.groups[0].versions[1];
    assert_eq!((score.accuracy, score.strategy), (1.0, Some(strategy)));
    assert!(score.interval[0] < 1.0 && score.interval[1] == 1.0);
    let live = report.live.clone().unwrap();
    assert_eq!((live.id, live.is_stale), (strategy, false));
    assert_eq!(report.strategies[0].changes, ["instruction: \"Say it.\""]);
    let edited = TaskSpec {
        instruction: "Another one.".to_owned(),
        ..spec.clone()
    };
    assert!(gather(&store, &edited).live.unwrap().is_stale);
    let mut relabelled = spec.clone();
    relabelled.output = Output::Text { max_tokens: 4 };
    let report_of_other_labels = gather(&store, &relabelled);
    assert_eq!(report_of_other_labels.live, None);
    assert_eq!(report_of_other_labels.strategies, []);
    assert_eq!(report.task.labels, ["positive", "negative"]);
}

#[test]
fn records_are_ordered_by_what_they_cost_and_by_how_sure_they_are() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    let mut records = labelled(80);
    records.push(json!({"id": 1}));
    let (run, rows) = answer(&mut store, &spec, &records);
    let report = gather(&store, &spec);
    let places: Vec<u64> = report.costliest.iter().map(|r| r.index).collect();
    // The longer the text the later the record; the last has no text at all.
    assert_eq!(places, (30..80).rev().collect::<Vec<u64>>());
    let confidences: Vec<f32> = report
        .least_sure
        .iter()
        .filter_map(|r| r.confidence)
        .collect();
    assert_eq!(confidences.len(), 50);
    assert!(confidences.is_sorted());
    let least = rows
        .iter()
        .filter_map(|row| row.verdict.as_ref())
        .map(|v| v.confidence);
    assert_eq!(confidences[0], least.reduce(f32::min).unwrap());
    let shown = report.run.unwrap();
    assert_eq!((shown.id, shown.records, shown.errors), (run, 81, 1));
    let tokens: usize = rows.iter().map(|row| row.usage.prompt_tokens).sum();
    assert_eq!(shown.usage.prompt_tokens, tokens);
    let costliest = &report.costliest[0];
    assert_eq!(
        (costliest.gold.as_deref(), costliest.is_right),
        (Some("negative"), Some(true))
    );
    let (title, text) = &costliest.input[0];
    assert_eq!(
        (title.as_str(), text.chars().count(), text.chars().last()),
        ("Review", 301, Some('…'))
    );
}

#[test]
fn a_run_is_shown_where_it_is_asked_for_and_another_tasks_is_refused() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    let (first, _) = answer(&mut store, &spec, &labelled(3));
    let other = TaskSpec {
        name: "other".to_owned(),
        ..review_task()
    };
    let (foreign, _) = answer(&mut store, &other, &labelled(3));
    let (latest, _) = answer(&mut store, &spec, &labelled(2));
    assert_eq!(gather(&store, &spec).run.unwrap().id, latest);
    let of = |run: RunId| {
        let wanted = Wanted {
            spec: &spec,
            run: Some(run),
            now: at(0),
        };
        collect(&store, &wanted)
    };
    assert_eq!(of(first).unwrap().run.unwrap().id, first);
    assert!(matches!(of(foreign), Err(TaskError::RunOfOtherTask { .. })));
    assert!(matches!(
        of(RunId(99)),
        Err(TaskError::NoSuchRun { run: 99 })
    ));
}

#[test]
fn a_long_learning_curve_keeps_its_sums() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    give_feedback(&mut store, &spec, 1_234);
    let curve = gather(&store, &spec).learning.unwrap().curve;
    assert!(curve.len() <= 50);
    assert_eq!(curve.iter().map(|s| s.rows).sum::<u64>(), 1_234);
    assert_eq!(curve.iter().map(|s| s.right_before).sum::<u64>(), 0);
    assert!(curve.iter().map(|s| s.right).sum::<u64>() > 1_000);
}

/// The page as a browser reads it; nothing may be wrong with it, and nothing may be loaded.
fn read(html: &str) -> Html {
    let page = Html::parse_document(html);
    assert_eq!(page.errors, Vec::<std::borrow::Cow<'_, str>>::new());
    let mut ids = BTreeSet::new();
    for element in all(&page, "*") {
        let value = element.value();
        assert!(!["script", "img", "iframe", "object", "link", "base"].contains(&value.name()));
        for (name, value) in value.attrs() {
            assert!(!name.starts_with("on") && name != "src", "{name}={value}");
            assert!(name != "href" || value.starts_with('#'), "{value}");
        }
        if let Some(id) = value.id() {
            assert!(ids.insert(id.to_owned()), "{id} twice");
        }
    }
    for element in all(&page, "[aria-labelledby]") {
        let names = element.attr("aria-labelledby").unwrap().split(' ');
        assert!(
            names.clone().all(|name| ids.contains(name)),
            "{:?}",
            element.value()
        );
    }
    for link in all(&page, "a") {
        assert!(ids.contains(&link.attr("href").unwrap()[1..]));
    }
    page
}

#[test]
#[should_panic(expected = "Unexpected")]
fn what_is_wrong_with_a_page_is_noticed() {
    read("<!DOCTYPE html><title>t</title><p>a</div>");
}

fn all<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(page: &Html, selector: &str) -> String {
    let found = all(page, selector);
    found.iter().flat_map(ElementRef::text).collect()
}

#[test]
fn an_empty_store_tells_what_would_fill_each_section() {
    let (store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    let page = read(&page(&gather(&store, &spec), "reviews & more.toml"));
    let commands = text(&page, "pre code");
    for command in ["eval", "optimize", "feedback", "run"] {
        let wanted = format!("autoglm {command} 'reviews & more.toml' ");
        assert!(commands.contains(&wanted), "{wanted} in {commands}");
    }
    assert!(all(&page, "svg").is_empty());
}

#[test]
fn every_section_shows_what_the_store_holds() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    let first = evaluate(&mut store, &spec, &labelled(40), None);
    let strategy = add_strategy(&mut store, &spec);
    evaluate(&mut store, &spec, &labelled(40), Some(strategy));
    give_feedback(&mut store, &spec, 25);
    let wanted = Wanted {
        spec: &spec,
        run: Some(first),
        now: at(200),
    };
    let page = read(&page(&collect(&store, &wanted).unwrap(), "task.toml"));
    assert_eq!(all(&page, "svg[role=img] > title").len(), 4);
    assert_eq!(all(&page, "#versions figure circle").len(), 2);
    assert!(text(&page, "#overview .value").starts_with("1.000"));
    let versions = text(&page, "#versions tbody th");
    assert!(
        versions.contains("as written") && versions.contains("strategy 1"),
        "{versions}"
    );
    assert_eq!(all(&page, ".confusion tbody td.right").len(), 2);
    let answers: u64 = all(&page, "#confidence figure:first-child tbody td:last-child")
        .iter()
        .map(|cell| cell.text().collect::<String>().parse::<u64>().unwrap())
        .sum();
    assert_eq!(answers, 40);
    assert_eq!(all(&page, "#learning tbody tr").len(), 3);
    assert_eq!(all(&page, "#least-sure ol.records > li").len(), 40);
    let commands = text(&page, "#least-sure pre code");
    let shows = format!("autoglm runs show {} --record 7\n", first.0);
    let corrects = format!(
        "autoglm feedback task.toml --run {} --record 7 --correct LABEL",
        first.0
    );
    assert!(commands.contains(&shows) && commands.contains(&corrects));
}

#[test]
fn texts_of_records_stay_texts() {
    let hostile = "</p><script>alert(1)</script><img src=x onerror=\"alert('2')\">]]>&amp;--><!--\0\u{7}\u{fffe}\u{202e}";
    let label = |name: &str| Label {
        name: name.to_owned(),
        word: name.to_owned(),
    };
    let spec = TaskSpec {
        name: format!("n {hostile}"),
        instruction: hostile.to_owned(),
        output: Output::Labels {
            labels: vec![label(hostile), label("\"><style>*{}</style>")],
        },
        ..review_task()
    };
    let mut store = SqliteStore::in_memory().unwrap();
    let records = [
        json!({"text": hostile, "label": hostile}),
        json!({"text": "bad", "label": hostile}),
    ];
    evaluate(&mut store, &spec, &records, None);
    let html = page(&gather(&store, &spec), hostile);
    let read = read(&html);
    let shown = hostile.replace(['\0', '\u{7}', '\u{fffe}'], "\u{fffd}");
    assert_eq!(text(&read, "#overview .instruction"), shown);
    assert!(text(&read, "#costliest .text").contains(&shown));
    assert!(text(&read, ".confusion thead").contains(&shown));
    assert_eq!(all(&read, "style").len(), 1);
}

#[test]
fn chinese_is_marked_as_chinese_and_one_record_is_enough() {
    let label = |name: &str| Label {
        name: name.to_owned(),
        word: name.to_owned(),
    };
    let spec = TaskSpec {
        name: "评论".to_owned(),
        language: Language::Chinese,
        output: Output::Labels {
            labels: vec![label("正面"), label("负面")],
        },
        ..review_task()
    };
    let mut store = SqliteStore::in_memory().unwrap();
    evaluate(
        &mut store,
        &spec,
        &[json!({"text": "质量很好", "label": "正面"})],
        None,
    );
    let read = read(&page(&gather(&store, &spec), "评论.toml"));
    assert_eq!(text(&read, "title").split(' ').next(), Some("评论"));
    assert_eq!(text(&read, "#least-sure .text[lang=zh]"), "质量很好");
    assert_eq!(text(&read, ".labels[lang=zh] bdi"), "正面负面");
    assert!(text(&read, "#least-sure pre").contains("autoglm feedback 评论.toml --run 1 "));
}

#[test]
fn open_answers_have_no_confusions_and_no_feedback() {
    let spec = TaskSpec {
        output: Output::Text { max_tokens: 9 },
        ..review_task()
    };
    let mut store = SqliteStore::in_memory().unwrap();
    evaluate(
        &mut store,
        &spec,
        &[
            json!({"text": "x", "label": "y"}),
            json!({"text": "z", "label": "y"}),
        ],
        None,
    );
    let report = gather(&store, &spec);
    assert_eq!(
        (report.groups[0].majority.as_ref(), report.learning.as_ref()),
        (None, None)
    );
    let read = read(&page(&report, "task.toml"));
    assert!(text(&read, "#confusion").contains("Open answers have no labels"));
    assert!(!text(&read, "#least-sure").contains("autoglm feedback"));
}

#[test]
fn a_page_is_bounded_however_much_there_is() {
    let many: Vec<Label> = (0..500)
        .map(|n| Label {
            name: format!("label {n}"),
            word: format!("{n}"),
        })
        .collect();
    let spec = TaskSpec {
        output: Output::Labels { labels: many },
        ..review_task()
    };
    let mut store = SqliteStore::in_memory().unwrap();
    let long = "很长".repeat(50_000);
    let records: Vec<Value> = (0..70)
        .map(|n| json!({"text": format!("{n} {long}"), "label": format!("label {n}")}))
        .collect();
    for _ in 0..3 {
        evaluate(&mut store, &spec, &records, None);
    }
    let html = page(&gather(&store, &spec), "task.toml");
    let read = read(&html);
    assert!(html.len() < 600_000, "{} bytes", html.len());
    assert!(text(&read, "#overview .labels").contains("and 300 more"));
    assert!(all(&read, ".confusion").is_empty());
    assert_eq!(all(&read, "#confusion > .scroll tbody tr").len(), 30);
}

#[test]
fn wrong_and_withheld_answers_and_a_named_field_of_right_ones_are_shown() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    // The model takes `bad` for negative, whatever is right.
    let records = [
        json!({"text": "bad but loved", "truth": "positive", "label": "no label"}),
        json!({"text": "good", "truth": "positive"}),
    ];
    let (run, rows) = answer_with(
        &mut store,
        &spec,
        &records,
        RunSettings {
            min_confidence: Some(0.9999),
            ..RunSettings::default()
        },
    );
    let evaluation = Evaluation {
        spec: &spec,
        model: "scripted",
        gold_field: Some("truth"),
        plan: SamplingPlan::default(),
        compare: None,
        similar: None,
        elapsed: Duration::from_secs(2),
    };
    let kept = NewEvaluation {
        run,
        strategy: None,
        gold_field: Some("truth"),
        data_hash: data_hash(Some("truth"), &rows),
        report: &evaluation.of(&rows).unwrap(),
    };
    store.put_evaluation(&kept, at(100)).unwrap();
    let report = gather(&store, &spec);
    let shown = |index: u64| {
        let found = report.least_sure.iter().find(|r| r.index == index).unwrap();
        (found.gold.as_deref(), found.is_right, found.abstained)
    };
    let withheld = |index: usize| rows[index].abstained.is_some();
    assert_eq!(shown(0), (Some("positive"), Some(false), withheld(0)));
    assert_eq!(shown(1), (Some("positive"), Some(true), withheld(1)));
    assert!(withheld(0) || withheld(1), "{rows:?}");
    let read = read(&page(&report, "task.toml"));
    assert_eq!(text(&read, "#least-sure strong.wrong"), "negative");
    let marks = text(&read, "#least-sure .mark");
    for mark in ["withheld", "right answer: positive"] {
        assert!(marks.contains(mark), "{mark} in {marks}");
    }
}

#[test]
fn scores_without_tables_are_those_of_the_reports() {
    let (mut store, spec) = (SqliteStore::in_memory().unwrap(), review_task());
    evaluate(&mut store, &spec, &labelled(20), None);
    let open = TaskSpec {
        output: Output::Text { max_tokens: 9 },
        ..review_task()
    };
    evaluate(&mut store, &open, &labelled(6), None);
    let full = store.evaluations(&spec.name, 9).unwrap();
    let brief = store.evaluation_scores(&spec.name, 9).unwrap();
    assert_eq!((full.len(), brief.len()), (2, 2));
    for (full, brief) in full.iter().zip(&brief) {
        assert_eq!(full.report.quality.headline(), brief.summary.headline());
        assert_eq!((full.id, full.report.rows), (brief.id, brief.rows));
        assert_eq!(
            full.report.confidence.calibration_error,
            brief.summary.calibration_error()
        );
    }
}

#[test]
fn very_long_labels_are_cut() {
    let label = |c: &str| Label {
        name: c.repeat(2_000),
        word: c.to_owned(),
    };
    let spec = TaskSpec {
        output: Output::Labels {
            labels: vec![label("x"), label("y")],
        },
        ..review_task()
    };
    let mut store = SqliteStore::in_memory().unwrap();
    let record = json!({"text": "good", "label": "x".repeat(2_000)});
    evaluate(&mut store, &spec, &[record], None);
    let html = page(&gather(&store, &spec), "task.toml");
    assert!(!html.contains(&"x".repeat(301)) && html.contains(&"x".repeat(300)));
}
