//! The endpoints beside conversations, and what all of them share.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use autoglm_server::{AdmissionLimits, Settings, TimeLimits};
use serde_json::{Value, json};
use support::{Running, Scripted, start};

fn server(answer: &str) -> (Arc<Scripted>, Running) {
    let model = Arc::new(Scripted::answering(answer));
    let running = start(Arc::clone(&model), Settings::default());
    (model, running)
}

fn chat() -> Value {
    json!({"messages": [{"role": "user", "content": "go"}]})
}

#[test]
fn prompts_are_continued_as_texts_and_as_tokens() {
    let (model, server) = server("cd");
    let body = json!({"prompt": ["ab", [97, 98]], "n": 2, "echo": true, "max_tokens": 1});
    let answer = server.post("/v1/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let texts: Vec<&str> = answer.body["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["abc", "abc", "abc", "abc"]);
    assert_eq!(answer.body["usage"]["prompt_tokens"], 4);
    assert_eq!(answer.body["usage"]["completion_tokens"], 4);
    let prompts: Vec<_> = model
        .requests
        .lock()
        .unwrap()
        .iter()
        .map(|request| request.prompt.clone())
        .collect();
    assert_eq!(prompts[0], prompts[3]);
}

#[test]
fn pieces_of_a_completion_add_up_with_their_probabilities() {
    let (_, server) = server("甲乙");
    let body = json!({"prompt": "x", "stream": true, "logprobs": 2, "max_tokens": 9});
    let chunks = server.chunks("/v1/completions", &body);
    let choices = chunks.iter().map(|chunk| &chunk["choices"][0]);
    let text: String = choices.clone().filter_map(|c| c["text"].as_str()).collect();
    assert_eq!(text, "甲乙");
    let offsets: Vec<u64> = choices
        .filter_map(|choice| choice["logprobs"]["text_offset"][0].as_u64())
        .collect();
    assert_eq!(offsets, [0, 1]);
    let whole = json!({"prompt": "x", "logprobs": 2, "max_tokens": 9});
    let whole = server.post("/v1/completions", &whole);
    let logprobs = &whole.body["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["甲", "乙"]));
    assert_eq!(logprobs["text_offset"], json!([0, 1]));
}

#[test]
fn vectors_come_as_numbers_or_in_base64() {
    let (_, server) = server("x");
    let body = json!({"model": "vowels", "input": ["aab", "b"]});
    let answer = server.post("/v1/embeddings", &body);
    assert_eq!(answer.body["data"][1]["embedding"], json!([0.0, 1.0]));
    assert_eq!(answer.body["usage"]["prompt_tokens"], 4);
    let coded = json!({"input": "b", "encoding_format": "base64"});
    let answer = server.post("/v1/embeddings", &coded);
    assert_eq!(answer.body["data"][0]["embedding"], "AAAAAAAAgD8=");
    let wrong = server.post("/v1/embeddings", &json!({"input": "b", "dimensions": 7}));
    assert_eq!(wrong.body["error"]["param"], "dimensions");
    let writer = server.post(
        "/v1/embeddings",
        &json!({"input": "b", "model": "scripted"}),
    );
    assert_eq!(writer.status, 400);
}

#[test]
fn documents_are_ordered_by_either_kind_of_model() {
    let (_, server) = server("x");
    let documents = json!(["bbbb", {"text": "Paris is aeae"}, "aaaa"]);
    let ask = |model: &str| {
        let body = json!({"model": model, "query": "aa", "documents": documents, "top_n": 2,
                          "return_documents": true});
        let answer = server.post("/v1/rerank", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["results"].clone()
    };
    assert_eq!(ask("vowels")[0]["index"], 2);
    let by_answers = ask("scripted");
    assert_eq!(by_answers[0]["index"], 1);
    assert_eq!(by_answers[0]["document"]["text"], "Paris is aeae");
    assert_eq!(by_answers.as_array().unwrap().len(), 2);
}

#[test]
fn tokens_go_there_and_back() {
    let (_, server) = server("x");
    let tokens = server.post("/tokenize", &json!({"prompt": "é!"})).body;
    assert_eq!(tokens["tokens"], json!([233, 33]));
    let text = server
        .post("/detokenize", &json!({"tokens": [233, 33]}))
        .body;
    assert_eq!(text["prompt"], "é!");
}

#[test]
fn models_are_listed() {
    let (_, server) = server("x");
    let list = server.get("/v1/models").body;
    assert_eq!(list["data"][0]["id"], "scripted");
    assert_eq!(list["data"][1]["capability"], "embed");
    assert_eq!(server.get("/v1/models/vowels").body["id"], "vowels");
    assert_eq!(server.get("/v1/models/none").status, 404);
}

#[test]
fn the_same_answer_is_given_again_only_where_it_must_be_the_same() {
    let (model, server) = server("first");
    let ask = |more: Value| {
        let mut body = chat();
        let fields = body.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        let answer = server.post("/v1/chat/completions", &body);
        let origin = answer
            .headers
            .iter()
            .find(|(name, _)| name == "x-autoglm-cache");
        let text = answer.body["choices"][0]["message"]["content"].clone();
        (text, origin.unwrap().1.clone())
    };
    let was = |text: &str, origin: &str| (json!(text), origin.to_owned());
    assert_eq!(ask(json!({"temperature": 0})), was("first", "miss"));
    model.answer_now("second");
    assert_eq!(ask(json!({"temperature": 0})), was("first", "hit"));
    assert_eq!(ask(json!({"seed": 1})), was("second", "miss"));
    model.answer_now("third");
    assert_eq!(ask(json!({"seed": 1})), was("second", "hit"));
    assert_eq!(ask(json!({})), was("third", "miss"));
    model.answer_now("fourth");
    assert_eq!(ask(json!({})), was("fourth", "miss"));
    let streamed = json!({"messages": chat()["messages"], "temperature": 0, "stream": true});
    let chunks = server.chunks("/v1/chat/completions", &streamed);
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "first");
}

/// A server whose model answers until it is told to stop.
fn endless(settings: Settings) -> (Arc<Scripted>, Running) {
    let model = Arc::new(Scripted {
        endless: true,
        pace: Duration::from_millis(1),
        ..Scripted::answering("")
    });
    let running = start(Arc::clone(&model), settings);
    (model, running)
}

fn long() -> Value {
    json!({"messages": [{"role": "user", "content": "go"}], "max_tokens": 1_000_000_000})
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_leaves_stops_its_work() {
    let (model, server) = endless(Settings::default());
    for stream in [false, true] {
        let before = model.cancelled.load(Ordering::Relaxed);
        let mut body = long();
        body["stream"] = stream.into();
        let mut connection = server.connect();
        server.send(&mut connection, "/v1/chat/completions", &body);
        until("begun", || server.app().occupancy().running == 1);
        drop(connection);
        until("stopped", || {
            model.cancelled.load(Ordering::Relaxed) == before + 1
        });
        until("free", || server.app().occupancy().running == 0);
    }
}

#[test]
fn a_client_that_never_reads_is_cut_off_and_holds_nobody_up() {
    let settings = Settings {
        times: TimeLimits {
            unread: Duration::from_millis(200),
            ..TimeLimits::default()
        },
        ..Settings::default()
    };
    let model = Arc::new(Scripted {
        endless: true,
        ..Scripted::answering("")
    });
    let server = start(Arc::clone(&model), settings);
    let mut body = long();
    body["stream"] = true.into();
    let mut connection = server.connect();
    server.send(&mut connection, "/v1/chat/completions", &body);
    until("cut off", || model.cancelled.load(Ordering::Relaxed) == 1);
    assert_eq!(server.get("/health/live").status, 200);
}

#[test]
fn a_request_that_takes_too_long_is_ended() {
    let settings = Settings {
        times: TimeLimits {
            request: Duration::from_millis(300),
            ..TimeLimits::default()
        },
        ..Settings::default()
    };
    let (model, server) = endless(settings);
    let answer = server.post("/v1/chat/completions", &long());
    assert_eq!(answer.status, 504);
    assert_eq!(answer.body["error"]["code"], "deadline_exceeded");
    until("stopped", || model.cancelled.load(Ordering::Relaxed) == 1);
    let mut streamed = long();
    streamed["stream"] = true.into();
    let events = server.events("/v1/chat/completions", &streamed);
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "deadline_exceeded");
}

#[test]
fn waiting_for_a_turn_is_a_part_of_the_time_of_a_request() {
    let settings = Settings {
        admission: AdmissionLimits {
            running: 1,
            waiting: 8,
        },
        times: TimeLimits {
            request: Duration::from_millis(200),
            ..TimeLimits::default()
        },
        ..Settings::default()
    };
    let model = Arc::new(Scripted::answering("x"));
    let server = start(Arc::clone(&model), settings);
    // The model cannot answer while this is held, and keeps its turn.
    let held = model.answer.lock().unwrap();
    let mut connection = server.connect();
    server.send(&mut connection, "/v1/chat/completions", &chat());
    until("begun", || server.app().occupancy().running == 1);
    for (path, body) in [
        ("/v1/chat/completions", chat()),
        ("/v1/embeddings", json!({"input": "a"})),
        ("/v1/rerank", json!({"query": "a", "documents": ["b"]})),
    ] {
        let answer = server.post(path, &body);
        assert_eq!(answer.status, 504, "{path}: {}", answer.body);
    }
    drop(held);
    until("ended", || server.app().occupancy().running == 0);
}

#[test]
fn beyond_the_queue_clients_are_told_when_to_come_back() {
    let settings = Settings {
        admission: AdmissionLimits {
            running: 1,
            waiting: 0,
        },
        ..Settings::default()
    };
    let (_, server) = endless(settings);
    let mut connection = server.connect();
    server.send(&mut connection, "/v1/chat/completions", &long());
    until("begun", || server.app().occupancy().running == 1);
    let refused = server.post("/v1/chat/completions", &chat());
    assert_eq!(refused.status, 429);
    let wait = refused
        .headers
        .iter()
        .find(|(name, _)| name == "retry-after");
    assert!(wait.unwrap().1.parse::<u64>().unwrap() >= 1);
}

#[test]
fn a_server_that_stops_is_not_ready_and_ends_what_it_has_begun() {
    let model = Arc::new(Scripted {
        pace: Duration::from_millis(20),
        ..Scripted::answering("0123456789")
    });
    let mut server = start(model, Settings::default());
    assert_eq!(server.get("/health/ready").status, 200);
    let address = server.url("/v1/chat/completions");
    let asked = std::thread::spawn(move || {
        let mut answer = ureq::post(address).send(chat().to_string()).unwrap();
        answer.body_mut().read_to_string().unwrap()
    });
    until("begun", || server.app().occupancy().running == 1);
    server.stop();
    assert!(asked.join().unwrap().contains("0123456789"));
    assert!(std::net::TcpStream::connect(server.address).is_err());
}
