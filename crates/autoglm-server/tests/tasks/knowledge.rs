//! Tasks whose records bring passages of documents.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use autoglm_server::{
    App, Credential, Guard, KeyEntry, KeyLimits, Keys, NewKey, Scope, WallClock, add_key, guarded,
};
use serde_json::{Value, json};

use super::desk::Desk;
use super::support::{Running, Scripted, start_guarded};
use super::{reviews, run, server};

#[test]
fn an_answer_tells_the_passages_of_its_record_where_the_task_has_documents() {
    let (_, server) = server();
    let passages = json!([{"number": 1, "titles": ["Lakes"], "text": "West Lake is in Hangzhou."}]);
    let record = json!({"sender": "Li", "letter": "I see West Lake.", "knowledge": passages});
    let body = json!({"record": record, "explain": true});
    let answer = server.post("/v1/tasks/places/run", &body).body;
    assert_eq!(answer["knowledge"], passages, "{answer}");
    let prompt = answer["explain"]["prompt"].as_str().unwrap();
    assert!(prompt.contains("Document [1]"), "{prompt}");
    let plain = run(
        &server,
        &json!({"record": {"text": "好", "knowledge": passages}}),
    );
    assert!(plain["knowledge"].is_null(), "{plain}");
}

/// A server with keys: for all collections, for another one alone, and for tasks but no documents.
fn with_keys(file: &std::path::Path) -> (Running, [String; 3]) {
    let mut text = String::new();
    let mut add = |id: &str, scopes: &[Scope], collections: Option<Vec<String>>| {
        let mut random = [1; 32];
        random[..id.len()].copy_from_slice(id.as_bytes());
        let key = NewKey::of(random);
        let entry = KeyEntry {
            id: id.to_owned(),
            credential: Credential::Key(key.hash()),
            scopes: scopes.to_vec(),
            models: None,
            collections,
            limits: KeyLimits::default(),
            expires: None,
        };
        text = add_key(&text, &entry).unwrap();
        key.reveal().to_owned()
    };
    let both = [Scope::Tasks, Scope::Knowledge];
    let keys = [
        add("all", &both, None),
        add("other", &both, Some(vec!["manual".to_owned()])),
        add("tasks", &[Scope::Tasks], None),
    ];
    std::fs::write(file, &text).unwrap();
    let now: WallClock = Arc::new(|| UNIX_EPOCH);
    let held = Keys::open(file, now).unwrap();
    let guard = Guard::new("127.0.0.1:1".parse().unwrap(), Some(held), None).unwrap();
    let desk = Desk::new(Duration::ZERO);
    let model = Arc::new(Scripted::answering("x"));
    let equip = |app: App| app.with_tasks(desk);
    let server = start_guarded(model, equip, |app| guarded(app, guard));
    (server, keys)
}

#[test]
fn a_key_that_may_not_read_a_collection_may_not_run_a_task_that_tells_its_passages() {
    let folder = tempfile::tempdir().unwrap();
    let (server, keys) = with_keys(&folder.path().join("keys.toml"));
    let letter = json!({"record": {"sender": "Li", "letter": "I see West Lake."}});
    let review = json!({"record": {"text": "好"}});
    let status = |path: &str, body: &Value, key| server.post_with_key(path, body, key).status;
    let with = |key| status("/v1/tasks/places/run", &letter, key);
    let without = |key| status(&reviews("/run"), &review, key);
    let [all, other, tasks] = &keys;
    assert_eq!((with(all), with(other), with(tasks)), (200, 403, 403));
    assert_eq!(
        (without(all), without(other), without(tasks)),
        (200, 200, 200)
    );
    // Neither what was answered from it.
    for path in ["report?format=json", "runs/1"] {
        let path = format!("/v1/tasks/places/{path}");
        let told = |key: &String| server.get_with_key(&path, key).status;
        assert_eq!(
            (told(all), told(other), told(tasks)),
            (200, 403, 403),
            "{path}"
        );
    }
}
