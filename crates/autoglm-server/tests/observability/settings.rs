//! `/admin/telemetry`: what is observed, changed while the server runs.

use serde_json::{Value, json};

use super::scripted::{Answer, Server, Setup, agent, completion, start};

impl Server {
    fn put(&self, body: &Value) -> Answer {
        let mut response = agent()
            .put(self.url("/admin/telemetry"))
            .header("content-type", "application/json")
            .send(body.to_string())
            .unwrap();
        Answer {
            status: response.status().as_u16(),
            trace: None,
            text: response.body_mut().read_to_string().unwrap(),
        }
    }

    fn is_followed(&self, path: &str, body: &Value) -> bool {
        let trace = self.post(path, body).trace.unwrap();
        trace.ends_with("-01")
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text).unwrap()
}

#[test]
fn settings_are_told_as_they_are() {
    let server = start(Setup::default());
    assert_eq!(
        json(&server.get("/admin/telemetry")),
        json!({
            "sampling": {
                "ratio": 1.0,
                "parent_based": true,
                "routes": {"/metrics": 0.0, "/health/live": 0.0, "/health/ready": 0.0},
            },
            "content": false,
            "exports": false,
        })
    );
}

#[test]
fn a_change_holds_from_the_next_request_on_and_leaves_the_rest_alone() {
    let server = start(Setup::default());
    let (path, body) = ("/v1/completions", completion("a", false));
    assert!(server.is_followed(path, &body));
    let answer = server.put(&json!({"sampling": {"ratio": 0}}));
    assert_eq!(answer.status, 200);
    assert_eq!(json(&answer)["sampling"]["parent_based"], true);
    assert!(!server.is_followed(path, &body));
    server.put(&json!({"sampling": {"routes": {path: 1.0}}, "content": true}));
    assert!(server.is_followed(path, &body));
    let now = json(&server.get("/admin/telemetry"));
    assert_eq!(
        (&now["content"], &now["sampling"]["ratio"]),
        (&json!(true), &json!(0.0))
    );
}

#[test]
fn a_wrong_value_changes_nothing_and_is_named() {
    let server = start(Setup::default());
    let before = server.get("/admin/telemetry").text;
    for (body, field) in [
        (json!({"sampling": {"ratio": 2}}), "sampling.ratio"),
        (
            json!({"sampling": {"ratio": 0.5, "parent_based": "yes"}}),
            "sampling.parent_based",
        ),
        (
            json!({"sampling": {"routes": {"/metrics": -1}}}),
            "sampling.routes",
        ),
        (json!({"content": 1}), "content"),
        (json!({"content": true, "colour": "red"}), "colour"),
    ] {
        let answer = server.put(&body);
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(json(&answer)["error"]["param"], field);
    }
    assert_eq!(server.get("/admin/telemetry").text, before);
}
