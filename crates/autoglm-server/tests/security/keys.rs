//! Keys: who is let in, to what, and how often.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use autoglm_server::{
    Credential, KeyEntry, KeyLimits, Keys, NewKey, Reload, Scope, add_key, follow, remove_key,
};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, Client, get, post, with_key, word_stream, words};
use crate::server::{Server, Setup, clock, now};

/// A file of keys, and the keys.
struct KeyFile {
    folder: TempDir,
}

impl KeyFile {
    fn new() -> Self {
        let file = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        file.write("");
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.toml")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }

    /// Adds a key, whose text is given.
    fn add(&self, id: &str, change: impl FnOnce(&mut KeyEntry)) -> String {
        let random = [id.len() as u8; 32];
        let mut random = random;
        random[..id.len()].copy_from_slice(id.as_bytes());
        let key = NewKey::of(random);
        let mut entry = KeyEntry {
            id: id.to_owned(),
            credential: Credential::Key(key.hash()),
            scopes: vec![Scope::Models],
            models: None,
            collections: None,
            limits: KeyLimits::default(),
            expires: None,
        };
        change(&mut entry);
        self.write(&add_key(&self.text(), &entry).unwrap());
        key.reveal().to_owned()
    }
}

async fn ask(server: &Server, request: Request<Body>) -> Answer {
    let mut client = Client::plain(server.address).await;
    client.ask(request).await.unwrap()
}

fn error(answer: &Answer) -> Value {
    answer.json()["error"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lets_in_by_either_header_and_nothing_else_does() {
    let file = KeyFile::new();
    let key = file.add("a", |_| ());
    let over = file.add("over", |entry| entry.expires = Some(now()));
    let server = Server::start(Setup::with_keys(&file.path()));
    let answer = ask(&server, with_key(get("/v1/models"), &key)).await;
    assert_eq!(answer.status, 200);
    let mut plain = get("/v1/models");
    plain
        .headers_mut()
        .insert("x-api-key", key.parse().unwrap());
    assert_eq!(ask(&server, plain).await.status, 200);
    let mut cases = vec![get("/v1/models"), get("/nothing"), words("a", 1)];
    cases.extend(["", "ag-", "ag-0", &over, &key[1..]].map(|key| with_key(get("/v1/models"), key)));
    for request in cases {
        let what = format!("{request:?}");
        let answer = ask(&server, request).await;
        assert_eq!(answer.status, 401, "{what}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let error = error(&answer);
        assert_eq!(error["code"], "invalid_api_key", "{what}");
        assert_eq!(error["type"], "invalid_request_error", "{what}");
        assert!(!answer.text.contains(&over[3..]), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_without_a_key_and_a_path_that_is_none_with_one() {
    let file = KeyFile::new();
    let key = file.add("a", |_| ());
    let server = Server::start(Setup::with_keys(&file.path()));
    assert_eq!(ask(&server, get("/health/live")).await.status, 200);
    assert_eq!(ask(&server, get("/health/ready")).await.status, 200);
    let answer = ask(&server, with_key(get("/nothing"), &key)).await;
    assert_eq!(answer.status, 404);
    let answer = ask(&server, with_key(get("/v1/completions"), &key)).await;
    assert_eq!(answer.status, 405);
    assert_eq!(ask(&server, get("/v1/completions")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_its_scopes() {
    let file = KeyFile::new();
    let key = file.add("watch", |entry| entry.scopes = vec![Scope::Metrics]);
    let server = Server::start(Setup::with_keys(&file.path()));
    let answer = ask(&server, with_key(words("a", 1), &key)).await;
    assert_eq!(answer.status, 403);
    assert_eq!(error(&answer)["code"], "insufficient_permissions");
    let message = error(&answer)["message"].to_string();
    assert!(
        message.contains("watch") && message.contains("models"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_its_models() {
    let file = KeyFile::new();
    let one = file.add("one", |entry| entry.models = Some(vec!["other".to_owned()]));
    let two = file.add("two", |entry| {
        entry.models = Some(vec!["other".to_owned(), "tiny".to_owned()]);
    });
    let server = Server::start(Setup::with_keys(&file.path()));
    let request = |model: Value| post("/v1/completions", &json!({"prompt": "a", "model": model}));
    let answer = ask(&server, with_key(request(json!("other")), &one)).await;
    assert_eq!(answer.status, 200);
    let answer = ask(&server, with_key(request(json!("tiny")), &one)).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    let answer = ask(&server, with_key(words("a", 1), &one)).await;
    assert_eq!(answer.json()["model"], "other", "the only one is meant");
    let answer = ask(&server, with_key(words("a", 1), &two)).await;
    assert_eq!(answer.status, 400, "of two one is to be named");
    let answer = ask(&server, with_key(get("/v1/models"), &one)).await;
    let models = answer.json()["data"].as_array().unwrap().len();
    assert_eq!(models, 1);
    let answer = ask(&server, with_key(get("/v1/models/tiny"), &one)).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_on_connections_that_are_open_and_others_go_on() {
    let file = KeyFile::new();
    let (gone, kept) = (file.add("gone", |_| ()), file.add("kept", |_| ()));
    let keys = Keys::open(&file.path(), clock()).unwrap();
    let server = Server::start(Setup {
        keys: Some(keys.clone()),
        ..Setup::default()
    });
    let mut client = Client::plain(server.address).await;
    let mut status = async |key: &str| {
        let request = with_key(get("/v1/models"), key);
        client.ask(request).await.unwrap().status
    };
    assert_eq!((status(&gone).await, status(&kept).await), (200, 200));
    file.write(&remove_key(&file.text(), "gone").unwrap());
    assert_eq!(keys.reload().unwrap(), Reload::Changed);
    assert_eq!((status(&gone).await, status(&kept).await), (401, 200));
    let whole = file.text();
    file.write("[[key]]\nid = ");
    assert!(keys.reload().is_err());
    assert_eq!(keys.reload().unwrap(), Reload::Unchanged);
    assert_eq!(status(&kept).await, 200, "a broken file keeps the old keys");
    file.write(&whole);
    assert_eq!(keys.reload().unwrap(), Reload::Changed);
    assert_eq!(status(&kept).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_followed_and_each_change_is_told_once() {
    let file = KeyFile::new();
    let keys = Keys::open(&file.path(), clock()).unwrap();
    let (sender, told) = mpsc::channel();
    let following = follow(
        Duration::from_millis(1),
        move || keys.reload(),
        move |change| sender.send(change.is_ok()).unwrap(),
    );
    let following = tokio::spawn(following);
    let next = || told.recv_timeout(Duration::from_secs(20));
    file.add("a", |_| ());
    // A file that is seen half written is told as well; what counts is the end.
    while next() != Ok(true) {}
    file.write("broken");
    while next() != Ok(false) {}
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(told.try_recv().is_err(), "the same is not told again");
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_a_minutes_are_refused_with_a_time_and_what_is_left_is_told() {
    let file = KeyFile::new();
    let key = file.add("a", |entry| {
        entry.limits.requests_per_minute = 2.try_into().ok();
    });
    let free = file.add("b", |_| ());
    let server = Server::start(Setup::with_keys(&file.path()));
    let first = ask(&server, with_key(get("/v1/models"), &key)).await;
    assert_eq!(first.header("x-ratelimit-limit-requests"), "2");
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "1");
    assert!(first.header("x-ratelimit-reset-requests").ends_with('s'));
    ask(&server, with_key(get("/v1/models"), &key)).await;
    let answer = ask(&server, with_key(get("/v1/models"), &key)).await;
    assert_eq!(answer.status, 429);
    assert_eq!(error(&answer)["code"], "rate_limit_exceeded");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), "0");
    let other = ask(&server, with_key(get("/v1/models"), &free)).await;
    assert_eq!(other.status, 200);
    assert_eq!(other.header("x-ratelimit-limit-requests"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_put_down_whether_the_answer_comes_whole_or_in_pieces() {
    let file = KeyFile::new();
    let key = file.add("a", |entry| {
        entry.limits.tokens_per_minute = 100.try_into().ok();
    });
    let server = Server::start(Setup::with_keys(&file.path()));
    let left = async |request| {
        ask(&server, with_key(request, &key)).await;
        let answer = ask(&server, with_key(get("/v1/models"), &key)).await;
        let left = answer.header("x-ratelimit-remaining-tokens");
        left.parse::<i64>().unwrap_or(-1)
    };
    // Of 100, 21 a request; a second gives 1.7 back.
    let whole = left(words("a", 20)).await;
    assert!((79..=89).contains(&whole), "{whole}");
    let streamed = left(word_stream("a", 20)).await;
    assert!((58..=74).contains(&streamed), "{streamed}");
    left(words("a", 200)).await;
    let answer = ask(&server, with_key(words("a", 1), &key)).await;
    assert_eq!(answer.status, 429);
    assert!(
        error(&answer)["message"]
            .to_string()
            .contains("tokens a minute")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_count_until_their_streams_end() {
    let file = KeyFile::new();
    let key = file.add("a", |entry| {
        entry.limits.concurrent_requests = 1.try_into().ok();
    });
    let server = Server::start(Setup::with_keys(&file.path()));
    let address = server.address;
    let held = with_key(word_stream("hold", 3), &key);
    let streaming = tokio::spawn(async move { Client::plain(address).await.ask(held).await });
    server.model.held(1).await;
    let answer = ask(&server, with_key(words("a", 1), &key)).await;
    assert_eq!(answer.status, 429, "{}", answer.text);
    assert!(error(&answer)["message"].to_string().contains("at once"));
    server.model.go_on();
    let streamed = streaming.await.unwrap().unwrap();
    assert!(
        streamed.text.ends_with("data: [DONE]\n\n"),
        "{}",
        streamed.text
    );
    // The end of the stream is noticed a moment after the client has it.
    for _ in 0..1_000 {
        if ask(&server, with_key(words("a", 1), &key)).await.status == 200 {
            return;
        }
    }
    panic!("the place never came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_this_machine_may_ask_and_pages_of_other_sites_may_not() {
    let server = Server::start(Setup::default());
    assert_eq!(ask(&server, get("/v1/models")).await.status, 200);
    let from = |header: &'static str, value: &str| {
        let mut request = get("/v1/models");
        request.headers_mut().insert(header, value.parse().unwrap());
        request
    };
    let own = format!("http://localhost:{}", server.address.port());
    assert_eq!(ask(&server, from("origin", &own)).await.status, 200);
    for request in [
        from("host", "rebound.example:8080"),
        from("origin", "https://evil.example"),
        from("origin", "null"),
    ] {
        let answer = ask(&server, request).await;
        assert_eq!(answer.status, 403, "{}", answer.text);
    }
}
