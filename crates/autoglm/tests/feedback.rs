//! Feedback from the command line: given, learnt from, listed and taken back.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod support;

use serde_json::{Value, json};

use support::{Desk, fixture};

const TASK: &str = r#"
name = "letters"
kind = "classification"
instruction = "Pick x or y."
language = "en"
labels = ["x", "y"]
"#;

fn model() -> String {
    fixture("tiny-llama.gguf")
}

/// Records with a word that says the label, numbered from `first` on.
fn records(first: usize, count: usize, is_labelled: bool) -> String {
    let line = |n: usize| {
        let (word, label) = if n.is_multiple_of(2) {
            ("lamp", "x")
        } else {
            ("stone", "y")
        };
        let mut record = json!({"text": format!("{word} {n}")});
        if is_labelled {
            record["label"] = json!(label);
        }
        format!("{record}\n")
    };
    (first..first + count).map(line).collect()
}

fn answers(desk: &Desk, extra: &[&str]) -> Vec<Value> {
    let model = model();
    let mut args = vec![
        "run",
        "task.toml",
        "-i",
        "in.jsonl",
        "--json",
        "--model",
        &model,
    ];
    args.extend(extra);
    let rows = desk.ok(&args);
    rows.lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect()
}

fn right(rows: &[Value]) -> usize {
    let is_right = |row: &&Value| {
        let is_lamp = row["text"].as_str().unwrap().starts_with("lamp");
        row["answer"] == if is_lamp { "x" } else { "y" }
    };
    rows.iter().filter(is_right).count()
}

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    desk.write("in.jsonl", records(100, 20, false));
    desk.write("labelled.jsonl", records(0, 60, true));
    desk
}

/// Answers the labelled records, and writes what is right of each answer to a file of CSV.
fn say_what_is_right(desk: &Desk) {
    let model = model();
    desk.ok(&[
        "run",
        "task.toml",
        "-i",
        "labelled.jsonl",
        "-o",
        "answers.jsonl",
        "--model",
        &model,
    ]);
    let line = |n: usize| format!("1,{n},{}\n", if n.is_multiple_of(2) { "x" } else { "y" });
    let lines: String = (0..60).map(line).collect();
    desk.write("said.csv", format!("run,record,correct\n{lines}"));
}

#[test]
fn what_is_said_once_is_known_in_the_next_run_until_it_is_taken_back() {
    let desk = desk();
    say_what_is_right(&desk);
    let before = answers(&desk, &[]);
    let report = desk.json(&["feedback", "task.toml", "--file", "said.csv", "--json"]);
    assert_eq!(report["version"]["rows"], 60);
    assert_eq!(report["curve"].as_array().unwrap().len(), 6);
    let learnt = right(&answers(&desk, &[]));
    assert!(learnt >= 17 && learnt > right(&before), "{learnt}");
    assert_eq!(answers(&desk, &["--no-feedback"]), before);
    // What is measured on was not learnt from.
    let model = model();
    let eval = |data: &str| {
        let eval = [
            "eval",
            "task.toml",
            "--data",
            data,
            "--json",
            "--model",
            &model,
        ];
        desk.json(&eval)["quality"]["scores"]["accuracy"]
            .as_f64()
            .unwrap()
    };
    desk.write("others.jsonl", records(200, 20, true));
    let (seen, others) = (eval("labelled.jsonl"), eval("others.jsonl"));
    let alone = [
        "eval",
        "task.toml",
        "--data",
        "labelled.jsonl",
        "--json",
        "--no-feedback",
    ];
    let alone = desk.json(&[&alone[..], &["--model", &model]].concat());
    assert_eq!(
        seen,
        alone["quality"]["scores"]["accuracy"].as_f64().unwrap()
    );
    assert!(others >= 0.8, "{others}");
    desk.ok(&["feedback", "task.toml", "withdraw", "--batch", "1"]);
    assert_eq!(answers(&desk, &[]), before);
    let rows = desk.json(&["feedback", "task.toml", "list", "--json"]);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 60);
    assert!(rows.iter().all(|row| row["withdrawn_ms"].is_i64()));
}

#[test]
fn one_record_of_a_run_is_corrected_with_a_note_and_a_pin() {
    let desk = desk();
    let other = match answers(&desk, &[])[3]["answer"].as_str() {
        Some("y") => "x",
        _ => "y",
    };
    let give = [
        "feedback",
        "task.toml",
        "--run",
        "1",
        "--record",
        "3",
        "--correct",
        other,
    ];
    let report = desk.json(&[&give[..], &["--note", "seen", "--pin", "--json"]].concat());
    assert_eq!(
        (&report["pinned"], &report["overruled"]),
        (&json!(1), &json!([]))
    );
    let listed = desk.ok(&["feedback", "task.toml", "list"]);
    assert!(listed.contains("1:3") && listed.contains("seen") && listed.contains("pinned"));
    let shown = desk.ok(&["feedback", "task.toml"]);
    assert!(shown.contains("1 of 1 pinned rows hold"), "{shown}");
    let rows = answers(&desk, &[]);
    assert_eq!(rows[3]["answer"], other);
    // A pin or a note is of something.
    for word in [&["--pin"][..], &["--note", "why"]] {
        let (code, message) = desk.fails(&[&["feedback", "task.toml"], word].concat());
        assert!(code == 2 && message.contains("--run"), "{message}");
    }
}

#[test]
fn mistakes_are_named_and_nothing_is_taken() {
    let desk = desk();
    answers(&desk, &[]);
    let about = |label: &'static str, run: &'static str| {
        vec![
            "feedback",
            "task.toml",
            "--run",
            run,
            "--record",
            "0",
            "--correct",
            label,
        ]
    };
    let (code, message) = desk.fails(&about("z", "1"));
    assert_eq!(code, 2);
    assert!(
        message.contains("\"z\" is no label of the task, it has x, y"),
        "{message}"
    );
    let (code, message) = desk.fails(&about("x", "8"));
    assert!(
        code == 2 && message.contains("there is no run 8"),
        "{message}"
    );
    let wrong = records(0, 3, true) + "{\"text\": \"lamp\", \"label\": \"q\"}\n";
    desk.write("wrong.jsonl", wrong);
    let (_, message) = desk.fails(&["feedback", "task.toml", "--file", "wrong.jsonl"]);
    assert!(message.contains("line 4 of wrong.jsonl"), "{message}");
    assert_eq!(desk.json(&["feedback", "task.toml", "--json"]), Value::Null);
    let (code, message) = desk.fails(&["feedback", "task.toml", "withdraw", "7"]);
    assert!(
        code == 2 && message.contains("no feedback row 7"),
        "{message}"
    );
}

#[test]
fn a_file_is_learnt_row_by_row() {
    let desk = desk();
    let report = desk.json(&["learn", "labelled.jsonl", "--label", "label", "--json"]);
    assert_eq!(
        (&report["rows"], &report["labels"]),
        (&json!(60), &json!(["x", "y"]))
    );
    let accuracy = report["accuracy"].as_f64().unwrap();
    assert!((0.9..1.0).contains(&accuracy), "{accuracy}");
    let (_, message) = desk.fails(&["learn", "labelled.jsonl", "--label", "nothing"]);
    assert!(message.contains("\"nothing\" has 0 labels"), "{message}");
    desk.write("texts.jsonl", records(0, 1_001, false));
    let (_, message) = desk.fails(&["learn", "texts.jsonl", "--label", "text"]);
    assert!(
        message.contains("\"text\" has more than 1000 labels within 1001 rows"),
        "{message}"
    );
}
