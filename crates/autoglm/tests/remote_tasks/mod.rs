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

/// Chinese, so that no vectors of an English model are asked for.
const LETTERS: &str = r#"
name = "letters"
kind = "classification"
instruction = "选择 x 或 y。"
language = "zh"
labels = ["x", "y"]
"#;

/// The same in English: the scripted server cuts texts at spaces.
const LETTERS_IN_ENGLISH: &str = r#"
name = "letters"
kind = "classification"
instruction = "Choose x or y."
labels = ["x", "y"]
"#;

/// Records numbered from `first` on, even ones x and odd ones y.
fn letters(first: usize, count: usize) -> String {
    let line = |n: usize| {
        let label = if n.is_multiple_of(2) { "x" } else { "y" };
        json!({"text": format!("{label}{n}"), "label": label}).to_string()
    };
    let lines: Vec<String> = (first..first + count).map(line).collect();
    lines.join("\n")
}

/// Requests that were answered, less those that ask what the server has.
fn answered(server: &super::ScriptedServer) -> usize {
    server.seen().len()
}

#[test]
fn a_search_on_a_server_goes_on_from_the_store_and_ends_the_same() {
    let (server, desk) = (server(), Desk::new());
    desk.write("task.toml", LETTERS_IN_ENGLISH);
    desk.write("train.jsonl", letters(0, 72));
    let url = server.url();
    let search = [
        "optimize",
        "task.toml",
        "--data",
        "train.jsonl",
        "--budget",
        "200",
        "--json",
    ];
    let found = |told: &str| -> Value { serde_json::from_str(told).unwrap() };
    let first = found(&ask(&desk, &search, &url).0);
    assert!(first["spent"]["calls"].as_u64().unwrap() <= 200, "{first}");
    assert_eq!(first["spent"]["stored"], 0);
    let before = answered(&server);
    let second = found(&ask(&desk, &search, &url).0);
    assert_eq!(second["spent"]["stored"], second["spent"]["calls"]);
    for part in ["rungs", "found", "ended"] {
        assert_eq!(first[part], second[part], "{part}");
    }
    // Only what tells how labels are scored there was asked again.
    assert!(answered(&server) - before < 20);
    let versions = desk.json(&["strategy", "list", "letters", "--json"]);
    let model = versions[0]["model"].as_str().unwrap();
    assert!(model.starts_with("m@127.0.0.1"), "{versions}");
    let shown = desk.ok(&["strategy", "show", "1"]);
    assert!(
        shown.contains("by        optimize --budget 200 --seed 1"),
        "{shown}"
    );
    // It runs by its number, with the model that it was found with and as it was found.
    let run = [
        "run",
        "task.toml",
        "-i",
        "train.jsonl",
        "--limit",
        "4",
        "--json",
    ];
    ask(&desk, &[&run[..], &["--strategy", "1"]].concat(), &url);
}

#[test]
fn a_teacher_writes_instructions_for_another_server_s_model() {
    let (server, desk) = (server(), Desk::new());
    let teacher = super::ScriptedServer::new(|request| {
        let models = super::usual(request).filter(|_| request.method == "GET");
        models.unwrap_or_else(|| {
            let text = "<instruction>Look closely, then choose x or y.</instruction>";
            if request.body["stream"] == true {
                return super::stream(&[super::piece(request.is_chat(), text, Some("stop"))], 9);
            }
            let whole = json!({"choices": [{
                "text": text, "message": {"content": text}, "finish_reason": "stop",
            }]});
            super::scripted_server::json_reply(200, &whole)
        })
    });
    desk.write("task.toml", LETTERS_IN_ENGLISH);
    desk.write("train.jsonl", letters(0, 72));
    let teacher_url = teacher.url();
    let search = [
        "optimize",
        "task.toml",
        "--data",
        "train.jsonl",
        "--budget",
        // Enough that written wordings are among those that are tried.
        "3000",
        "--teacher-engine",
        &teacher_url,
        "--json",
    ];
    ask(&desk, &search, &server.url());
    assert!(!teacher.seen().is_empty());
    let written = |request: &super::Request| request.prompt().contains("Look closely");
    assert!(
        server.seen().iter().any(written),
        "the instruction was tried"
    );
}

#[test]
fn what_would_handicap_the_start_of_a_search_is_no_option_of_it() {
    let desk = Desk::new();
    desk.write("task.toml", LETTERS);
    desk.write("train.jsonl", letters(0, 72));
    for option in [["--calibration", "none"], ["--select", "words"]] {
        let search = ["optimize", "task.toml", "--data", "train.jsonl"];
        let (code, told) = desk.fails(&[&search[..], &option].concat());
        assert_eq!(code, 2, "{told}");
        assert!(told.contains("unexpected argument"), "{told}");
    }
}

#[test]
fn feedback_on_answers_of_a_server_takes_part_in_the_next_run_there() {
    let (server, desk) = (server(), Desk::new());
    desk.write("task.toml", LETTERS);
    desk.write("in.jsonl", letters(0, 6));
    let url = server.url();
    let run = ["run", "task.toml", "-i", "in.jsonl", "--json"];
    let before = rows(&ask(&desk, &run, &url).0);
    let other = if before[2]["answer"] == "x" { "y" } else { "x" };
    desk.ok(&[
        "feedback",
        "task.toml",
        "--run",
        "1",
        "--record",
        "2",
        "--correct",
        other,
        "--pin",
    ]);
    let (after, told) = ask(&desk, &run, &url);
    assert!(told.contains("1 rows of feedback take part"), "{told}");
    let after = rows(&after);
    assert_eq!(after[2]["answer"], other);
    for place in [0, 1, 3, 4, 5] {
        assert_eq!(after[place]["answer"], before[place]["answer"]);
    }
    let report = desk.json(&["feedback", "task.toml", "--json"]);
    assert_eq!(report["without_opinion"], 0, "{report}");
}

#[test]
fn labelled_records_teach_runs_and_evaluations_on_a_server() {
    let (server, desk) = (server(), Desk::new());
    desk.write("task.toml", LETTERS);
    desk.write("labelled.jsonl", letters(0, 40));
    desk.write("in.jsonl", letters(100, 8));
    desk.ok(&["examples", "import", "task.toml", "labelled.jsonl"]);
    let url = server.url();
    let run = ["run", "task.toml", "-i", "in.jsonl", "--json"];
    let (first, told) = ask(&desk, &run, &url);
    assert!(told.contains("taught by 40 records"), "{told}");
    // The judge comes out of the store the second time, and says the same.
    let before = answered(&server);
    let (second, _) = ask(&desk, &run, &url);
    assert_eq!(first, second);
    assert!(answered(&server) - before < 80);
    let eval = ["eval", "task.toml", "--data", "in.jsonl", "--json"];
    let (found, told) = ask(&desk, &eval, &url);
    assert!(told.contains("taught by 40 records"), "{told}");
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["rows"], 8);
    let replay = ["runs", "replay", "1", "--record", "3", "--json"];
    let replayed: Value = serde_json::from_str(&ask(&desk, &replay, &url).0).unwrap();
    assert_eq!(replayed["same_verdict"], true, "{replayed}");
    // The page tells of the evaluation and of the server's model.
    let page = desk.ok(&["report", "task.toml", "-o", "-"]);
    for part in ["m@127.0.0.1", "in.jsonl", "letters"] {
        assert!(page.contains(part), "{part}");
    }
}
