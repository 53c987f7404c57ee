//! The real binary samples open answers of a tiny random model, withholds what is not sure, and
//! measures what it stored.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod support;

use serde_json::Value;

use support::{Desk, fixture};

const TASK: &str = r#"
name = "letters"
kind = "question-answering"
instruction = "Continue."

[input]
fields = ["text"]

[output]
form = "text"
max_tokens = 3

[sampling]
samples = 5
stop = "fixed"
compare = "words"
"#;

fn model() -> String {
    fixture("tiny-llama.gguf")
}

/// A desk with a task and twelve records.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    let records: Vec<String> = (0..12)
        .map(|n| format!("{{\"text\": \"r{n}\", \"answer\": \"x\"}}"))
        .collect();
    let records = records.join("\n");
    desk.write("in.jsonl", records);
    desk
}

fn rows(desk: &Desk, more: &[&str]) -> Vec<Value> {
    let model = model();
    let mut args = vec![
        "run",
        "task.toml",
        "--input",
        "in.jsonl",
        "--json",
        "--model",
        &model,
    ];
    args.extend(more);
    let out = desk.ok(&args);
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn samples_vote_and_a_run_shows_them() {
    let desk = desk();
    let all = rows(&desk, &["--distribution"]);
    assert_eq!(all.len(), 12);
    for row in &all {
        let vote = &row["vote"];
        assert_eq!(
            (&vote["samples"], &vote["stopped"]),
            (&5.into(), &"limit".into())
        );
        assert_eq!(vote["alternatives"][0]["answer"], row["answer"]);
    }
    let shown = desk.ok(&["runs", "show", "1", "--record", "3"]);
    assert!(
        shown.contains("sample 1, most likely") && shown.contains("sample 5, drawn"),
        "{shown}"
    );
    assert!(
        shown.contains("of 5 samples agree, stopped: limit"),
        "{shown}"
    );
    let again = rows(&desk, &["--distribution"]);
    assert_eq!(all, again);
}

#[test]
fn answers_below_the_least_confidence_are_withheld_and_still_measured() {
    let desk = desk();
    let withheld = rows(&desk, &["--min-confidence", "0.94"]);
    assert!(withheld.iter().all(|row| row.get("answer").is_none()));
    assert!(withheld.iter().all(|row| row["abstained"] == true));
    assert!(
        withheld[0]["abstain_reason"]
            .as_str()
            .unwrap()
            .ends_with("is below 0.94")
    );
    let report = desk.json(&["runs", "eval", "1", "--gold", "answer", "--json"]);
    assert_eq!(report["rows"], 12);
    assert_eq!(report["confidence"]["coverage"], 0.0);
    let rules = report["quality"]["samples"]["rules"].as_array().unwrap();
    let names: Vec<&str> = rules
        .iter()
        .map(|rule| rule["rule"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["fixed", "adaptive", "beta"]);
    let shown = desk.ok(&["runs", "show", "1", "--record", "0"]);
    assert!(shown.contains("withheld   the confidence"), "{shown}");
    let (code, error) = desk.fails(&["run", "task.toml", "--samples", "0"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("1..=100") || error.contains("0 is not in"),
        "{error}"
    );
}

#[test]
fn an_embedder_takes_part_wherever_answers_are_compared() {
    let desk = desk();
    let model = model();
    let task = TASK.replace("samples = 5", "samples = 1");
    desk.write("task.toml", task.replace("\"words\"", "\"meaning\""));
    let no_such = ["--embedder", "nowhere.gguf", "--model", &model];
    // One sample is compared with nothing, and its right answer with it.
    desk.ok(&[&["run", "task.toml", "--input", "in.jsonl"][..], &no_such].concat());
    let eval = ["eval", "task.toml", "--data", "in.jsonl"];
    for extra in [&[][..], &["--compare", "none", "none"]] {
        let (_, message) = desk.fails(&[&eval[..], extra, &no_such].concat());
        assert!(message.contains("nowhere.gguf"), "{message}");
    }
}

#[test]
fn labelled_answers_teach_runs_how_sure_they_are() {
    let desk = desk();
    // The tiny model is never right.
    let records: Vec<String> = (0..60)
        .map(|n| format!("{{\"text\": \"r{n}\", \"answer\": \"nothing that it says\"}}"))
        .collect();
    desk.write("labelled.jsonl", records.join("\n"));
    let eval = [
        "eval",
        "task.toml",
        "--data",
        "labelled.jsonl",
        "--calibrate",
        "--model",
    ];
    let confidences = |more: &[&str]| -> Vec<f64> {
        let rows = rows(&desk, more);
        rows.iter()
            .map(|row| row["confidence"].as_f64().unwrap())
            .collect()
    };
    let before = confidences(&[]);
    let output = desk.run(&[&eval[..], &[&model()]].concat());
    let told = support::text(&output.stderr);
    assert!(
        told.contains("60 labelled answers") && told.contains("from now on"),
        "{told}"
    );
    let after = confidences(&[]);
    assert!(before.iter().sum::<f64>() > 1.0, "{before:?}");
    assert!(after.iter().all(|&p| p < 0.05), "{after:?}");
    assert_eq!(confidences(&["--untaught"]), before);
    // Another number of samples is another matter.
    let fewer = confidences(&["--samples", "2"]);
    assert!(fewer.iter().any(|&p| p > 0.05), "{fewer:?}");
}
