//! Labelled records from the command line: kept, learnt from, and taken away.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod support;

use serde_json::{Value, json};

use support::{Desk, fixture, text};

/// Chinese, so that no vectors of an English model are asked for.
const TASK: &str = r#"
name = "letters"
kind = "classification"
instruction = "选择 x 或 y。"
language = "zh"
labels = ["x", "y"]
"#;

fn model() -> String {
    fixture("tiny-llama.gguf")
}

/// Records numbered from `first` on, even ones x and odd ones y.
fn records(first: usize, count: usize) -> String {
    let line = |n: usize| {
        let label = if n.is_multiple_of(2) { "x" } else { "y" };
        json!({"text": format!("{label}{n}"), "label": label}).to_string()
    };
    let lines: Vec<String> = (first..first + count).map(line).collect();
    lines.join("\n")
}

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    desk.write("in.jsonl", records(100, 20));
    desk.write("labelled.jsonl", records(0, 40));
    desk
}

/// The rows of a run with all that was found, and what was told.
fn run(desk: &Desk, extra: &[&str]) -> (Vec<Value>, String) {
    let model = model();
    let mut args = vec![
        "run",
        "task.toml",
        "-i",
        "in.jsonl",
        "--json",
        "--distribution",
    ];
    args.extend(["--model", &model]);
    args.extend(extra);
    let output = desk.run(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows = text(&output.stdout);
    let rows = rows.lines().map(|row| serde_json::from_str(row).unwrap());
    (rows.collect(), text(&output.stderr))
}

fn import(desk: &Desk) -> String {
    desk.ok(&["examples", "import", "task.toml", "labelled.jsonl"])
}

#[test]
fn records_that_are_imported_teach_runs_until_they_are_removed() {
    let desk = desk();
    let (before, told) = run(&desk, &[]);
    assert!(!told.contains("taught by"), "{told}");

    let said = import(&desk);
    assert_eq!(
        said,
        "40 added, 0 with another answer than before, 0 known; letters has 40 examples\n"
    );
    let (taught, told) = run(&desk, &[]);
    assert!(told.contains("taught by 40 records"), "{told}");
    assert_ne!(taught, before);
    // Out of the store the second time, with the same result.
    assert_eq!(run(&desk, &[]).0, taught);

    let (untaught, _) = run(&desk, &["--untaught"]);
    assert_eq!(untaught, before);
    desk.ok(&["examples", "remove", "task.toml", "--all"]);
    assert_eq!(run(&desk, &[]).0, before);
}

#[test]
fn a_record_of_a_taught_run_can_be_shown_and_replayed() {
    let desk = desk();
    import(&desk);
    run(&desk, &[]);
    let model = model();
    let replayed = desk.json(&[
        "runs", "replay", "1", "--record", "3", "--model", &model, "--json",
    ]);
    assert_eq!(replayed["same_verdict"], true, "{replayed}");
    assert_eq!(replayed["shown"]["same_prompt"], true, "{replayed}");
}

#[test]
fn an_evaluation_is_taught_and_does_not_learn_from_its_own_rows() {
    let desk = desk();
    import(&desk);
    let model = model();
    let eval = |data: &str| {
        let args = ["eval", "task.toml", "--data", data, "--model", &model];
        let output = desk.run(&args);
        (text(&output.stderr), text(&output.stdout))
    };
    let (told, report) = eval("in.jsonl");
    assert!(told.contains("taught by 40 records"), "{told}");
    let begun = report.starts_with("letters: 20 rows, taught by labelled records, model");
    assert!(begun, "{report}");
    desk.write("some.jsonl", records(0, 10));
    assert!(eval("some.jsonl").0.contains("taught by 30 records"));
}

#[test]
fn examples_are_added_listed_and_removed_by_their_numbers() {
    let desk = desk();
    desk.ok(&["examples", "add", "task.toml", "一 二", "x"]);
    desk.ok(&["examples", "add", "task.toml", r#"{"text": "三"}"#, "y"]);
    let listed = desk.ok(&["examples", "list", "task.toml"]);
    assert_eq!(
        listed,
        "1\tx\t{\"text\":\"一 二\"}\n2\ty\t{\"text\":\"三\"}\n"
    );
    desk.ok(&["examples", "remove", "task.toml", "1"]);
    let left = desk.json(&["examples", "list", "task.toml", "--json"]);
    assert_eq!((&left["id"], &left["output"]), (&json!(2), &json!("y")));

    let (code, told) = desk.fails(&["examples", "remove", "task.toml", "1"]);
    assert_eq!(code, 2);
    assert!(told.contains("has no example 1"), "{told}");
    let (_, told) = desk.fails(&["examples", "add", "task.toml", "四", "z"]);
    assert!(
        told.contains("its answer \"z\" is no label, want one of x, y"),
        "{told}"
    );
}

#[test]
fn records_that_cannot_be_used_are_told_and_the_rest_is_kept() {
    let desk = desk();
    desk.write(
        "odd.jsonl",
        "{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"b\"}\n",
    );
    let output = desk.run(&["examples", "import", "task.toml", "odd.jsonl"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).starts_with("1 added"));
    let told = text(&output.stderr);
    assert!(
        told.contains("line 2 is left out: it has no right answer"),
        "{told}"
    );
}
