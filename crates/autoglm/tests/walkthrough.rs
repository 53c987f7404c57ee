//! The walk through the stages in ARCHITECTURE.md, made from the example task and the default
//! model, so that it cannot go stale. `AUTOGLM_BLESS=1` writes it anew.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;

use support::{Desk, default_model};

const BEGIN: &str = "<!-- walkthrough:begin -->\n";
const END: &str = "<!-- walkthrough:end -->";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// One record of the example, stage by stage, as the store tells it.
fn walk(model: &str) -> String {
    let desk = Desk::new();
    let task = repository("examples/reviews-zh/task.toml");
    let input = repository("examples/reviews-zh/reviews.jsonl");
    let (task, input) = (task.to_str().unwrap(), input.to_str().unwrap());
    desk.ok(&[
        "run",
        task,
        "--input",
        input,
        "--model",
        model,
        "--output",
        "answers.jsonl",
    ]);
    let run = desk.json(&["runs", "show", "1", "--json"]);
    let shown = desk.json(&["runs", "show", "1", "--record", "0", "--json"]);
    let row = &shown["row"];
    let later = desk.json(&["runs", "show", "1", "--record", "1", "--json"]);
    let verdict = &row["verdict"];
    let number = |value: &Value| format!("{:.2}", value.as_f64().unwrap());
    let numbers = |value: &Value| {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(number)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let prior = find(&run, "prior").unwrap();
    let told = std::fs::read_to_string(task).unwrap();
    let lines = [
        "**parse** reads the task file (the words alone would do: `autoglm init` writes the rest)"
            .to_owned(),
        fenced("toml", told.split("\n\n[[examples]]").next().unwrap()),
        "**compose** makes the prompt of the first record; all but the last two lines are the \
         same for every record, and computed once"
            .to_owned(),
        fenced("text", shown["prompt"]["Plain"].as_str().unwrap()),
        format!(
            "**run** computes {} (the next record: {}; the rest is shared) and scores the labels \
             among themselves: log-probabilities {} for 正面, 负面, the mean over both orders of \
             the examples",
            computed(&row["usage"]),
            computed(&later["row"]["usage"]),
            numbers(&row["raw"]["logprobs"]),
        ),
        format!(
            "**judge** takes off the model's bias for a label, measured on the file's own records \
             ({} in log-probability), divides by the temperature {} and answers {} with \
             confidence {}",
            numbers(&prior["logprobs"]),
            number(&prior["temperature"]),
            verdict["answer"].as_str().unwrap(),
            number(&verdict["confidence"]),
        ),
        format!(
            "**record** keeps all of it in SQLite under the prompt's hash `{}`; \
             `autoglm runs show 1 --record 0` shows it again",
            row["prompt_hash"].as_str().unwrap(),
        ),
    ];
    lines.join("\n\n") + "\n"
}

/// How many of a prompt's tokens were not in the cache.
fn computed(usage: &Value) -> String {
    let count = |key: &str| usage[key].as_u64().unwrap();
    let prompt = count("prompt_tokens");
    format!("{} of {prompt} tokens", prompt - count("cached_tokens"))
}

fn fenced(kind: &str, text: &str) -> String {
    format!("```{kind}\n{}\n```", text.trim_end())
}

/// The value of a key, wherever it is.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map
            .get(key)
            .or_else(|| map.values().find_map(|v| find(v, key))),
        Value::Array(items) => items.iter().find_map(|v| find(v, key)),
        _ => None,
    }
}

#[test]
fn the_walk_through_the_stages_is_what_the_program_does() {
    let Some(model) = default_model("gemma-3-270m-q4_k_m") else {
        return;
    };
    let page = repository("ARCHITECTURE.md");
    let told = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = told.split_once(BEGIN).unwrap();
    let (walked, after) = rest.split_once(END).unwrap();
    let wanted = walk(&model);
    #[expect(
        clippy::disallowed_methods,
        reason = "asks for the page to be written anew"
    )]
    if std::env::var("AUTOGLM_BLESS").is_ok() {
        std::fs::write(&page, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        return;
    }
    assert!(
        walked == wanted,
        "ARCHITECTURE.md is stale; the walk is now:\n{wanted}"
    );
}
