//! Versions of a model take each other's place while requests go on.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "a test may panic, that is how it fails"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use autoglm_server::{Loaded, Loader, ServerError, Skill};
use serde_json::{Value, json};
use support::{Running, Scripted, start_loading};

const UPDATE: &str = "/admin/models/scripted/update";

/// A server whose loader knows these versions by their answers; of others it says that they are
/// broken.
fn server(versions: Vec<(&'static str, Arc<Scripted>)>) -> Running {
    let loader: Arc<Loader> = Arc::new(move |source: &str| {
        let found = versions.iter().find(|(name, _)| *name == source);
        let (name, version) = found.ok_or_else(|| ServerError::CannotLoad {
            why: format!("{source} is damaged"),
        })?;
        Ok(Loaded {
            identity: (*name).to_owned(),
            content: (*name).to_owned(),
            skill: Skill::Write(Arc::clone(version) as Arc<_>),
        })
    });
    start_loading(Arc::new(Scripted::answering("aaaaaaaa")), loader)
}

fn chat(server: &Running) -> (String, String) {
    let body = json!({"messages": [{"role": "user", "content": "go"}]});
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let content = answer.body["choices"][0]["message"]["content"].as_str();
    let fingerprint = answer.body["system_fingerprint"].as_str();
    (content.unwrap().to_owned(), fingerprint.unwrap().to_owned())
}

fn versions(server: &Running) -> Value {
    server.get("/admin/models").body["models"][0].clone()
}

#[test]
fn fifty_switches_under_load_lose_and_mix_nothing() {
    let paced = |answer: &str| {
        Arc::new(Scripted {
            pace: Duration::from_micros(300),
            ..Scripted::answering(answer)
        })
    };
    let server = server(vec![("b", paced("bbbbbbbb")), ("c", paced("cccccccc"))]);
    let is_over = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    let seen: BTreeSet<(String, String)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (server, is_over, answered) = (&server, &is_over, &answered);
                scope.spawn(move || {
                    let mut seen = BTreeSet::new();
                    while !is_over.load(Ordering::Relaxed) {
                        seen.insert(if client % 2 == 0 {
                            chat(server)
                        } else {
                            streamed(server)
                        });
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    seen
                })
            })
            .collect();
        for turn in 0..50 {
            let source = ["b", "c"][turn % 2];
            let told = server.post(UPDATE, &json!({"source": source, "force": true}));
            assert_eq!(told.status, 200, "{}", told.body);
        }
        is_over.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    assert!(answered.load(Ordering::Relaxed) > 50);
    // Each version's words came under its own fingerprint, whole.
    let texts: BTreeSet<&str> = seen.iter().map(|(text, _)| text.as_str()).collect();
    let fingerprints: BTreeSet<&str> = seen.iter().map(|(_, print)| print.as_str()).collect();
    assert_eq!(seen.len(), texts.len());
    assert_eq!(seen.len(), fingerprints.len());
    let whole = |text: &&str| ["aaaaaaaa", "bbbbbbbb", "cccccccc"].contains(text);
    assert!(texts.iter().all(whole), "{texts:?}");
    assert_eq!(versions(&server)["live"]["version"], 51);
}

/// The text and fingerprint of a streamed answer, whose pieces must agree on the latter.
fn streamed(server: &Running) -> (String, String) {
    let body = json!({"messages": [{"role": "user", "content": "go"}], "stream": true});
    let chunks = server.chunks("/v1/chat/completions", &body);
    let prints: BTreeSet<&str> = chunks
        .iter()
        .map(|chunk| chunk["system_fingerprint"].as_str().unwrap())
        .collect();
    assert_eq!(prints.len(), 1);
    let text = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
    (text.collect(), (*prints.first().unwrap()).to_owned())
}

#[test]
fn a_damaged_version_never_takes_over() {
    let server = server(Vec::new());
    let told = server.post(UPDATE, &json!({"source": "nowhere", "force": true}));
    assert_eq!(told.status, 400, "{}", told.body);
    assert_eq!(told.body["error"]["code"], "unloadable_version");
    assert!(
        told.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("nowhere is damaged")
    );
    assert_eq!(chat(&server).0, "aaaaaaaa");
}

#[test]
fn a_version_that_is_not_healthy_is_refused_with_the_reason() {
    let scripted = |likelihood: f32, pace: u64| {
        Arc::new(Scripted {
            likelihood,
            pace: Duration::from_micros(pace),
            ..Scripted::answering("bbbb")
        })
    };
    let server = server(vec![
        ("numbers that are none", scripted(f32::NAN, 0)),
        ("another", scripted(0.01, 0)),
        ("slow", scripted(0.5, 20_000)),
    ]);
    let check = |source: &str, force: bool, status: u16, reason: &str| {
        let told = server.post(UPDATE, &json!({"source": source, "force": force}));
        assert_eq!(told.status, status, "{}", told.body);
        assert!(told.body.to_string().contains(reason), "{}", told.body);
    };
    check("numbers that are none", false, 409, "numbers that are none");
    check("numbers that are none", true, 409, "numbers that are none");
    check("another", false, 409, "in nats is 2.761");
    check("slow", false, 409, "multiple of the live version's");
    assert_eq!(chat(&server).0, "aaaaaaaa");
    check("another", true, 200, "shift_nats");
    assert_eq!(chat(&server).0, "bbbb");
}

#[test]
fn a_canary_answers_its_share_until_it_is_promoted_or_rolled_back() {
    let server = server(vec![("b", Arc::new(Scripted::answering("b")))]);
    let canary = json!({"source": "b", "mode": "canary", "percent": 30, "force": true});
    let share = || (0..200).filter(|_| chat(&server).0 == "b").count();
    assert_eq!(server.post(UPDATE, &canary).status, 200);
    assert_eq!(share(), 60);
    let rollback = server.post("/admin/models/scripted/rollback", &json!({}));
    assert_eq!(rollback.status, 200);
    assert_eq!(share(), 0);
    server.post(UPDATE, &canary);
    assert_eq!(
        server
            .post("/admin/models/scripted/promote", &json!({}))
            .status,
        200
    );
    assert_eq!(share(), 200);
    server.post("/admin/models/scripted/rollback", &json!({}));
    assert_eq!(share(), 0);
    let nothing_left = server.post("/admin/models/scripted/rollback", &json!({}));
    assert_eq!(nothing_left.status, 409);
}

#[test]
fn a_version_that_fails_gives_its_place_back_by_itself() {
    let broken = Arc::new(Scripted::answering("b"));
    let server = server(vec![("b", Arc::clone(&broken))]);
    server.post(UPDATE, &json!({"source": "b", "force": true}));
    assert_eq!(chat(&server).0, "b");
    broken.failing.store(3, Ordering::Relaxed);
    let body = json!({"messages": [{"role": "user", "content": "go"}]});
    for _ in 0..3 {
        let answer = server.post("/v1/chat/completions", &body);
        assert_eq!(answer.status, 500);
        // What is wrong inside is for the log, not for clients.
        assert!(!answer.body.to_string().contains("broken"));
    }
    assert_eq!(chat(&server).0, "aaaaaaaa");
    let last = versions(&server)["last"].as_str().unwrap().to_owned();
    assert!(last.contains("version 2 failed 3 of"), "{last}");
}

#[test]
fn a_shadow_is_compared_and_never_seen() {
    let other = Arc::new(Scripted::answering("b"));
    let server = server(vec![("b", Arc::clone(&other))]);
    let shadow = json!({"source": "b", "mode": "shadow", "force": true});
    assert_eq!(server.post(UPDATE, &shadow).status, 200);
    let probes = other.requests.lock().unwrap().len();
    assert_eq!(chat(&server).0, "aaaaaaaa");
    let begun = Instant::now();
    while versions(&server)["candidate"]["compared"] != 1 {
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(versions(&server)["candidate"]["same"], 0);
    assert_eq!(other.requests.lock().unwrap().len(), probes + 1);
}

#[test]
fn a_version_that_comes_back_is_not_examined_again() {
    let other = Arc::new(Scripted::answering("b"));
    let server = server(vec![
        ("b", Arc::clone(&other)),
        ("c", Arc::new(Scripted::answering("c"))),
    ]);
    let switch = |source: &str| {
        let told = server.post(UPDATE, &json!({"source": source, "force": true}));
        assert_eq!(told.status, 200, "{}", told.body);
        other.requests.lock().unwrap().len()
    };
    switch("b");
    switch("c");
    let asked = switch("b");
    assert!(asked > 0);
    switch("c");
    assert_eq!(switch("b"), asked);
}
