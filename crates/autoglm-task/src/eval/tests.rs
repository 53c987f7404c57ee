use autoglm_spec::{Field, Label, Record, Verdict};
use serde_json::{Value, json};

use super::*;
use crate::judge::agreement::StopRule;
use crate::row::Raw;
use crate::scripted::{record, review_task};

fn golden() -> Value {
    serde_json::from_str(include_str!("../../fixtures/metrics.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|v| v.as_f64().unwrap()).collect()
}

fn close(found: f64, wanted: &Value) {
    let wanted = wanted.as_f64().unwrap();
    // Probabilities are f32 on our side.
    assert!(
        (found - wanted).abs() < 1e-6,
        "found {found}, want {wanted}"
    );
}

fn task_with(labels: &[String]) -> TaskSpec {
    let label = |name: &String| Label {
        name: name.clone(),
        word: name.clone(),
    };
    TaskSpec {
        output: Output::Labels {
            labels: labels.iter().map(label).collect(),
        },
        ..review_task()
    }
}

fn answered(line: u64, input: Record, labels: &[String], probabilities: &[f64]) -> Row {
    let logprobs = probabilities.iter().map(|p| (p.ln() as f32).max(-1e4));
    let raw = Raw::Scores {
        logprobs: logprobs.collect(),
    };
    let judge = Judge::new(&task_with(labels).output, Prior::none());
    Row {
        verdict: Some(judge.verdict(&raw).unwrap()),
        raw: Some(raw),
        error: None,
        ..Row::failed(line - 1, line, Some(input), String::new())
    }
}

fn evaluate(spec: &TaskSpec, rows: &[Row]) -> Result<Report, TaskError> {
    Evaluation {
        spec,
        model: "scripted",
        gold_field: None,
        plan: SamplingPlan::default(),
        compare: None,
        similar: None,
        elapsed: Duration::from_secs(2),
    }
    .of(rows)
}

fn closed_quality(report: &Report) -> &ClosedQuality {
    match &report.quality {
        Quality::Closed(closed) => closed,
        Quality::Open(_) => panic!("labels have closed answers"),
    }
}

fn golden_rows(golden: &Value, labels: &[String]) -> Vec<Row> {
    let rows = golden["rows"].as_array().unwrap().iter().enumerate();
    rows.map(|(i, row)| {
        let input = record(&json!({"text": i, "label": row["gold"]}));
        let line = i as u64 + 1;
        match &row["probabilities"] {
            Value::Null => Row::failed(i as u64, line, Some(input), "no answer".to_owned()),
            probabilities => answered(line, input, labels, &numbers(probabilities)),
        }
    })
    .collect()
}

#[test]
fn the_measures_agree_with_scikit_learn() {
    let golden = golden();
    let labels: Vec<String> = serde_json::from_value(golden["labels"].clone()).unwrap();
    let report = evaluate(&task_with(&labels), &golden_rows(&golden, &labels)).unwrap();
    let closed = closed_quality(&report);
    let wanted = &golden["closed"];
    for scores in [closed.scores, closed.uncalibrated] {
        close(scores.accuracy, &wanted["accuracy"]);
        close(scores.macro_f1, &wanted["macro_f1"]);
        close(scores.calibration_error, &wanted["calibration_error"]);
        close(scores.brier, &wanted["brier"]);
    }
    close(closed.accuracy_interval[0], &wanted["interval"][0]);
    close(closed.accuracy_interval[1], &wanted["interval"][1]);
    assert_eq!(json!(closed.confusion), wanted["confusion"]);
    for (i, label) in closed.labels.iter().enumerate() {
        close(label.precision, &wanted["precision"][i]);
        close(label.recall, &wanted["recall"][i]);
    }
    assert_eq!(report.rows, 240);
    assert_eq!(report.records_per_second, 120.0);
    assert_eq!(closed.majority.label, "体育");
    close(closed.majority.accuracy, &json!(68.0 / 240.0));
}

#[test]
fn the_measures_of_texts_agree_with_rouge_score_and_squad() {
    for case in golden()["texts"].as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap();
        let (answer, gold) = (text("answer"), text("gold"));
        assert_eq!(json!(exact_match(answer, gold)), case["exact"], "{case}");
        close(token_f1(answer, gold), &case["token_f1"]);
        close(rouge_l(answer, gold), &case["rouge_l"]);
    }
}

#[test]
fn chinese_is_compared_by_characters() {
    assert!(exact_match("质量很好。", "质量很好"));
    assert_eq!(token_f1("质量好", "质量很好"), 6.0 / 7.0);
    assert_eq!(rouge_l("好质量", "质量很好"), 4.0 / 7.0);
}

#[test]
fn the_interval_is_wilsons() {
    for case in golden()["wilson"].as_array().unwrap() {
        let count = |name: &str| case[name].as_u64().unwrap() as usize;
        let [low, high] = wilson_interval(count("right"), count("all"));
        close(low, &case["interval"][0]);
        close(high, &case["interval"][1]);
    }
    assert_eq!(wilson_interval(0, 0), [0.0, 1.0]);
}

fn names(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|&label| label.to_owned()).collect()
}

#[test]
fn right_answers_that_are_no_labels_are_left_out_and_reported() {
    let labels = names(&["positive", "negative"]);
    let rows: Vec<Row> = ["Positive ", "neutral", "negative", "neutral"]
        .iter()
        .enumerate()
        .map(|(i, gold)| {
            let input = record(&json!({"text": "x", "label": gold}));
            answered(i as u64 + 1, input, &labels, &[0.8, 0.2])
        })
        .collect();
    let report = evaluate(&review_task(), &rows).unwrap();
    assert_eq!(report.rows, 2);
    assert_eq!(
        report.unknown_gold,
        [UnknownGold {
            answer: "neutral".to_owned(),
            rows: 2,
            first_line: 2
        }]
    );
    assert_eq!(closed_quality(&report).scores.accuracy, 0.5);
}

#[test]
fn nothing_to_evaluate_is_an_error_that_says_what_is_missing() {
    let rows = [answered(
        1,
        record(&json!({"text": "x"})),
        &names(&["a", "b"]),
        &[0.5, 0.5],
    )];
    let error = evaluate(&review_task(), &rows).unwrap_err().to_string();
    assert_eq!(
        error,
        "none of 1 rows can be evaluated: they have none of the fields label, answer, output"
    );
}

#[test]
fn a_field_that_the_task_reads_is_not_the_right_answer() {
    let mut spec = review_task();
    spec.fields.push(Field {
        name: "answer".to_owned(),
        title: "Answer".to_owned(),
    });
    let row = record(&json!({"text": "x", "answer": "positive", "output": "negative"}));
    assert_eq!(
        gold::gold_text(&spec, None, &row),
        Some("negative".to_owned())
    );
    let named = gold::gold_text(&spec, Some("answer"), &row);
    assert_eq!(named, Some("positive".to_owned()));
}

#[test]
fn calibrated_and_uncalibrated_answers_come_from_the_same_scores() {
    let labels = names(&["positive", "negative"]);
    let output = review_task().output;
    let judge = Judge::new(
        &output,
        Prior::contextual(&[vec![0.8f32.ln(), 0.2f32.ln()]]),
    );
    let rows: Vec<Row> = [("positive", [0.95, 0.05]), ("negative", [0.6, 0.4])]
        .iter()
        .enumerate()
        .map(|(i, (gold, probabilities))| {
            let input = record(&json!({"text": "x", "label": gold}));
            let mut row = answered(i as u64 + 1, input, &labels, probabilities);
            row.verdict = Some(judge.verdict(row.raw.as_ref().unwrap()).unwrap());
            row
        })
        .collect();
    let report = evaluate(&review_task(), &rows).unwrap();
    let closed = closed_quality(&report);
    assert_eq!(closed.calibration, Calibration::Contextual);
    assert_eq!(closed.scores.accuracy, 1.0);
    assert_eq!(closed.uncalibrated.accuracy, 0.5);
}

#[test]
fn json_answers_are_right_when_they_hold_the_same_value() {
    let mut spec = review_task();
    spec.output = Output::Json {
        schema: json!({}),
        max_tokens: 9,
    };
    let row = |answer: &str| Row {
        verdict: Some(Verdict {
            answer: answer.to_owned(),
            confidence: 0.5,
            distribution: Vec::new(),
            calibration: Calibration::None,
            vote: None,
            learnt: None,
        }),
        error: None,
        ..Row::failed(
            0,
            1,
            Some(record(&json!({"text": "x", "output": {"a": 1, "b": [2]}}))),
            String::new(),
        )
    };
    let rows = [row("{\"b\": [2.0], \"a\": 1}"), row("{\"a\": 1}")];
    let report = evaluate(&spec, &rows).unwrap();
    let Quality::Open(open) = &report.quality else {
        panic!("JSON is open");
    };
    assert_eq!((open.same_value, open.compare), (0.5, Compare::Json));
}

#[test]
fn a_report_survives_json_and_reads_well() {
    let labels = names(&["正面", "负面"]);
    let rows: Vec<Row> = ["正面", "负面", "负面"]
        .iter()
        .enumerate()
        .map(|(i, gold)| {
            let input = record(&json!({"text": "x", "label": gold}));
            answered(i as u64 + 1, input, &labels, &[0.6, 0.4])
        })
        .collect();
    let report = evaluate(&task_with(&labels), &rows).unwrap();
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let text = report.to_string();
    let wanted = "\
right answer \\ given  正面  负面  no answer
正面                     1     0          0
负面                     2     0          0
";
    assert!(text.contains(wanted), "{text}");
    assert!(text.contains("always 负面"), "{text}");
    let risks = "surest rows   100 %    90 %    80 %    70 %    50 %    AURC\n";
    assert!(text.contains(risks), "{text}");
}

/// A row whose samples are these, as a run with a fixed number of samples stores it.
fn sampled_row(line: u64, gold: &str, texts: &[&str]) -> Row {
    let sample = |text: &&str| crate::Sample {
        text: (*text).to_owned(),
        mean_logprob: -1.0,
        tokens: 3,
        finish: autoglm_spec::FinishReason::Stop,
        repair: false,
    };
    let samples: Vec<crate::Sample> = texts.iter().map(sample).collect();
    let raw = Raw::from_samples(&samples).unwrap();
    let output = Output::Text { max_tokens: 9 };
    let judge = Judge::new(&output, Prior::none())
        .sampled(Agreement::new(&output, Compare::Number), fixed(texts.len()));
    let input = record(&json!({"text": "x", "label": gold}));
    Row {
        verdict: Some(judge.verdict(&raw).unwrap()),
        raw: Some(raw),
        error: None,
        ..Row::failed(line - 1, line, Some(input), String::new())
    }
}

fn fixed(samples: usize) -> SamplingPlan {
    SamplingPlan {
        samples,
        stop: StopRule::Fixed,
        ..SamplingPlan::default()
    }
}

#[test]
fn rules_of_stopping_are_compared_on_the_same_samples() {
    let mut spec = review_task();
    spec.output = Output::Text { max_tokens: 9 };
    let rows = [
        sampled_row(1, "7", &["7"; 10]),
        sampled_row(
            2,
            "It is 8.\n#### 8",
            &["9", "8", "8", "8", "8", "8", "8", "8", "8", "8"],
        ),
        sampled_row(3, "5", &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]),
    ];
    let evaluation = Evaluation {
        spec: &spec,
        model: "scripted",
        gold_field: None,
        plan: fixed(10),
        compare: Some(Compare::Number),
        similar: None,
        elapsed: Duration::from_secs(2),
    };
    let report = evaluation.of(&rows).unwrap();
    let Quality::Open(open) = &report.quality else {
        panic!("texts are open answers");
    };
    assert!((open.same_value - 2.0 / 3.0).abs() < 1e-9);
    let samples = open.samples.as_ref().unwrap();
    assert!((samples.first_accuracy - 1.0 / 3.0).abs() < 1e-9);
    assert_eq!((samples.limit, samples.mean_samples), (10, 10.0));
    let rules: Vec<StopRule> = samples.rules.iter().map(|rule| rule.rule).collect();
    assert_eq!(rules, [StopRule::Fixed, StopRule::Adaptive, StopRule::Beta]);
    // 2 where all agree and 3 where none does; one against three takes 5.
    let taken: Vec<f64> = samples.rules.iter().map(|rule| rule.mean_samples).collect();
    assert_eq!((taken[0], taken[1]), (10.0, 10.0 / 3.0));
    assert!(taken[1] < taken[2] && taken[2] < 6.0);
    for rule in &samples.rules {
        assert!((rule.accuracy - 2.0 / 3.0).abs() < 1e-9, "{rule:?}");
    }
    let text = report.to_string();
    let first = text
        .lines()
        .find(|line| line.starts_with("the first alone"));
    assert!(first.unwrap().contains("  0.3333  "), "{text}");
}

#[test]
fn the_mean_is_over_reports_on_labels() {
    let labels = names(&["positive", "negative"]);
    let report = |gold: &str| {
        let input = record(&json!({"text": "x", "label": gold}));
        let rows = [answered(1, input, &labels, &[0.75, 0.25])];
        evaluate(&review_task(), &rows).unwrap()
    };
    let reports = [report("positive"), report("negative")];
    let mean = MeanScores::of(&reports).unwrap();
    assert_eq!(mean.reports, 2);
    assert_eq!((mean.scores.accuracy, mean.least_accuracy), (0.5, 0.0));
    assert_eq!(mean.scores.calibration_error, 0.5);
    assert!(mean.to_string().contains("least accuracy: 0.0000"));
    assert_eq!(MeanScores::of(&[]), None);
}

fn pool() -> Vec<Record> {
    (0..40)
        .map(|i| {
            let label = if i % 2 == 0 { "positive" } else { "negative" };
            record(&json!({"text": format!("text {}", i % 30), "label": label, "id": i}))
        })
        .collect()
}

fn draw(seed: u64, per_label: usize) -> Draw<'static> {
    Draw {
        per_label: Some(per_label),
        seed,
        gold_field: None,
    }
}

#[test]
fn examples_depend_on_the_seed_and_not_on_the_pools_order() {
    let spec = review_task();
    let drawn = draw_examples(&spec, pool(), &[], &draw(1, 4)).unwrap();
    let mut reversed = pool();
    reversed.reverse();
    assert_eq!(
        draw_examples(&spec, reversed, &[], &draw(1, 4)).unwrap(),
        drawn
    );
    assert_ne!(
        draw_examples(&spec, pool(), &[], &draw(2, 4)).unwrap(),
        drawn
    );
    // Only the task's own fields go into a prompt.
    assert!(drawn.iter().all(|example| example.input.len() == 1));
}

#[test]
fn labels_take_turns() {
    let drawn = draw_examples(&review_task(), pool(), &[], &draw(3, 5)).unwrap();
    assert_eq!(drawn.len(), 10);
    for turn in drawn.chunks(2) {
        assert_ne!(turn[0].output, turn[1].output);
    }
}

#[test]
fn test_rows_and_repeated_rows_are_never_drawn() {
    let held_out = &pool()[..28];
    let drawn = draw_examples(&review_task(), pool(), held_out, &draw(1, 1)).unwrap();
    let texts: Vec<&Value> = drawn.iter().map(|example| &example.input["text"]).collect();
    assert_eq!(texts.len(), 2);
    assert!(
        texts
            .iter()
            .all(|text| *text == "text 28" || *text == "text 29")
    );
    let error = draw_examples(&review_task(), pool(), held_out, &draw(1, 2)).unwrap_err();
    assert!(matches!(
        error,
        TaskError::TooFewExamples {
            found: 1,
            wanted: 2,
            ..
        }
    ));
}

#[test]
fn the_first_draw_never_changes() {
    // The lowest of Python's hashlib.sha256(b'7\n{"text":"a"}') and so on: d 2b4b…, a 996d….
    let pool = ["a", "b", "c"].map(|text| record(&json!({"text": text, "label": "positive"})));
    let negative = record(&json!({"text": "d", "label": "negative"}));
    let drawn = draw_examples(
        &review_task(),
        pool.into_iter().chain([negative]),
        &[],
        &draw(7, 1),
    )
    .unwrap();
    let texts: Vec<&str> = drawn
        .iter()
        .map(|e| e.input["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["d", "a"]);
}

#[test]
fn reports_that_the_first_version_stored_still_read() {
    let scores = json!({"accuracy": 1.0, "macro_f1": 1.0, "calibration_error": 0.1, "brier": 0.2});
    let closed = json!({
        "kind": "closed", "calibration": "batch", "scores": scores, "uncalibrated": scores,
        "accuracy_interval": [0.2, 1.0], "majority": {"label": "x", "accuracy": 1.0},
        "labels": [{"label": "x", "rows": 1, "given": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0}],
        "confusion": [[1, 0]],
    });
    let open = json!({
        "kind": "open", "exact_match": 1.0, "exact_match_interval": [0.2, 1.0], "compare": "number",
        "same_value": 1.0, "same_value_interval": [0.2, 1.0], "samples": null, "token_f1": 1.0,
        "rouge_l": 1.0, "mean_confidence": 0.9,
    });
    for quality in [closed, open] {
        let stored = json!({
            "task": "t", "model": "m", "examples": 0, "rows": 1, "errors": 0, "without_gold": 0,
            "unknown_gold": [], "seconds": 0.5, "records_per_second": 2.0, "quality": quality,
            "confidence": {
                "coverage": 1.0, "answered_accuracy": 1.0, "calibration_error": 0.1,
                "fitted_calibration_error": null, "risks": [{"coverage": 1.0, "error": 0.0}],
                "aurc": 0.0, "bins": [{"rows": 1, "right": 1, "confidence": 0.9}],
                "curve": [{"coverage": 1.0, "error": 0.0}],
            },
        });
        let report: Report = serde_json::from_value(stored).unwrap();
        assert_eq!((report.rows, report.confidence.bins[0].right), (1, 1));
    }
}
