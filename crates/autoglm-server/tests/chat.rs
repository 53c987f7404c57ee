//! `POST /v1/chat/completions` over a real connection.

mod support;

use std::sync::Arc;

use autoglm_server::{Settings, ToolChoice};
use serde_json::{Value, json};
use support::{Running, Scripted, start};

const CHAT: &str = "/v1/chat/completions";

fn server(answer: &str) -> (Arc<Scripted>, Running) {
    let model = Arc::new(Scripted::answering(answer));
    let running = start(Arc::clone(&model), Settings::default());
    (model, running)
}

fn hello() -> Value {
    json!({"model": "scripted", "messages": [{"role": "user", "content": "你好"}]})
}

fn with(mut body: Value, more: Value) -> Value {
    let (Value::Object(body_fields), Value::Object(more)) = (&mut body, more) else {
        panic!("objects are put together");
    };
    body_fields.extend(more);
    body
}

fn weather() -> Value {
    json!({"tools": [{"type": "function", "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }}]})
}

#[test]
fn a_message_is_answered_with_what_it_cost() {
    let (_, server) = server("您好！");
    let answer = server.post(CHAT, &hello());
    assert_eq!(answer.status, 200);
    let choice = &answer.body["choices"][0];
    assert_eq!(choice["message"]["content"], "您好！");
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(answer.body["object"], "chat.completion");
    assert_eq!(answer.body["created"], 1_800_000_000);
    assert_eq!(
        answer.body["usage"],
        json!({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5,
               "prompt_tokens_details": {"cached_tokens": 1}})
    );
}

#[test]
fn pieces_add_up_to_the_whole_answer() {
    let (_, server) = server("一二三四五");
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}, "n": 2});
    let chunks = server.chunks(CHAT, &with(hello(), asked));
    for index in 0..2 {
        let of_choice = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"].get(0))
            .filter(|choice| choice["index"] == index);
        let text: String = of_choice
            .clone()
            .filter_map(|choice| choice["delta"]["content"].as_str())
            .collect();
        assert_eq!(text, "一二三四五");
        let reasons: Vec<&str> = of_choice
            .filter_map(|choice| choice["finish_reason"].as_str())
            .collect();
        assert_eq!(reasons, ["stop"]);
    }
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 10);
    assert_eq!(last["usage"]["prompt_tokens"], 2);
    let before = &chunks[..chunks.len() - 1];
    assert!(before.iter().all(|chunk| chunk["usage"].is_null()));
    let id = &chunks[0]["id"];
    assert!(chunks.iter().all(|chunk| chunk["id"] == *id));
}

#[test]
fn without_being_asked_a_stream_tells_no_cost() {
    let (_, server) = server("x");
    let chunks = server.chunks(CHAT, &with(hello(), json!({"stream": true})));
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[test]
fn settings_reach_the_model() {
    let (model, server) = server("abc");
    let asked = json!({
        "temperature": 0.25, "top_p": 0.5, "seed": 7, "n": 2, "stop": "。", "max_completion_tokens": 2,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "logit_bias": {"97": -100},
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "string"}}},
    });
    let answer = server.post(CHAT, &with(hello(), asked));
    assert_eq!(answer.body["choices"][1]["finish_reason"], "length");
    let requests = model.requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    let request = &requests[1];
    assert_eq!(request.sampling.temperature, 0.25);
    assert_eq!(request.sampling.top_p, 0.5);
    assert_eq!(request.sampling.seed, 8);
    assert_eq!(request.sampling.presence_penalty, 0.5);
    assert_eq!(request.sampling.frequency_penalty, -0.5);
    assert_eq!(request.logit_bias, [(97, -100.0)]);
    assert_eq!(request.stop, ["。"]);
    assert_eq!(request.max_tokens, 2);
    let schema = autoglm_spec::Constraint::JsonSchema(json!({"type": "string"}));
    assert_eq!(request.constraint, Some(schema));
}

#[test]
fn probabilities_are_told_when_asked_for() {
    let (_, server) = server("é");
    let asked = json!({"logprobs": true, "top_logprobs": 2});
    let answer = server.post(CHAT, &with(hello(), asked.clone()));
    let token = &answer.body["choices"][0]["logprobs"]["content"][0];
    assert_eq!(token["token"], "é");
    assert_eq!(token["bytes"], json!([0xC3, 0xA9]));
    assert!((token["logprob"].as_f64().unwrap() - 0.5_f64.ln()).abs() < 1e-6);
    assert_eq!(token["top_logprobs"][1]["token"], "ê");
    let streamed = server.chunks(CHAT, &with(with(hello(), asked), json!({"stream": true})));
    let told = streamed
        .iter()
        .find_map(|chunk| chunk["choices"][0]["logprobs"]["content"].get(0));
    assert_eq!(told, Some(token));
}

#[test]
fn calls_of_tools_are_told_apart_from_text() {
    let text = "Let me see. <tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"北京\"}}</tool_call>";
    let (model, server) = server(text);
    let body = with(hello(), weather());
    let answer = server.post(CHAT, &body);
    let choice = &answer.body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], "Let me see.");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "weather");
    assert_eq!(call["function"]["arguments"], "{\"city\":\"北京\"}");
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(model.talks.lock().unwrap()[0].choice, ToolChoice::Auto);

    let chunks = server.chunks(CHAT, &with(body, json!({"stream": true})));
    let deltas = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]);
    let content: String = deltas
        .clone()
        .filter_map(|delta| delta["content"].as_str())
        .collect();
    assert_eq!(content, "Let me see.");
    let calls: Vec<&Value> = deltas
        .filter_map(|delta| delta["tool_calls"].get(0))
        .collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["index"], 0);
    assert_eq!(calls[0]["function"]["name"], "weather");
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn a_tool_that_must_be_called_constrains_the_answer() {
    let (model, server) = server("x");
    let choice = json!({"tool_choice": {"type": "function", "function": {"name": "weather"}}});
    server.post(CHAT, &with(with(hello(), weather()), choice));
    assert_eq!(
        model.talks.lock().unwrap()[0].choice,
        ToolChoice::Named("weather".to_owned())
    );
    let constraint = model.requests.lock().unwrap()[0].constraint.clone();
    assert_eq!(
        constraint,
        Some(autoglm_spec::Constraint::Grammar("a call".to_owned()))
    );
}

#[test]
fn thoughts_are_told_apart_from_the_answer() {
    let (_, server) = server("hm</think>Yes.");
    let body = with(hello(), json!({"reasoning_effort": "high"}));
    let message = &server.post(CHAT, &body).body["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "hm");
    assert_eq!(message["content"], "Yes.");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let (model, server) = server("x");
    let check = |more: Value, status: u16, field: &str| {
        let answer = server.post(CHAT, &with(hello(), more));
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.body["error"]["param"], field);
        assert!(
            answer.body["error"]["message"]
                .as_str()
                .unwrap()
                .contains(field)
        );
    };
    check(json!({"audio": {"voice": "a"}}), 400, "audio");
    check(json!({"store": true}), 400, "store");
    check(json!({"temperature": 3}), 400, "temperature");
    check(json!({"top_logprobs": 3}), 400, "top_logprobs");
    check(json!({"messages": []}), 400, "messages");
    check(json!({"model": "gpt-7"}), 404, "model");
    assert!(model.requests.lock().unwrap().is_empty());
}

#[test]
fn bodies_that_are_none_are_refused() {
    let (_, server) = server("x");
    let check = |body: &str, kind: &str, status: u16| {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .new_agent();
        let request = agent.post(server.url(CHAT)).header("content-type", kind);
        assert_eq!(request.send(body).unwrap().status().as_u16(), status);
    };
    check("{", "application/json", 400);
    check("[]", "application/json", 400);
    check("{}", "text/plain", 415);
    let long = format!("\"{}\"", "x".repeat(9 << 20));
    check(&long, "application/json", 413);
    assert_eq!(server.get(CHAT).status, 405);
    assert_eq!(server.get("/v1/chat").status, 404);
}
