//! The default models, where they were fetched: what the first command of the README does.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod support;

use std::path::Path;

use autoglm_model::GgufFile;
use autoglm_token::{Specials, Tokenizer};
use serde_json::{Value, json};

use support::{Desk, default_model};

const GEMMA: &str = "gemma-3-270m-q4_k_m";
const SMOLLM2: &str = "smollm2-135m-instruct-q4_1";

fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
        .to_str()
        .unwrap()
        .to_owned()
}

/// Token ids that llama.cpp gives (`tools/reference/tokenizer_golden.py`).
#[track_caller]
fn check_tokens(model: &str, golden: &str) {
    let Some(path) = default_model(model) else {
        return;
    };
    let file = GgufFile::open(path.as_ref()).unwrap();
    let tokenizer = Tokenizer::new(file.vocabulary().unwrap()).unwrap();
    let golden = repository(&format!("crates/autoglm/tests/golden/{golden}"));
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 50);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        assert_eq!(
            json!(tokenizer.encode(text, Specials::AsText)),
            case["ids"],
            "{text:?}"
        );
    }
}

#[test]
fn gemma_text_is_cut_into_the_tokens_of_llama_cpp() {
    check_tokens(GEMMA, "tokenizer_gemma.json");
}

#[test]
fn smollm2_text_is_cut_into_the_tokens_of_llama_cpp() {
    check_tokens(SMOLLM2, "tokenizer_smollm2.json");
}

/// Accuracy of an example task on its own records.
fn accuracy(folder: &str) -> Option<f64> {
    let model = default_model(GEMMA)?;
    let task = repository(&format!("examples/{folder}/task.toml"));
    let data = repository(&format!("examples/{folder}/reviews.jsonl"));
    let report = Desk::new().json(&["eval", &task, "--data", &data, "--model", &model, "--json"]);
    report["quality"]["scores"]["accuracy"].as_f64()
}

#[test]
fn the_example_reviews_are_answered_far_better_than_by_chance() {
    for folder in ["reviews", "reviews-zh"] {
        // Forty records, two labels: 0.7 is two and a half standard deviations above chance.
        if let Some(accuracy) = accuracy(folder) {
            assert!(accuracy >= 0.7, "{folder}: {accuracy}");
        }
    }
}

#[test]
fn extracted_contacts_satisfy_their_schema() {
    let Some(model) = default_model(SMOLLM2) else {
        return;
    };
    let task = repository("examples/contacts/task.toml");
    let input = repository("examples/contacts/messages.jsonl");
    let args = [
        "run", &task, "--input", &input, "--model", &model, "--limit", "3", "--json",
    ];
    let rows = Desk::new().ok(&args);
    assert_eq!(rows.lines().count(), 3);
    for row in rows.lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        assert!(row["answer"].is_object(), "{row}");
    }
}
