//! Answers to questions of the same meaning, where the operator asks for them.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "a test may panic, that is how it fails"
)]

mod support;

use std::path::Path;
use std::sync::Arc;

use autoglm_server::{MeaningSettings, ServerStore, StoreLimits};
use serde_json::{Value, json};
use support::{Running, Scripted, start_equipped};

const ONE: &str = "How do I cancel my order?";
const OTHER: &str = "How can I cancel an order?";

fn server(model: &Arc<Scripted>, error: f64, store: &Path) -> Running {
    let limits = StoreLimits {
        answer_bytes: 0,
        ..StoreLimits::default()
    };
    let store = ServerStore::open(store, limits).unwrap();
    start_equipped(Arc::clone(model), |app| {
        let settings = MeaningSettings {
            error,
            across_clients: false,
        };
        app.remembering(store)
            .answering_by_meaning(settings)
            .unwrap()
    })
}

/// The text of an answer, and where it comes from.
fn ask_with(server: &Running, question: &str, more: &Value) -> (String, String) {
    let mut body = json!({"messages": [{"role": "user", "content": question}], "temperature": 0});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let origin = answer
        .headers
        .iter()
        .find(|(name, _)| name == "x-autoglm-cache");
    let text = answer.body["choices"][0]["message"]["content"].as_str();
    (text.unwrap().to_owned(), origin.unwrap().1.clone())
}

fn ask(server: &Running, question: &str) -> (String, String) {
    ask_with(server, question, &json!({}))
}

/// Asks the same in two ways until both are answered without the model; how often that took.
fn teach(server: &Running) -> usize {
    let mut in_a_row = 0;
    let taught = (1..300).find(|turn| {
        let question = if turn % 2 == 0 { ONE } else { OTHER };
        let is_hit = ask(server, question).1 == "semantic";
        in_a_row = if is_hit { in_a_row + 1 } else { 0 };
        in_a_row == 2
    });
    taught.expect("it is never answered from memory")
}

fn counted(server: &Running, name: &str) -> f64 {
    let text = server.get("/metrics").body;
    let text = text.as_str().unwrap();
    let line = text.lines().find(|line| line.starts_with(name));
    line.map_or(0.0, |line| {
        line.rsplit(' ').next().unwrap().parse().unwrap()
    })
}

#[test]
fn a_question_of_the_same_meaning_is_answered_once_that_was_seen_to_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.db");
    let model = Arc::new(Scripted::answering("Press the button."));
    let running = server(&model, 0.1, &path);
    assert!(teach(&running) > 3, "it was not seen often enough");
    let asked = model.requests.lock().unwrap().len();
    let (text, origin) = ask(&running, "How can I cancel the order?");
    assert_eq!(
        (text.as_str(), origin.as_str()),
        ("Press the button.", "semantic")
    );
    assert_eq!(model.requests.lock().unwrap().len(), asked);
    assert!(
        counted(
            &running,
            "autoglm_response_cache_hits_total{cache=\"semantic\"}"
        ) >= 2.0
    );
    let right = "autoglm_semantic_cache_explored_total{outcome=\"right\"}";
    assert!(counted(&running, right) > 2.0);
    // What was learnt outlives the server.
    drop(running);
    let running = server(&model, 0.1, &path);
    assert_eq!(ask(&running, ONE).1, "semantic");
}

#[test]
fn another_meaning_prompt_or_setting_is_never_answered_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Scripted::answering("Press the button."));
    let server = server(&model, 0.1, &folder.path().join("server.db"));
    teach(&server);
    for question in [
        "How can't I cancel my order?",
        "How do I cancel my 2 orders?",
        "When do I cancel my order?",
    ] {
        assert_eq!(ask(&server, question).1, "miss", "{question}");
    }
    for more in [
        json!({"max_tokens": 50}),
        json!({"stop": ["x"]}),
        json!({"temperature": 1}),
        json!({"temperature": 0.5, "seed": 1}),
        json!({"logprobs": true}),
        json!({"n": 2}),
        json!({"response_format": {"type": "json_object"}}),
        json!({"messages": [{"role": "system", "content": "Be rude."}, {"role": "user", "content": ONE}]}),
    ] {
        assert_eq!(ask_with(&server, ONE, &more).1, "miss", "{more}");
    }
    assert_eq!(ask(&server, ONE).1, "semantic");
}

#[test]
fn answers_that_differ_are_never_taken_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Scripted::answering("1 button"));
    let server = server(&model, 0.05, &folder.path().join("server.db"));
    for turn in 0..60 {
        model.answer_now(&format!("{turn} buttons"));
        let question = if turn % 2 == 0 { ONE } else { OTHER };
        assert_eq!(ask(&server, question).1, "miss", "{turn}");
    }
    let wrong = "autoglm_semantic_cache_explored_total{outcome=\"wrong\"}";
    assert!(counted(&server, wrong) > 50.0);
}

#[test]
fn without_being_asked_for_nothing_is_compared() {
    let model = Arc::new(Scripted::answering("Press the button."));
    let server = start_equipped(Arc::clone(&model), |app| app);
    for _ in 0..40 {
        assert_eq!(ask(&server, ONE).1, "miss");
    }
    assert!(
        counted(
            &server,
            "autoglm_response_cache_misses_total{cache=\"semantic\"}"
        ) < 1.0
    );
}
