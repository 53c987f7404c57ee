//! What learns and searches, on a server.

use serde_json::{Value, json};

use super::support::{Desk, text};
use super::{TASK, rows, scored, server};

const QUESTIONS: &str = r#"
name = "questions"
kind = "question-answering"
instruction = "Answer the question."
[output]
form = "text"
max_tokens = 8
"#;

fn ask(desk: &Desk, args: &[&str], url: &str) -> (String, String) {
    let args = [args, &["--engine", url, "--prompts", "plain"]].concat();
    let output = desk.run(&args);
    let told = text(&output.stderr);
    assert!(output.status.success(), "{args:?}: {told}");
    (text(&output.stdout), told)
}

/// Lines of records, each with an answer.
fn labelled(texts: &[(&str, &str)]) -> String {
    let line = |(text, label): &(&str, &str)| json!({"text": text, "label": label}).to_string();
    let lines: Vec<String> = texts.iter().map(line).collect();
    lines.join("\n")
}

#[test]
fn examples_are_chosen_for_each_record_of_an_open_task() {
    let (server, desk) = (server(), Desk::new());
    desk.write("task.toml", QUESTIONS);
    let library = [
        ("who wrote Hamlet", "Shakespeare"),
        ("how many legs has a spider", "eight"),
        ("who painted Guernica", "Picasso"),
    ];
    desk.write("library.jsonl", labelled(&library));
    desk.write(
        "in.jsonl",
        labelled(&[("who wrote Faust", "Goethe"), library[1]]),
    );
    desk.ok(&["examples", "import", "task.toml", "library.jsonl"]);
    let url = server.url();
    let run = ["run", "task.toml", "-i", "in.jsonl", "--json"];
    let (plain, _) = ask(&desk, &run, &url);
    assert_eq!(rows(&plain).len(), 2);
    let chosen = [&run[..], &["--select", "words", "--select-count", "1"]].concat();
    ask(&desk, &chosen, &url);
    let shown = desk.json(&["runs", "show", "2", "--record", "0", "--json"]);
    let examples = shown["row"]["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 1, "{shown}");
    assert_eq!(examples[0]["output"], "Shakespeare");
    assert_eq!(shown["same_prompt"], true);
    let told = desk.ok(&["runs", "show", "2", "--record", "0"]);
    assert!(
        told.contains("Shakespeare ← {\"text\":\"who wrote Hamlet\"}"),
        "{told}"
    );
    // A record of the library is not shown its own answer.
    let own = desk.json(&["runs", "show", "2", "--record", "1", "--json"]);
    assert_ne!(own["row"]["examples"][0]["output"], "eight", "{own}");
    let replay = ["runs", "replay", "2", "--record", "0", "--json"];
    let (replayed, _) = ask(&desk, &replay, &url);
    let replayed: Value = serde_json::from_str(&replayed).unwrap();
    assert_eq!(replayed["same_verdict"], true, "{replayed}");
}

#[test]
fn a_choice_of_examples_is_compared_and_promoted_like_other_strategies() {
    let (server, desk) = (server(), Desk::new());
    desk.write("task.toml", QUESTIONS);
    desk.write(
        "library.jsonl",
        labelled(&[("who wrote Hamlet", "so be it")]),
    );
    desk.write("in.jsonl", labelled(&[("who wrote Faust", "so be it")]));
    let url = server.url();
    let run = ["run", "task.toml", "-i", "in.jsonl", "--select", "words"];
    let (code, told) = desk.fails(&[&run[..], &["--engine", &url]].concat());
    assert_eq!(code, 2, "{told}");
    assert!(
        told.contains("no labelled examples to choose from"),
        "{told}"
    );
    desk.ok(&["examples", "import", "task.toml", "library.jsonl"]);
    desk.ok(&["strategy", "add", "task.toml", "--select", "words"]);
    let compare = [
        "eval",
        "task.toml",
        "--data",
        "in.jsonl",
        "--compare",
        "none",
        "1",
    ];
    let (compared, _) = ask(&desk, &compare, &url);
    assert!(
        compared.contains("examples for each record: none → the 4 nearest"),
        "{compared}"
    );
    desk.ok(&["strategy", "promote", "1"]);
    let (_, told) = ask(&desk, &run[..4], &url);
    assert!(told.contains("strategy 1 of questions is live"), "{told}");
    let prompts = server.seen();
    let last = prompts.last().unwrap().prompt();
    assert!(last.contains("who wrote Hamlet"), "{last}");
    // What the command line says goes over the strategy.
    ask(&desk, &[&run[..4], &["--select", "none"]].concat(), &url);
    let last = server.seen().pop().unwrap().prompt();
    assert!(!last.contains("who wrote Hamlet"), "{last}");
}

#[test]
fn labels_take_turns_among_the_examples_of_a_record() {
    let (server, desk) = (server(), Desk::new());
    desk.write("task.toml", TASK);
    let library = [
        ("r1 is fine", "yes"),
        ("r1 is good", "yes"),
        ("other", "no"),
    ];
    desk.write("train.jsonl", labelled(&library));
    desk.write("in.jsonl", labelled(&[("r1", "yes"), ("r2", "no")]));
    let eval = [
        "eval",
        "task.toml",
        "--data",
        "in.jsonl",
        "--examples",
        "train.jsonl",
    ];
    let chosen = [
        "--select",
        "words",
        "--select-count",
        "2",
        "--calibration",
        "none",
    ];
    ask(&desk, &[&eval[..], &chosen].concat(), &server.url());
    let prompts = scored(&server.seen());
    assert!(!prompts.is_empty());
    for prompt in prompts {
        assert!(prompt.contains("other"), "{prompt}");
        assert_eq!(prompt.matches(" is ").count(), 1, "{prompt}");
    }
}
