//! Evaluations are kept, and `autoglm report` shows them on a page and as JSON.

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

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    let line = |n: usize| {
        let label = if n.is_multiple_of(2) { "x" } else { "y" };
        format!(
            "{}\n",
            json!({"text": format!("record {n} <b>"), "label": label})
        )
    };
    desk.write("test.jsonl", (0..12).map(line).collect::<String>());
    desk
}

fn evaluate(desk: &Desk, extra: &[&str]) {
    let model = model();
    let mut args = vec!["eval", "task.toml", "--data", "test.jsonl", "--json"];
    args.extend(["--model", &model]);
    args.extend(extra);
    desk.ok(&args);
}

#[test]
fn every_evaluation_is_kept_and_shown() {
    let desk = desk();
    evaluate(&desk, &[]);
    evaluate(&desk, &["--limit", "6"]);
    evaluate(&desk, &["--compare", "none", "none"]);
    let report = desk.json(&["report", "task.toml", "--json"]);
    let groups = report["groups"].as_array().unwrap();
    let counts = |group: &Value| {
        let versions = group["versions"].as_array().unwrap().len();
        (group["rows"].as_u64().unwrap(), versions)
    };
    let found: Vec<_> = groups.iter().map(counts).collect();
    assert_eq!(found, [(12, 3), (6, 1)]);
    assert_eq!(report["newest"]["run"], 4);
    assert_eq!(report["least_sure"].as_array().unwrap().len(), 12);

    let printed = desk.ok(&["report", "task.toml", "--run", "2", "--out", "-"]);
    assert!(printed.starts_with("<!DOCTYPE html>"));
    assert!(printed.contains("record 5 &lt;b&gt;") && !printed.contains("record 6 &lt;b&gt;"));
    let said = desk.run(&["report", "task.toml"]);
    assert!(said.status.success() && said.stdout.is_empty());
    let page = desk.read("report.html");
    assert!(page.contains("autoglm feedback task.toml --run 4 --record 11 --correct LABEL"));
}

#[test]
fn a_task_without_a_past_has_a_page_and_mistakes_are_named() {
    let desk = desk();
    desk.ok(&["report", "task.toml", "--out", "page.html"]);
    assert!(
        desk.read("page.html")
            .contains("autoglm eval task.toml --data labelled.jsonl")
    );
    let (code, message) = desk.fails(&["report", "task.toml", "--run", "5"]);
    assert!(
        code == 2 && message.contains("there is no run 5"),
        "{message}"
    );
    let (_, message) = desk.fails(&["report", "task.toml", "--out", "no/folder/page.html"]);
    assert!(
        message.contains("cannot write no/folder/page.html"),
        "{message}"
    );
    desk.fails(&["report", "task.toml", "--json", "--out", "page.html"]);
}
