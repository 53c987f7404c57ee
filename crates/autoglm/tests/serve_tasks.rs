//! Tasks that `autoglm serve` offers, on tiny models.

#[path = "support/server.rs"]
mod server;
mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use server::Server;
use support::{Desk, fixture};

const RUN: &str = "/v1/tasks/letters/run";

/// A folder with a task for a tiny model; Chinese, so that no vectors of an English model are
/// asked for.
fn desk() -> Desk {
    let desk = Desk::new();
    let model = fixture("tiny-llama.gguf");
    let task = format!(
        "name = \"letters\"\nkind = \"classification\"\ninstruction = \"选择 x 或 y。\"\n\
         language = \"zh\"\nlabels = [\"x\", \"y\"]\nmodel = \"{model}\"\n"
    );
    desk.write("task.toml", task);
    desk
}

fn start(desk: &Desk) -> Server {
    let model = fixture("tiny-llama.gguf");
    Server::start(desk, &["-m", &model, "--task", "task.toml"])
}

fn record(n: usize) -> Value {
    json!({"text": format!("lamp {n}")})
}

fn answer(server: &Server, body: &Value) -> Value {
    let (status, told, _) = server.post(RUN, body);
    assert_eq!(status, 200, "{told}");
    told
}

fn one(server: &Server, n: usize) -> Value {
    answer(server, &json!({"record": record(n)}))
}

#[test]
fn the_prior_grows_with_the_records_and_outlives_the_server() {
    let desk = desk();
    let server = start(&desk);
    assert_eq!(one(&server, 0)["how"]["calibration"], "none");
    let records: Vec<Value> = (0..32).map(record).collect();
    let list = answer(&server, &json!({"records": records}));
    assert_eq!(list["errors"], 0, "{list}");
    let told = one(&server, 40);
    assert_eq!(told["how"]["calibration"], "batch");
    assert_eq!(told["how"]["calibration_records"], 32);
    drop(server);
    let server = start(&desk);
    let again = one(&server, 40);
    for part in ["answer", "confidence", "labels", "how"] {
        assert_eq!(again[part], told[part], "{part}");
    }
    let among = answer(
        &server,
        &json!({"records": [record(1), record(40), record(2)]}),
    );
    assert_eq!(among["data"][1]["labels"], told["labels"]);
}

#[test]
fn what_the_server_has_run_the_commands_show_and_learn_from() {
    let desk = desk();
    let server = start(&desk);
    let told = one(&server, 1);
    let run = told["run"].as_u64().unwrap().to_string();
    let shown = desk.json(&["runs", "show", &run, "--record", "0", "--json"]);
    assert_eq!(shown["row"]["verdict"]["answer"], told["answer"]);
    let wrong = if told["answer"] == "x" { "y" } else { "x" };
    let said = json!({"run": told["run"], "record": 0, "correct": wrong});
    let (status, taken, _) = server.post("/v1/tasks/letters/feedback", &said);
    assert_eq!((status, taken["feedback"].as_u64()), (200, Some(1)));
    let learnt = &one(&server, 1)["how"]["feedback"];
    assert_eq!(learnt["rows"], 1, "it takes part at once");
    desk.ok(&["feedback", "task.toml", "withdraw", "--batch", "1"]);
    until(|| one(&server, 1)["how"]["feedback"].is_null());
}

#[test]
fn examples_teach_while_requests_go_on() {
    let desk = desk();
    let server = start(&desk);
    let example = |n: usize| {
        let answer = if n.is_multiple_of(2) { "x" } else { "y" };
        json!({"record": {"text": format!("{answer}{n}")}, "answer": answer})
    };
    let examples: Vec<Value> = (0..12).map(example).collect();
    let path = "/v1/tasks/letters/examples";
    let (status, added, _) = server.post(path, &json!(examples));
    assert_eq!(
        (status, added["added"].as_u64()),
        (200, Some(12)),
        "{added}"
    );
    until(|| one(&server, 1)["how"]["taught_by"] == 12);
    let told = one(&server, 1);
    assert_eq!(told["how"]["calibration"], "fitted");
    assert!(!told["examples"].as_array().unwrap().is_empty());
    assert_eq!(server.get("/v1/tasks/letters")["examples"], 12);
}

#[test]
fn what_cannot_be_served_is_refused() {
    let desk = desk();
    let model = fixture("tiny-llama.gguf");
    let args = ["serve", "--listen", "127.0.0.1:0", "-m", &model, "-t"];
    let twice = [&args[..], &["task.toml", "-t", "task.toml"]].concat();
    let (_, said) = desk.fails(&twice);
    assert!(said.contains("two tasks are called letters"), "{said}");
    let (_, said) = desk.fails(&[&args[..], &["none.toml"]].concat());
    assert!(said.contains("there is no task file none.toml"), "{said}");
    let unready = desk.read("task.toml").replace(&model, "gone.gguf");
    desk.write("unready.toml", unready);
    let (code, said) = desk.fails(&[&args[..], &["unready.toml"]].concat());
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("cannot be worked on"), "{said}");
    let server = start(&desk);
    let body = json!({"record": record(1), "strategy": 5});
    let (status, told, _) = server.post(RUN, &body);
    assert_eq!(status, 404);
    assert_eq!(told["error"]["message"], "there is no strategy 5");
}

/// Waits for what happens beside the requests.
fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(50));
    }
}
