//! `/openapi.json` says what the routes do, no more and no less.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "a test may panic, that is how it fails"
)]

#[path = "tasks/desk.rs"]
mod desk;

#[path = "knowledge/desk.rs"]
mod shelf;

mod support;

use std::sync::Arc;
use std::time::Duration;

use autoglm_server::{Loaded, Loader, Skill};
use serde_json::{Map, Value, json};
use support::{Running, Scripted};

const ROUTES: &str = concat!(
    include_str!("../src/http/routes.rs"),
    include_str!("../src/tasks/routes.rs"),
    include_str!("../src/knowledge/routes.rs")
);

fn server() -> Running {
    let loader: Arc<Loader> = Arc::new(|_: &str| {
        Ok(Loaded {
            identity: "b".to_owned(),
            content: "b".to_owned(),
            skill: Skill::Write(Arc::new(Scripted::answering("{}"))),
        })
    });
    let desk = desk::Desk::new(Duration::ZERO);
    let model = Arc::new(Scripted::answering("{}"));
    let shelf = shelf::Shelf::new(&support::Vowels::default());
    let server = support::start_equipped(model, |app| {
        app.loading(loader).with_tasks(desk).with_knowledge(shelf)
    });
    // Feedback is about a run.
    let record = json!({"record": {"text": "很好"}});
    assert_eq!(
        server.post(&filled("/v1/tasks/{task}/run"), &record).status,
        200
    );
    server
}

/// Each path with its operations.
fn paths(document: &Value) -> Vec<(String, Map<String, Value>)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .map(|(path, operations)| (path.clone(), operations.as_object().unwrap().clone()))
        .collect()
}

/// The schemas that an operation's body may follow, with their fields.
fn body_schemas<'d>(document: &'d Value, operations: &Map<String, Value>) -> Vec<&'d Value> {
    let Some(operation) = operations.get("post") else {
        return Vec::new();
    };
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let ways = schema["oneOf"].as_array();
    let ways = ways.map_or(std::slice::from_ref(schema), Vec::as_slice);
    let names = ways
        .iter()
        .filter_map(|way| way["$ref"].as_str()?.rsplit('/').next());
    names
        .map(|name| &document["components"]["schemas"][name])
        .collect()
}

/// A path with something that is there in place of its parameters.
fn filled(path: &str) -> String {
    let path = path.replace("{name}", "scripted").replace("{id}", "resp_x");
    let path = path.replace("{run}", "1");
    path.replace("{task}", "%E8%AF%84%E8%AE%BA")
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let document = server().get("/openapi.json").body;
    let mut described: Vec<String> = paths(&document).into_iter().map(|(path, _)| path).collect();
    let mut routed: Vec<String> = ROUTES
        .split(".route(")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1))
        // The page's own files are for browsers.
        .filter(|path| *path != "/" && !path.starts_with("/console"))
        .map(|path| path.replace("{*", "{"))
        .collect();
    described.sort();
    routed.sort();
    assert_eq!(described, routed);
}

#[test]
fn every_operation_is_answered_by_its_path() {
    let server = server();
    let document = server.get("/openapi.json").body;
    for (path, operations) in paths(&document) {
        let path = filled(&path);
        for (method, operation) in operations {
            let status = match method.as_str() {
                "get" => server.get(&path).status,
                "delete" => server.delete(&path).status,
                "post" => server.post(&path, &json!({})).status,
                _ => continue,
            };
            assert_ne!(status, 405, "{method} {path}");
            let told = operation["responses"].get(status.to_string());
            assert!(told.is_some(), "{method} {path} gave {status}");
        }
    }
}

#[test]
fn every_field_that_is_described_is_taken() {
    let server = server();
    let document = server.get("/openapi.json").body;
    let mut taken = 0;
    for (path, operations) in paths(&document) {
        let path = filled(&path);
        for schema in body_schemas(&document, &operations) {
            for (field, described) in schema["properties"].as_object().unwrap() {
                let Some(example) = described.get("example") else {
                    continue;
                };
                let mut body = required(schema);
                body.insert(field.clone(), example.clone());
                prepare(field, &mut body);
                let answer = server.post(&path, &Value::Object(body));
                assert_eq!(answer.status, 200, "{path} {field}: {}", answer.body);
                taken += 1;
            }
        }
    }
    assert!(taken > 80, "only {taken} fields have examples");
}

/// The fields that a body must have, with their examples.
fn required(schema: &Value) -> Map<String, Value> {
    let names = schema["required"].as_array().unwrap().iter();
    let names = names.map(|name| name.as_str().unwrap());
    let mut fields: Map<String, Value> = names
        .map(|name| {
            let example = schema["properties"][name]["example"].clone();
            assert!(!example.is_null(), "{name} has no example");
            (name.to_owned(), example)
        })
        .collect();
    if fields.is_empty() {
        // A tokenizer is given a text or a conversation.
        fields.insert("prompt".to_owned(), json!("hi"));
    }
    fields
}

/// Puts in what a field does not stand without.
fn prepare(field: &str, body: &mut Map<String, Value>) {
    match field {
        "top_logprobs" if body.contains_key("messages") => {
            body.insert("logprobs".to_owned(), json!(true));
        }
        // Feedback must say what is right.
        "run" | "record" | "note" if body.contains_key("run") => {
            body.insert("good".to_owned(), json!(true));
        }
        "parallel_tool_calls" => {
            let tool = json!({"type": "function", "function": {"name": "f"}});
            body.insert("tools".to_owned(), json!([tool]));
        }
        _ => {}
    }
}

#[test]
fn a_field_that_is_not_described_is_refused() {
    let server = server();
    let document = server.get("/openapi.json").body;
    for (path, operations) in paths(&document) {
        let path = filled(&path);
        for schema in body_schemas(&document, &operations) {
            let mut body = required(schema);
            prepare("run", &mut body);
            // A field that is null is one that is not given, whatever its name.
            assert_eq!(
                schema["additionalProperties"],
                json!({"type": "null"}),
                "{path}"
            );
            body.insert("surprise".to_owned(), Value::Null);
            let answer = server.post(&path, &Value::Object(body.clone()));
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            body.insert("surprise".to_owned(), json!(1));
            let answer = server.post(&path, &Value::Object(body));
            assert_eq!(answer.status, 400, "{path}: {}", answer.body);
            assert_eq!(answer.body["error"]["param"], "surprise", "{path}");
        }
    }
}
