//! `/v1/responses` over a real connection.

mod support;

use std::sync::Arc;

use autoglm_server::{Settings, StoreLimits};
use serde_json::{Value, json};
use support::{Running, Scripted, start};

const RESPONSES: &str = "/v1/responses";

fn server(answer: &str) -> (Arc<Scripted>, Running) {
    let model = Arc::new(Scripted::answering(answer));
    let running = start(Arc::clone(&model), Settings::default());
    (model, running)
}

#[test]
fn a_response_has_its_answer_as_an_item() {
    let (_, server) = server("您好");
    let answer = server.post(RESPONSES, &json!({"input": "你好", "temperature": 0.5}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = &answer.body;
    assert_eq!(body["status"], "completed");
    assert_eq!(body["output"][0]["content"][0]["text"], "您好");
    assert_eq!(body["usage"]["input_tokens"], 2);
    assert_eq!(body["usage"]["output_tokens"], 2);
    assert_eq!(body["temperature"], 0.5);
    assert_eq!(body["tool_choice"], "auto");
}

#[test]
fn a_conversation_goes_on_from_what_is_remembered() {
    let (model, server) = server("二");
    let first = server.post(RESPONSES, &json!({"input": "一", "instructions": "数数"}));
    let id = first.body["id"].as_str().unwrap().to_owned();
    let second = json!({"input": "三", "previous_response_id": id});
    assert_eq!(server.post(RESPONSES, &second).status, 200);
    let said: Vec<Vec<String>> = model
        .talks
        .lock()
        .unwrap()
        .iter()
        .map(|talk| talk.messages.iter().map(|m| m.content.clone()).collect())
        .collect();
    // Instructions are of one response, not of the conversation.
    assert_eq!(said, [vec!["数数", "一"], vec!["一", "二", "三"]]);

    let again = server.get(&format!("{RESPONSES}/{id}"));
    assert_eq!(again.body["output"], first.body["output"]);
    assert_eq!(server.delete(&format!("{RESPONSES}/{id}")).status, 200);
    assert_eq!(server.get(&format!("{RESPONSES}/{id}")).status, 404);
    assert_eq!(server.post(RESPONSES, &second).status, 404);
}

#[test]
fn what_shall_not_be_stored_is_not() {
    let (_, server) = server("x");
    let answer = server.post(RESPONSES, &json!({"input": "a", "store": false}));
    let id = answer.body["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("{RESPONSES}/{id}")).status, 404);
}

#[test]
fn events_open_fill_and_close_each_item() {
    let text =
        "hm</think>Well. <tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>";
    let (_, server) = server(text);
    let body = json!({
        "input": "go", "stream": true, "reasoning": {"effort": "high"},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    });
    let events: Vec<Value> = server
        .events(RESPONSES, &body)
        .iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let mut names: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let numbers: Vec<u64> = events
        .iter()
        .map(|event| event["sequence_number"].as_u64().unwrap())
        .collect();
    assert!(numbers.iter().copied().eq(0..events.len() as u64));
    let words: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    assert_eq!(words, "Well.");
    let last = &events.last().unwrap()["response"];
    let closed = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| &event["item"]);
    let output = last["output"].as_array().unwrap();
    assert!(closed.eq(output.iter()), "{output:#?}");
    assert_eq!(output[2]["arguments"], "{\"a\":1}");
}

#[test]
fn a_memory_that_is_full_forgets_what_is_oldest() {
    let limits = StoreLimits {
        answer_bytes: 0,
        response_bytes: 20_000,
        meaning_bytes: 0,
    };
    let model = Arc::new(Scripted::answering("y"));
    let server = support::start_with(model, Settings::default(), limits);
    let mut ids = Vec::new();
    for _ in 0..60 {
        let answer = server.post(RESPONSES, &json!({"input": "x".repeat(300)}));
        ids.push(answer.body["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(server.get(&format!("{RESPONSES}/{}", ids[0])).status, 404);
    assert_eq!(server.get(&format!("{RESPONSES}/{}", ids[59])).status, 200);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let (_, server) = server("x");
    let check = |more: Value, status: u16, field: &str| {
        let mut body = json!({"input": "a"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let answer = server.post(RESPONSES, &body);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.body["error"]["param"], field);
    };
    check(json!({"background": true}), 400, "background");
    check(json!({"truncation": "auto"}), 400, "truncation");
    check(json!({"input": []}), 400, "input");
    check(
        json!({"tools": [{"type": "web_search"}]}),
        400,
        "tools[0].type",
    );
    check(
        json!({"include": ["file_search_call.results"]}),
        400,
        "include \"file_search_call.results\"",
    );
}
