//! The task API over HTTP.

mod desk;
mod knowledge;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use autoglm_server::{AdmissionLimits, Settings};
use autoglm_spec::{Blame, EngineError};
use autoglm_task::TaskError;
use autoglm_task::store::{RunStatus, Store};
use desk::Desk;
use serde_json::{Value, json};
use support::{Running, start_tasks};

/// The path of the task 评论.
const REVIEWS: &str = "/v1/tasks/%E8%AF%84%E8%AE%BA";

fn server() -> (Arc<Desk>, Running) {
    server_at(Duration::ZERO)
}

fn server_at(pace: Duration) -> (Arc<Desk>, Running) {
    let desk = Desk::new(pace);
    let running = start_tasks(Arc::clone(&desk) as _, Settings::default());
    (desk, running)
}

fn reviews(path: &str) -> String {
    format!("{REVIEWS}{path}")
}

fn run(server: &Running, body: &Value) -> Value {
    let answer = server.post(&reviews("/run"), body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// The status and the message of an answer that refuses.
fn refusal(server: &Running, path: &str, body: &Value) -> (u16, String) {
    let answer = server.post(path, body);
    let message = answer.body["error"]["message"].as_str();
    (answer.status, message.unwrap_or_default().to_owned())
}

#[test]
fn tasks_are_listed_with_what_goes_in_and_what_comes_out() {
    let (_, server) = server();
    let list = server.get("/v1/tasks").body;
    assert_eq!(list["data"][1]["name"], "places");
    let task = server.get(REVIEWS).body;
    assert_eq!(list["data"][0], task);
    assert_eq!(task["instruction"], "判断评论是正面还是负面。");
    assert_eq!(task["fields"], json!([{"name": "text", "title": "评论"}]));
    assert_eq!(task["labels"], json!(["正面", "负面"]));
    assert_eq!(task["output"], json!({"kind": "labels"}));
    assert_eq!(task["live_strategy"], Value::Null);
    assert_eq!(list["data"][1]["output"]["schema"]["type"], "object");
    let none = server.get("/v1/tasks/none");
    assert_eq!(none.status, 404);
    assert_eq!(none.body["error"]["code"], "task_not_found");
}

#[test]
fn a_record_gets_its_answer_and_how_it_was_obtained() {
    let (_, server) = server();
    let answer = run(&server, &json!({"record": {"text": "很好", "id": 7}}));
    assert_eq!(answer["answer"], "正面");
    assert!((answer["confidence"].as_f64().unwrap() - 0.9).abs() < 1e-6);
    assert_eq!(answer["labels"].as_object().unwrap().len(), 2);
    assert_eq!(answer["run"], 1);
    assert_eq!(answer["record"], 0);
    assert_eq!(answer["how"]["model"], "ruler");
    assert_eq!(answer["how"]["calibration"], "none");
    assert_eq!(answer["examples"][0]["answer"], "正面");
    assert_eq!(answer["usage"]["prompt_tokens"], 20, "two orders");
    assert_eq!(answer.get("explain"), None);
    for stage in ["compose", "model", "judge", "record"] {
        assert!(answer["time_ms"][stage].as_f64().unwrap() > 0.0, "{stage}");
    }
    assert_eq!(answer["time_ms"]["feedback"], 0.0);
    let next = run(&server, &json!({"record": {"text": "差"}}));
    assert_eq!((&next["answer"], &next["run"]), (&json!("负面"), &json!(2)));
}

#[test]
fn an_answer_in_json_is_json_and_an_explanation_shows_prompt_and_texts() {
    let (_, server) = server();
    let record = json!({"sender": "Li", "letter": "West Lake is near."});
    let body = json!({"record": record, "explain": true});
    let answer = server.post("/v1/tasks/places/run", &body).body;
    assert_eq!(answer["answer"], json!({"city": "杭州"}));
    let prompt = answer["explain"]["prompt"].as_str().unwrap();
    assert!(prompt.contains("West Lake is near."), "{prompt}");
    assert_eq!(
        answer["explain"]["texts"][0]["text"],
        "{\"city\": \"杭州\"}"
    );
    let scored = json!({"record": {"text": "很好"}, "explain": true});
    let scored = run(&server, &scored);
    let logprob = scored["explain"]["logprobs"]["正面"].as_f64().unwrap();
    assert!((logprob - 0.9_f64.ln()).abs() < 1e-5);
    let prompt = scored["explain"]["prompt"].as_str().unwrap();
    assert!(
        prompt.contains("质量不错") && prompt.contains("很好"),
        "{prompt}"
    );
}

#[test]
fn a_list_and_its_stream_say_the_same() {
    let (_, server) = server();
    let records = json!([{"text": "好"}, {"text": "太长"}, {"text": "好吧"}]);
    let body = json!({"records": records, "min_confidence": 0.8});
    let list = run(&server, &body);
    assert_eq!(list["records"], 3);
    assert_eq!((&list["errors"], &list["withheld"]), (&json!(1), &json!(1)));
    let data = list["data"].as_array().unwrap();
    assert_eq!(data[0]["answer"], "正面");
    let why = data[1]["error"]["message"].as_str().unwrap();
    assert!(why.contains("1000"), "{why}");
    assert_eq!(data[2]["answer"], Value::Null);
    let why = data[2]["withheld"].as_str().unwrap();
    assert!(why.contains("0.8"), "{why}");
    let mut streamed = body;
    streamed["stream"] = true.into();
    let events = server.events(&reviews("/run"), &streamed);
    let events: Vec<Value> = events
        .iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(events.len(), 4);
    for (event, row) in events.iter().zip(data) {
        assert_eq!(event["run"], 2);
        let said = |value: &Value| {
            let mut value = value.clone();
            for own in ["run", "time_ms"] {
                value.as_object_mut().unwrap().remove(own);
            }
            value
        };
        assert_eq!(said(event), said(row));
    }
    assert_eq!(events[3]["object"], "task.run");
    assert_eq!(events[3]["errors"], 1);
}

#[test]
fn a_record_is_answered_alone_as_among_others() {
    let (_, server) = server();
    let texts = ["好", "不行", "好吧", "还行"];
    let records: Vec<Value> = texts.iter().map(|text| json!({"text": text})).collect();
    let list = run(&server, &json!({"records": records}));
    for (record, among) in records.iter().zip(list["data"].as_array().unwrap()) {
        let alone = run(&server, &json!({"record": record}));
        for part in ["answer", "confidence", "labels", "how", "usage"] {
            assert_eq!(alone[part], among[part], "{part} of {record}");
        }
    }
}

#[test]
fn what_a_run_cannot_use_is_named() {
    let (_, server) = server();
    let check = |body: Value, status: u16, wanted: &str| {
        let (given, message) = refusal(&server, &reviews("/run"), &body);
        assert_eq!((given, message.as_str()), (status, wanted), "{body}");
    };
    check(
        json!({"records": [{"text": "a"}, {"txt": "b"}]}),
        400,
        "records[1].text is missing",
    );
    check(json!({"record": {}}), 400, "record.text is missing");
    check(
        json!({"record": "好"}),
        400,
        "record: got a string, want an object",
    );
    check(json!({}), 400, "record is missing");
    check(
        json!({"records": []}),
        400,
        "records: got an empty list, want 1 to 1000 records",
    );
    check(
        json!({"records": vec![json!({"text": "a"}); 1_001]}),
        400,
        "records: got 1001 values, want at most 1000",
    );
    check(
        json!({"record": {"text": "a"}, "records": []}),
        400,
        "records: got a list beside record, want one of the two",
    );
    check(
        json!({"record": {"text": "a"}, "temperature": 1}),
        400,
        "temperature is not supported here",
    );
    check(
        json!({"record": {"text": "a"}, "strategy": "best"}),
        400,
        "strategy: got \"best\", want a strategy's number, or none",
    );
    check(
        json!({"record": {"text": "a"}, "strategy": 9}),
        404,
        "there is no strategy 9",
    );
    let (status, _) = refusal(&server, "/v1/tasks/none/run", &json!({"record": {}}));
    assert_eq!(status, 404);
}

#[test]
fn a_run_that_cannot_begin_has_its_own_status_even_as_a_stream() {
    let (desk, server) = server();
    for stream in [false, true] {
        let source = EngineError::Engine {
            blame: Blame::Capacity,
            source: "no memory".into(),
        };
        *desk.broken.lock().unwrap() = Some(TaskError::Engine { line: 0, source });
        let body = json!({"record": {"text": "好"}, "stream": stream});
        let (status, message) = refusal(&server, &reviews("/run"), &body);
        assert_eq!(status, 503);
        assert!(message.contains("no memory"), "{message}");
    }
}

#[test]
fn strategies_are_promoted_and_taken_back() {
    let (desk, server) = server();
    let first = desk.add_strategy("评论", "评论是好是坏？");
    let path = |end: &str| reviews(&format!("/strategies{end}"));
    let promote = path(&format!("/{first}/promote"));
    assert_eq!(server.post(&path("/rollback"), &json!({})).status, 409);
    let promoted = server.post(&promote, &json!({}));
    assert_eq!(promoted.body["state"], "live", "{}", promoted.body);
    assert_eq!(server.get(REVIEWS).body["live_strategy"], first);
    let ask = |strategy: Value| {
        let body = json!({"record": {"text": "好"}, "explain": true, "strategy": strategy});
        let answer = run(&server, &body);
        let prompt = answer["explain"]["prompt"].as_str().unwrap();
        (
            answer["how"]["strategy"].clone(),
            prompt.contains("是好是坏"),
        )
    };
    assert_eq!(ask(Value::Null), (json!(first), true));
    assert_eq!(ask(json!("none")), (Value::Null, false));
    let list = server.get(&path("")).body;
    assert_eq!(list["data"][0]["changes"], json!(["other words"]));
    let one = server.get(&path(&format!("/{first}"))).body;
    assert_eq!(one, list["data"][0]);
    assert_eq!(server.get(&path("/77")).status, 404);
    assert_eq!(server.get(&path("/x")).status, 400);
    let back = server.post(&path("/rollback"), &json!({}));
    assert_eq!(back.body, json!({"live": null}));
    assert_eq!(ask(Value::Null), (Value::Null, false));
}

#[test]
fn feedback_is_taken_as_a_whole_or_not_at_all() {
    let (_, server) = server();
    run(
        &server,
        &json!({"records": [{"text": "好"}, {"text": "差"}]}),
    );
    let path = reviews("/feedback");
    let one = json!({"run": 1, "record": 0, "correct": "负面", "note": "反话"});
    let taken = server.post(&path, &one);
    assert_eq!(taken.body["taken"], 1, "{}", taken.body);
    let bad = json!([{"run": 1, "record": 1, "good": true}, {"run": 1, "record": 5, "bad": true}]);
    let (status, message) = refusal(&server, &path, &bad);
    assert_eq!(status, 404);
    let start = "[1]: run 1 has no readable record 5";
    assert!(message.starts_with(start), "{message}");
    assert_eq!(server.get(REVIEWS).body["feedback"], 1);
    let both = json!([{"run": 1, "record": 1, "good": true}, {"run": 1, "record": 0, "bad": true}]);
    assert_eq!(server.post(&path, &both).body["feedback"], 3);
    let check = |body: Value, wanted: &str| {
        let (status, message) = refusal(&server, &path, &body);
        assert_eq!((status, message.as_str()), (400, wanted));
    };
    check(json!({"record": 0, "good": true}), "run is missing");
    check(json!({"run": 1, "record": 0}), "correct is missing");
    check(
        json!([{"run": 1, "record": 0, "good": true, "bad": true}]),
        "[0].correct: got more than one judgement, want one of correct, good and bad",
    );
    check(
        json!({"run": 1, "record": 0, "good": false}),
        "good: got false, want true, or no such field",
    );
    check(
        json!({"run": 1, "record": 0, "correct": "中性"}),
        "[0]: \"中性\" is no label of the task, it has 正面, 负面",
    );
}

#[test]
fn examples_come_and_go() {
    let (_, server) = server();
    let path = reviews("/examples");
    let added = server.post(
        &path,
        &json!({"record": {"text": "一般"}, "answer": "负面"}),
    );
    assert_eq!(added.body, json!({"added": 1, "replaced": 0, "known": 0}));
    let more = json!([
        {"record": {"text": "一般"}, "answer": "正面"},
        {"record": {"text": "棒", "id": 3}, "answer": "正面"},
    ]);
    let added = server.post(&path, &more);
    assert_eq!(added.body, json!({"added": 1, "replaced": 1, "known": 0}));
    let list = server.get(&format!("{path}?limit=1")).body;
    assert_eq!(list["data"][0]["answer"], "正面");
    assert_eq!(
        (&list["has_more"], &list["total"]),
        (&json!(true), &json!(2))
    );
    let id = &list["data"][0]["id"];
    let rest = server.get(&format!("{path}?after={id}")).body;
    assert_eq!(rest["data"][0]["record"], json!({"text": "棒"}));
    let gone = server.delete(&format!("{path}/{id}"));
    assert_eq!(gone.body["deleted"], true);
    assert_eq!(server.delete(&format!("{path}/{id}")).status, 404);
    assert_eq!(server.get(REVIEWS).body["examples"], 1);
    let (status, message) = refusal(&server, &path, &json!([{"record": {"text": "x"}}]));
    assert_eq!((status, message.as_str()), (400, "[0].answer is missing"));
    let odd = server.get(&format!("{path}?limit=many"));
    assert_eq!(odd.body["error"]["param"], "limit");
    let odd = server.get(&format!("{path}?page=2"));
    assert_eq!(odd.body["error"]["param"], "page");
}

#[test]
fn the_report_is_a_page_or_its_facts() {
    let (_, server) = server();
    run(
        &server,
        &json!({"records": [{"text": "好"}, {"text": "差"}]}),
    );
    let page = server.get(&reviews("/report"));
    let kind = page.headers.iter().find(|(name, _)| name == "content-type");
    assert_eq!(kind.unwrap().1, "text/html; charset=utf-8");
    assert!(page.body.as_str().unwrap().starts_with("<!DOCTYPE html>"));
    let facts = server.get(&reviews("/report?format=json&run=1")).body;
    assert_eq!(facts["task"]["name"], "评论");
    assert_eq!(facts["run"]["records"], 2);
    assert_eq!(server.get(&reviews("/report?run=9")).status, 404);
    assert_eq!(server.get(&reviews("/report?format=pdf")).status, 400);
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_leaves_stops_its_run() {
    let (desk, server) = server_at(Duration::from_millis(5));
    for stream in [false, true] {
        let records = vec![json!({"text": "好"}); 1_000];
        let body = json!({"records": records, "stream": stream});
        let mut connection = server.connect();
        server.send(&mut connection, &reviews("/run"), &body);
        until("begun", || server.app().occupancy().running == 1);
        drop(connection);
        until("free", || server.app().occupancy().running == 0);
        // It stops in the middle of a window or between two.
        let latest = desk.store().runs().unwrap().remove(0);
        assert_eq!(latest.status, RunStatus::Interrupted);
    }
}

#[test]
fn runs_take_their_turn_like_other_requests() {
    let desk = Desk::new(Duration::from_millis(5));
    let settings = Settings {
        admission: AdmissionLimits {
            running: 1,
            waiting: 0,
        },
        ..Settings::default()
    };
    let server = start_tasks(desk as _, settings);
    let records = vec![json!({"text": "好"}); 1_000];
    let mut connection = server.connect();
    server.send(
        &mut connection,
        &reviews("/run"),
        &json!({"records": records}),
    );
    until("begun", || server.app().occupancy().running == 1);
    let refused = server.post(&reviews("/run"), &json!({"record": {"text": "好"}}));
    assert_eq!(refused.status, 429);
    assert_eq!(server.get("/health/live").status, 200);
}

#[test]
fn a_server_without_tasks_says_so() {
    let model = Arc::new(support::Scripted::answering("x"));
    let server = support::start(model, Settings::default());
    assert_eq!(server.get("/v1/tasks").body["data"], json!([]));
    assert_eq!(server.get(REVIEWS).status, 404);
}

#[test]
fn runs_are_listed_the_latest_first() {
    let (_, server) = server();
    assert_eq!(server.get(&reviews("/runs")).body["total"], 0);
    for text in ["很好", "很差", "一般"] {
        run(&server, &json!({"record": {"text": text}}));
    }
    let list = server.get(&reviews("/runs?limit=2")).body;
    assert_eq!(
        (&list["total"], &list["has_more"]),
        (&json!(3), &json!(true))
    );
    let ids: Vec<i64> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["id"].as_i64().unwrap())
        .collect();
    assert!(ids.len() == 2 && ids[0] > ids[1], "{ids:?}");
    let newest = &list["data"][0];
    assert_eq!(newest["status"], "finished");
    assert_eq!(
        (&newest["records"], &newest["errors"]),
        (&json!(1), &json!(0))
    );
    // What the desk says of records that came in a request.
    assert_eq!(newest["source"], "-");
    assert_eq!(
        (&newest["strategy"], &newest["as_written"]),
        (&Value::Null, &json!(true))
    );
    // The record was asked with the examples in their order and in reverse.
    assert_eq!(newest["usage"]["prompt_tokens"], 20);
    assert!(newest["mean_confidence"].as_f64().unwrap() > 0.5);
    assert_eq!(newest["score"], Value::Null);
    // Another task's runs are its own.
    assert_eq!(server.get("/v1/tasks/places/runs").body["total"], 0);
    assert_eq!(server.get("/v1/tasks/nothing/runs").status, 404);
    // Found by generated requests: a limit that is out of range was another one in silence.
    for limit in ["x", "0", "-1", "1001"] {
        for list in ["/runs", "/runs/1", "/examples"] {
            let answer = server.get(&reviews(&format!("{list}?limit={limit}")));
            assert_eq!(answer.status, 400, "{list} {limit}");
            assert_eq!(answer.body["error"]["param"], "limit");
        }
    }
}

#[test]
fn a_run_is_opened_with_its_records_a_stretch_at_a_time() {
    let (_, server) = server();
    let texts = ["很好", "很差", "好吧", "太长"];
    let records: Vec<Value> = texts.iter().map(|text| json!({"text": text})).collect();
    let id = run(&server, &json!({"records": records}))["run"].clone();
    let opened = |query: &str| server.get(&reviews(&format!("/runs/{id}{query}"))).body;
    let all = opened("");
    assert_eq!((&all["object"], &all["id"]), (&json!("task.run"), &id));
    assert_eq!((&all["records"], &all["errors"]), (&json!(4), &json!(1)));
    assert_eq!(all["has_more"], false);
    let first = &all["data"][0];
    assert_eq!(first["input"], json!([["评论", "很好"]]));
    assert_eq!(first["answer"], "正面");
    assert!(all["data"][3]["error"].is_string());
    let middle = opened("?first=1&limit=2");
    let places: Vec<u64> = middle["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["index"].as_u64().unwrap())
        .collect();
    assert_eq!(places, [1, 2]);
    assert_eq!(middle["has_more"], true);
    let behind = opened("?first=4");
    assert_eq!(
        (&behind["data"], &behind["has_more"]),
        (&json!([]), &json!(false))
    );
    assert_eq!(server.get(&reviews("/runs/99")).status, 404);
    assert_eq!(server.get(&reviews("/runs/x")).status, 400);
    assert_eq!(
        server.get(&reviews(&format!("/runs/{id}?first=-1"))).status,
        400
    );
    // Another task's run is none of this one.
    let foreign = server.get(&format!("/v1/tasks/places/runs/{id}"));
    assert_eq!(foreign.status, 404, "{}", foreign.body);
    let foreign = server.get(&format!("/v1/tasks/places/report?run={id}"));
    assert_eq!(foreign.status, 404, "{}", foreign.body);
}
