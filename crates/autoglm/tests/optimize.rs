//! Searching, promoting and comparing strategies with the real binary and a tiny random model.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod support;

use serde_json::{Value, json};

use support::{Desk, fixture, text};

const TASK: &str = r#"
name = "letters"
kind = "classification"
instruction = "Pick x or y."
labels = ["x", "y"]
"#;

fn model() -> String {
    fixture("tiny-gemma3.gguf")
}

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    let rows: Vec<String> = (0..240_u32)
        .map(|n| json!({"text": format!("record {n}"), "label": if n.is_multiple_of(3) {"x"} else {"y"}}))
        .map(|row| row.to_string())
        .collect();
    let rows = rows.join("\n");
    desk.write("train.jsonl", rows);
    desk
}

/// What a command prints as JSON, and what it tells on standard error.
fn told(desk: &Desk, args: &[&str]) -> (Value, String) {
    let output = desk.run(args);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    (serde_json::from_slice(&output.stdout).unwrap(), stderr)
}

#[test]
fn a_search_is_estimated_made_once_and_its_strategy_promoted_and_rolled_back() {
    let desk = desk();
    let model = model();
    let search = |extra: &[&str]| -> Value {
        let mut args = vec![
            "optimize",
            "task.toml",
            "--data",
            "train.jsonl",
            "--budget",
            "300",
            "--json",
        ];
        args.extend(["--model", &model]);
        args.extend(extra);
        told(&desk, &args).0
    };
    let estimate = search(&["--dry-run"]);
    let report = search(&[]);
    let calls = |report: &Value| report["spent"]["calls"].as_u64().unwrap();
    assert!(calls(&report) <= 300, "{report}");
    // A winner that asks what the start asks costs less than was to be expected.
    let expected = estimate["calls"].as_u64().unwrap();
    assert!(expected >= calls(&report), "{estimate} {report}");

    let again = search(&["--strategy", "none"]);
    assert_eq!(calls(&again), calls(&report));
    assert_eq!(again["spent"]["stored"], again["spent"]["calls"]);
    assert_eq!(again["found"], report["found"]);

    let id = report["found"]["version"].to_string();
    let listed = desk.json(&["strategy", "list", "letters", "--json"]);
    assert_eq!(listed[0]["id"].to_string(), id);
    let shown = desk.ok(&["strategy", "show", &id]);
    assert!(shown.contains("optimize --budget 300 --seed 1"), "{shown}");
    let difference = desk.ok(&["strategy", "diff", "none", &id]);
    assert!(difference.contains(" → "), "{difference}");

    let promoted = desk.ok(&["strategy", "promote", &id]);
    assert!(promoted.contains("is live"), "{promoted}");
    let run = [
        "eval",
        "task.toml",
        "--data",
        "train.jsonl",
        "--limit",
        "10",
        "--json",
        "--model",
    ];
    let live = format!("strategy {id} of letters is live");
    let evaluate = |extra: &[&str]| told(&desk, &[&run[..], &[&model], extra].concat());
    assert!(evaluate(&[]).1.contains(&live));
    assert!(!evaluate(&["--strategy", "none"]).1.contains(&live));
    let (compared, _) = evaluate(&["--compare", "none", &id]);
    assert_eq!(compared["paired"]["rows"], 10);
    assert_eq!(compared["a"]["strategy"], "the task as written");

    let back = desk.ok(&["strategy", "rollback", "task.toml"]);
    assert!(back.contains("runs as it is written again"), "{back}");
    assert!(!evaluate(&[]).1.contains(&live));
}

#[test]
fn a_live_strategy_runs_for_its_instruction_and_its_model_alone() {
    let desk = desk();
    let model = model();
    let search = [
        "optimize",
        "task.toml",
        "--data",
        "train.jsonl",
        "--budget",
        "300",
        "--json",
    ];
    let (report, _) = told(&desk, &[&search[..], &["--model", &model]].concat());
    let id = report["found"]["version"].to_string();
    desk.ok(&["strategy", "promote", &id]);
    desk.write("reworded.toml", TASK.replace("Pick x or y.", "Say x or y."));
    let said = |task: &str, model: &str, extra: &[&str]| {
        let args = [
            "eval",
            task,
            "--data",
            "train.jsonl",
            "--limit",
            "9",
            "--json",
            "--model",
            model,
        ];
        told(&desk, &[&args[..], extra].concat()).1
    };
    let live = format!("strategy {id} of letters is live (");
    let unused = format!("strategy {id} of letters is live but not used");
    assert!(said("task.toml", &model, &[]).contains(&live));
    let other = fixture("tiny-llama.gguf");
    for (task, model, why) in [
        ("reworded.toml", &model, "made for another instruction"),
        ("task.toml", &other, "found with the model"),
    ] {
        let told = said(task, model, &[]);
        for part in [
            &unused,
            why,
            &format!("--strategy {id} runs it all the same"),
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains(&live), "{told}");
        assert!(!said(task, model, &["--strategy", &id]).contains(&unused));
    }
}

#[test]
fn what_a_search_does_not_measure_holds_its_winner() {
    let desk = desk();
    let model = model();
    let notes = || -> String {
        let search = [
            "optimize",
            "task.toml",
            "--data",
            "train.jsonl",
            "--budget",
            "300",
        ];
        desk.ok(&[&search[..], &["--dry-run", "--model", &model]].concat())
    };
    let held = "which the search does not measure";
    assert!(!notes().contains(held));
    desk.ok(&["examples", "add", "task.toml", "a new record", "x"]);
    let found = notes();
    assert!(
        found.contains("labelled examples in the store") && found.contains(held),
        "{found}"
    );
    desk.ok(&["examples", "remove", "task.toml", "--all"]);
    desk.ok(&[
        "run",
        "task.toml",
        "--input",
        "train.jsonl",
        "-o",
        "o.jsonl",
        "--limit",
        "3",
        "--model",
        &model,
    ]);
    desk.ok(&[
        "feedback",
        "task.toml",
        "--run",
        "1",
        "--record",
        "1",
        "--correct",
        "x",
    ]);
    let found = notes();
    assert!(
        found.contains("feedback on the task") && found.contains(held),
        "{found}"
    );
    for option in [
        &["--untaught"][..],
        &["--no-feedback"],
        &["--views", "scores"],
        &["--shots", "2"],
    ] {
        let compare = [
            "eval",
            "task.toml",
            "--data",
            "train.jsonl",
            "--compare",
            "none",
            "none",
        ];
        let (code, message) = desk.fails(&[&compare[..], option].concat());
        assert_eq!(code, 2);
        assert!(message.contains("cannot be used with"), "{message}");
    }
}

#[test]
fn what_cannot_be_searched_or_promoted_is_refused_with_the_reason() {
    let desk = desk();
    let model = model();
    let search = |budget: &str, data: &str| {
        desk.fails(&[
            "optimize",
            "task.toml",
            "--data",
            data,
            "--budget",
            budget,
            "--model",
            &model,
        ])
    };
    let (code, message) = search("9", "train.jsonl");
    assert_eq!(code, 2);
    assert!(
        message.contains("the budget of 9 calls does not suffice"),
        "{message}"
    );
    let few: String = desk
        .read("train.jsonl")
        .lines()
        .take(8)
        .map(|l| l.to_owned() + "\n")
        .collect();
    desk.write("few.jsonl", few);
    let (code, message) = search("300", "few.jsonl");
    assert_eq!(code, 3);
    assert!(
        message.contains("8 records of the data can be used"),
        "{message}"
    );
    let (code, message) = desk.fails(&[
        "optimize",
        "task.toml",
        "--data",
        "train.jsonl",
        "--budget",
        "90s",
        "--dry-run",
        "--model",
        &model,
    ]);
    assert_eq!(code, 2);
    assert!(
        message.contains("hint: give the budget in calls or tokens"),
        "{message}"
    );
    let (code, message) = desk.fails(&["strategy", "promote", "7"]);
    assert_eq!(code, 2);
    assert!(message.contains("there is no strategy 7"), "{message}");
}

#[test]
fn a_route_is_taught_once_kept_shown_and_run() {
    let desk = desk();
    let model = model();
    let with_model = |args: &[&str]| -> Value {
        told(&desk, &[args, &["--json", "--model", &model]].concat()).0
    };
    let search = [
        "optimize",
        "task.toml",
        "--data",
        "train.jsonl",
        "--budget",
        "300",
    ];
    let found = with_model(&search)["found"]["version"].to_string();
    let branches = format!("none,{found}");
    let route = ["strategy", "route", "task.toml", "--strategies"];
    let teach = [&route[..], &[&branches, "--data", "train.jsonl"]].concat();
    let report = with_model(&teach);
    assert_eq!(report["untouched"]["rows"], 80, "{report}");
    assert_eq!(report["lessons"], json!([160, 0]));
    assert_eq!(report["branches"][0]["version"], Value::Null);
    assert_eq!(report["branches"][1]["version"].to_string(), found);
    let again = with_model(&teach);
    assert_eq!(again["spent"]["stored"], again["spent"]["calls"]);
    assert_eq!(again["version"], report["version"]);

    let id = report["version"].to_string();
    let shown = desk.ok(&["strategy", "show", &id]);
    for part in [
        "branches",
        "  the task as written",
        &format!("  strategy {found}"),
        "route: none → ",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let run = [
        "run",
        "task.toml",
        "--input",
        "train.jsonl",
        "-o",
        "o.jsonl",
        "--limit",
        "3",
        "--model",
        &model,
        "--strategy",
        &id,
    ];
    desk.ok(&run);
    let row = desk.ok(&["runs", "show", "1", "--record", "2"]);
    let ways = ["alone", "each by its probability"];
    assert!(
        row.contains("route ") && ways.iter().any(|way| row.contains(way)),
        "{row}"
    );
    assert!(row.contains("as it was used"), "{row}");
    let (_, message) = desk.fails(&[&run[..], &["--one-order"]].concat());
    assert!(message.contains("do not go with it"), "{message}");

    desk.ok(&["strategy", "promote", &id]);
    let (_, message) = desk.fails(&[&search[..], &["--model", &model]].concat());
    assert!(
        message.contains("cannot start from a strategy that routes"),
        "{message}"
    );
}

#[test]
fn a_route_wants_two_strategies_that_differ() {
    let desk = desk();
    let model = model();
    let route = ["strategy", "route", "task.toml", "--strategies"];
    for (given, why) in [
        ("none", "at least 2 strategies"),
        ("none,none", "another of them does"),
    ] {
        let args = [
            &route[..],
            &[given, "--data", "train.jsonl", "--model", &model],
        ]
        .concat();
        let (code, message) = desk.fails(&args);
        assert_eq!(code, 2);
        assert!(message.contains(why), "{message}");
    }
}
