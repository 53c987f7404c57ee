//! Which versions are live outlives the server.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "a test may panic, that is how it fails"
)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use autoglm_server::{Loaded, Loader, ServerError, ServerStore, Skill, StoreLimits};
use serde_json::{Value, json};
use support::{Running, Scripted, start_equipped};
use tempfile::TempDir;

const MODEL: &str = "/admin/models/scripted";

/// Models as files: what each path holds, which is also what the model answers.
struct Shelf {
    folder: TempDir,
    files: Arc<Mutex<BTreeMap<String, &'static str>>>,
    /// The models that were loaded last, by their answers.
    loaded: Arc<Mutex<BTreeMap<&'static str, Arc<Scripted>>>>,
}

impl Shelf {
    fn with(files: &[(&str, &'static str)]) -> Self {
        let files = files.iter().map(|(path, held)| ((*path).to_owned(), *held));
        Self {
            folder: TempDir::new().unwrap(),
            files: Arc::new(Mutex::new(files.collect())),
            loaded: Arc::default(),
        }
    }

    fn put(&self, path: &str, held: &'static str) {
        self.files.lock().unwrap().insert(path.to_owned(), held);
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("server.db")
    }

    fn loader(&self) -> Arc<Loader> {
        let (files, loaded) = (Arc::clone(&self.files), Arc::clone(&self.loaded));
        Arc::new(move |source: &str| {
            let held = *files.lock().unwrap().get(source).ok_or_else(|| {
                let why = format!("{source} is not there");
                ServerError::CannotLoad { why }
            })?;
            let model = Arc::new(Scripted::answering(held));
            loaded.lock().unwrap().insert(held, Arc::clone(&model));
            Ok(Loaded {
                identity: held.to_owned(),
                content: held.to_owned(),
                skill: Skill::Write(model),
            })
        })
    }

    /// A server whose command line names a model that answers `scripted 1`, and what it says as it
    /// starts.
    fn start(&self) -> (Running, Vec<String>) {
        self.start_with(Arc::new(Scripted::answering("scripted 1")))
    }

    /// The same with this model.
    fn start_with(&self, model: Arc<Scripted>) -> (Running, Vec<String>) {
        let store = ServerStore::open(&self.database(), StoreLimits::default()).unwrap();
        let remarks = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&remarks);
        let loader = self.loader();
        let server = start_equipped(model, move |app| {
            let app = app.remembering(store).loading(loader);
            *said.lock().unwrap() = app.resume().unwrap();
            app
        });
        let remarks = remarks.lock().unwrap().clone();
        (server, remarks)
    }
}

fn update(server: &Running, more: &Value) -> Value {
    let mut body = json!({"force": true});
    let all = body.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    let answer = server.post(&format!("{MODEL}/update"), &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn act(server: &Running, what: &str) -> u16 {
    server.post(&format!("{MODEL}/{what}"), &json!({})).status
}

fn said(server: &Running) -> String {
    // An answer at temperature 0 might be one that is remembered.
    let body = json!({"messages": [{"role": "user", "content": "go"}], "temperature": 1});
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let text = answer.body["choices"][0]["message"]["content"].as_str();
    text.unwrap().to_owned()
}

fn versions(server: &Running) -> Value {
    server.get("/admin/models").body["models"][0].clone()
}

#[test]
fn the_version_that_was_live_goes_on_and_can_still_be_rolled_back() {
    let shelf = Shelf::with(&[("b.gguf", "b")]);
    let (server, remarks) = shelf.start();
    assert_eq!(remarks, [""; 0]);
    update(&server, &json!({"source": "b.gguf"}));
    drop(server);
    let (server, remarks) = shelf.start();
    assert_eq!(remarks, ["scripted: version 2 goes on"]);
    assert_eq!(said(&server), "b");
    let told = versions(&server);
    assert_eq!(told["live"]["version"], 2);
    assert_eq!(told["live"]["source"], "b.gguf");
    assert_eq!(told["previous"]["version"], 1);
    assert_eq!(act(&server, "rollback"), 200);
    assert_eq!(said(&server), "scripted 1");
    drop(server);
    // That holds over a restart, too.
    let (server, remarks) = shelf.start();
    assert_eq!(remarks, [""; 0]);
    assert_eq!(said(&server), "scripted 1");
    assert_eq!(act(&server, "rollback"), 409);
    // Numbers are not given twice.
    let told = update(&server, &json!({"source": "b.gguf"}));
    assert_eq!(told["live"]["version"], 3);
}

#[test]
fn a_file_that_has_changed_is_refused_and_the_given_model_stays() {
    let shelf = Shelf::with(&[("b.gguf", "b")]);
    let (server, _) = shelf.start();
    update(&server, &json!({"source": "b.gguf"}));
    drop(server);
    shelf.put("b.gguf", "something else");
    let (server, remarks) = shelf.start();
    assert!(
        remarks[0].contains("version 2 (b.gguf) is refused: its files are not what they were"),
        "{remarks:?}"
    );
    assert_eq!(said(&server), "scripted 1");
    drop(server);
    // A file that is mended is the version again.
    shelf.put("b.gguf", "b");
    let (server, remarks) = shelf.start();
    assert_eq!(remarks, ["scripted: version 2 goes on"]);
    assert_eq!(said(&server), "b");
}

#[test]
fn a_file_that_is_gone_is_refused() {
    let shelf = Shelf::with(&[("b.gguf", "b")]);
    let (server, _) = shelf.start();
    update(&server, &json!({"source": "b.gguf"}));
    drop(server);
    shelf.files.lock().unwrap().clear();
    let (server, remarks) = shelf.start();
    assert!(remarks[0].contains("b.gguf is not there"), "{remarks:?}");
    assert_eq!(said(&server), "scripted 1");
}

#[test]
fn a_trial_goes_on_with_its_share() {
    let shelf = Shelf::with(&[("b.gguf", "b")]);
    let (server, _) = shelf.start();
    let canary = json!({"source": "b.gguf", "mode": "canary", "percent": 30});
    update(&server, &canary);
    drop(server);
    let (server, remarks) = shelf.start();
    assert_eq!(remarks, ["scripted: the trial of version 2 goes on"]);
    let canaries = (0..100).filter(|_| said(&server) == "b").count();
    assert_eq!(canaries, 30);
    assert_eq!(versions(&server)["candidate"]["mode"]["canary_percent"], 30);
    assert_eq!(act(&server, "promote"), 200);
    drop(server);
    let (server, _) = shelf.start();
    assert_eq!(versions(&server)["live"]["version"], 2);
    update(&server, &json!({"source": "b.gguf", "mode": "shadow"}));
    drop(server);
    let (server, _) = shelf.start();
    assert_eq!(versions(&server)["candidate"]["mode"], "shadow");
    assert_eq!(said(&server), "b");
}

#[test]
fn a_version_that_gave_its_place_back_does_not_return() {
    let shelf = Shelf::with(&[("b.gguf", "b")]);
    let (server, _) = shelf.start();
    update(&server, &json!({"source": "b.gguf"}));
    let broken = Arc::clone(&shelf.loaded.lock().unwrap()["b"]);
    broken.failing.store(3, Ordering::Relaxed);
    let body = json!({"messages": [{"role": "user", "content": "go"}]});
    for _ in 0..3 {
        assert_eq!(server.post("/v1/chat/completions", &body).status, 500);
    }
    assert_eq!(said(&server), "scripted 1");
    drop(server);
    let (server, remarks) = shelf.start();
    assert_eq!(remarks, [""; 0]);
    assert_eq!(said(&server), "scripted 1");
    let last = versions(&server)["last"].as_str().unwrap().to_owned();
    assert!(last.contains("version 2 failed 3 of"), "{last}");
}

#[test]
fn a_record_that_belongs_to_another_model_is_told_and_not_followed() {
    let shelf = Shelf::with(&[("b.gguf", "b")]);
    let (server, _) = shelf.start();
    update(&server, &json!({"source": "b.gguf"}));
    drop(server);
    let database = rusqlite::Connection::open(shelf.database()).unwrap();
    let changed = database.execute(
        "UPDATE versions SET record = replace(record, 'scripted 1', 'scripted 0')",
        [],
    );
    assert_eq!(changed.unwrap(), 1);
    drop(database);
    let (server, remarks) = shelf.start();
    assert!(remarks[0].contains("another model is given"), "{remarks:?}");
    assert_eq!(said(&server), "scripted 1");
    assert_eq!(versions(&server)["live"]["version"], 1);
}

#[test]
fn a_change_that_cannot_be_put_down_is_not_made() {
    let shelf = Shelf::with(&[("b.gguf", "b")]);
    let (server, _) = shelf.start();
    let database = rusqlite::Connection::open(shelf.database()).unwrap();
    database.execute_batch("DROP TABLE versions").unwrap();
    let body = json!({"source": "b.gguf", "force": true});
    let answer = server.post(&format!("{MODEL}/update"), &body);
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(said(&server), "scripted 1");
    assert_eq!(versions(&server)["live"]["version"], 1);
}

#[test]
fn requests_go_on_while_a_change_waits_for_the_disk() {
    let shelf = Shelf::with(&[("b.gguf", "b")]);
    let (server, _) = shelf.start();
    let database = rusqlite::Connection::open(shelf.database()).unwrap();
    // Whoever else wants to write waits.
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            update(&server, &json!({"source": "b.gguf"}));
            is_done.store(true, Ordering::Relaxed);
        });
        let began = Instant::now();
        while !shelf.loaded.lock().unwrap().contains_key("b") {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "nothing is loaded"
            );
            std::thread::yield_now();
        }
        for _ in 0..20 {
            assert_eq!(versions(&server)["live"]["version"], 1);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(
            !is_done.load(Ordering::Relaxed),
            "the disk was not waited for"
        );
        database.execute_batch("COMMIT").unwrap();
    });
    assert_eq!(said(&server), "b");
    assert_eq!(versions(&server)["live"]["version"], 2);
}

#[test]
fn a_model_that_is_given_is_not_examined_for_those_that_come_back() {
    let shelf = Shelf::with(&[("b.gguf", "b"), ("c.gguf", "c")]);
    let (server, _) = shelf.start();
    update(&server, &json!({"source": "b.gguf"}));
    update(&server, &json!({"source": "c.gguf"}));
    drop(server);
    let given = Arc::new(Scripted::answering("scripted 1"));
    let (_server, remarks) = shelf.start_with(Arc::clone(&given));
    assert_eq!(remarks, ["scripted: version 3 goes on"]);
    assert_eq!(given.requests.lock().unwrap().len(), 0);
    // Those are, each for itself.
    for back in ["b", "c"] {
        let model = Arc::clone(&shelf.loaded.lock().unwrap()[back]);
        assert!(!model.requests.lock().unwrap().is_empty(), "{back}");
    }
}
