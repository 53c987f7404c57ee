//! The server behind a task API and metrics that say what they are told to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::runs;

/// What the task API was asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) runs: Mutex<Vec<Value>>,
    pub(crate) feedback: Mutex<Vec<Value>>,
}

type Shared = State<Arc<Asked>>;

/// Puts the scripted endpoints before the server's own.
pub(crate) fn before(server: Router, asked: Arc<Asked>) -> Router {
    Router::new()
        .route("/v1/tasks", get(told(&tasks())))
        .route("/v1/tasks/reviews/run", post(run))
        .route("/v1/tasks/reviews-zh/run", post(told(&answer_in_chinese())))
        .route("/v1/tasks/reviews/feedback", post(say))
        .route("/v1/tasks/reviews/report", get(told(&report())))
        .route("/v1/tasks/reviews/runs", get(runs::list))
        .route("/v1/tasks/reviews/runs/{run}", get(runs::one))
        .route("/v1/tasks/reviews-zh/report", get(told(&report())))
        .route("/v1/tasks/reviews-zh/runs", get(runs::list))
        .route("/metrics", get(metrics()))
        .with_state(asked)
        .fallback_service(server)
}

/// Puts nothing but refusals before the server's own endpoints.
pub(crate) fn absent(server: Router) -> Router {
    Router::new()
        .route("/v1/tasks", get(StatusCode::NOT_FOUND))
        .route("/metrics", get(StatusCode::NOT_FOUND))
        .route("/admin/models", get(StatusCode::NOT_FOUND))
        .fallback_service(server)
}

async fn run(State(asked): Shared, body: String) -> impl IntoResponse {
    asked.runs.lock().unwrap().push(read(&body));
    told(&answer())
}

async fn say(State(asked): Shared, body: String) -> impl IntoResponse {
    asked.feedback.lock().unwrap().push(read(&body));
    told(&json!({"object": "task.feedback", "batch": 4, "taken": 1, "feedback": 65}))
}

fn read(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

pub(crate) fn told(value: &Value) -> impl IntoResponse + Clone + use<> {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
}

fn metrics() -> impl IntoResponse + Clone {
    let text = "# HELP vllm:num_requests_running Requests that are worked on.\n\
        # TYPE vllm:num_requests_running gauge\n\
        vllm:num_requests_running{engine=\"0\",model_name=\"scripted\"} 3\n\
        vllm:num_requests_waiting{engine=\"0\",model_name=\"scripted\"} 2\n\
        vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"scripted\"} 0.31\n\
        autoglm_connections_open 9\n\
        autoglm_connections_total{said=\"a \\\"quote\\\"\"} 12\n";
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn tasks() -> Value {
    let english = json!({
        "object": "task",
        "name": "reviews",
        "kind": "classification",
        "instruction": "Classify the sentiment of the review as positive or negative.",
        "language": "en",
        "fields": [{"name": "text", "title": "Review"}],
        "output": {"kind": "labels"},
        "labels": ["positive", "negative"],
        "constraints": [],
        "examples_written": 2,
        "live_strategy": 3,
        "examples": 200,
        "feedback": 64,
    });
    let mut chinese = english.clone();
    chinese["name"] = json!("reviews-zh");
    chinese["instruction"] = json!("判断以下评论的情感倾向是正面还是负面。");
    chinese["language"] = json!("zh");
    chinese["fields"] = json!([{"name": "text", "title": "评论"}]);
    chinese["labels"] = json!(["正面", "负面"]);
    chinese["live_strategy"] = Value::Null;
    json!({"object": "list", "data": [english, chinese]})
}

/// The same answer to a review in Chinese.
fn answer_in_chinese() -> Value {
    let mut told = answer();
    told["task"] = json!("reviews-zh");
    told["answer"] = json!("正面");
    told["labels"] = json!({"正面": 0.943, "负面": 0.057});
    told["how"]["strategy"] = Value::Null;
    told["how"]["feedback"]["labels_before"] = json!({"正面": 0.81, "负面": 0.19});
    told["samples"] = Value::Null;
    told["examples"] = json!([
        {"record": {"text": "质量很好，穿着舒服。"}, "answer": "正面"},
        {"record": {"text": "收到就是坏的。"}, "answer": "负面"},
    ]);
    told["explain"]["logprobs"] = json!({"正面": -0.21, "负面": -1.66});
    told
}

fn answer() -> Value {
    json!({
        "object": "task.answer", "task": "reviews", "run": 31, "record": 0,
        "answer": "positive", "confidence": 0.943,
        "labels": {"positive": 0.943, "negative": 0.057},
        "how": {"model": "scripted", "strategy": 3, "calibration": "batch",
                "calibration_records": 256, "taught_by": 200,
                "feedback": {"rows": 64, "last": 70,
                             "labels_before": {"positive": 0.81, "negative": 0.19}}},
        "samples": {"taken": 5, "agreed": 4, "stopped": "decided", "entropy": 0.5, "unusable": 0,
                    "repaired": false, "alternatives": [{"answer": "positive", "share": 0.8},
                                                        {"answer": "negative", "share": 0.2}]},
        "time_ms": {"compose": 0.21, "model": 41.7, "judge": 0.34, "feedback": 0.09, "record": 1.85},
        "usage": {"prompt_tokens": 212, "completion_tokens": 2, "total_tokens": 214,
                  "prompt_tokens_details": {"cached_tokens": 176}},
        "explain": {
            "prompt": "Classify the sentiment of the review as positive or negative.\n\n\
                Review: “Arrived broken, and the return cost me more than the lamp.”\n\
                Sentiment: negative\n\n\
                Review: “The battery lasts two days and the screen is a joy.”\nSentiment:",
            "logprobs": {"positive": -0.21, "negative": -1.66},
            "texts": null,
        },
        "examples": [{"record": {"text": "Arrived broken, and the return cost me more than the lamp."},
                      "answer": "negative"},
                     {"record": {"text": "Warm, light and well made; I bought a second one."},
                      "answer": "positive"}],
    })
}

fn report() -> Value {
    let task = json!({"name": "reviews", "instruction": "Classify.", "language": "en",
                      "labels": ["positive", "negative"], "label_count": 2, "examples": 2});
    json!({
        "task": task, "made_ms": 1_795_786_296_608_i64,
        "live": {"id": 3, "model": "scripted", "is_stale": false},
        "newest": newest(), "groups": [group()], "strategies": strategies(), "learning": learning(),
        "run": {"id": 14, "created_ms": 1_795_786_000_000_i64, "status": "finished",
                "model": "scripted", "source": "test.jsonl", "records": 500, "errors": 0,
                "usage": usage(106_000, 91_000)},
        "costliest": [],
        "least_sure": [{"run": 14, "index": 17, "line": 18,
                        "input": [["Review", "Not bad, not good; it is a kettle."]],
                        "answer": "positive", "confidence": 0.507, "runner_up": null,
                        "gold": "negative", "is_right": false, "abstained": false, "error": null,
                        "usage": usage(212, 176)}],
    })
}

pub(crate) fn usage(prompt: u64, cached: u64) -> Value {
    json!({"prompt_tokens": prompt, "cached_tokens": cached, "completion_tokens": 2,
           "compute": {"secs": 40, "nanos": 0}})
}

fn newest() -> Value {
    let bins = [
        (20, 9, 0.53),
        (31, 18, 0.6),
        (42, 28, 0.68),
        (60, 46, 0.77),
        (97, 82, 0.86),
        (250, 240, 0.96),
    ];
    let bins = bins.map(
        |(rows, right, confidence)| json!({"rows": rows, "right": right, "confidence": confidence}),
    );
    let curve: Vec<Value> = (1..=25)
        .map(|step| f64::from(step) / 25.0)
        .map(|coverage| json!({"coverage": coverage, "error": 0.086 * coverage.powi(2)}))
        .collect();
    json!({
        "id": 4, "at_ms": 1_795_786_000_000_i64, "run": 14, "source": "test.jsonl",
        "data_hash": "d", "gold_field": null, "task_hash": "t", "model": "scripted", "strategy": 3,
        "taught": null, "feedback": 64,
        "report": {
            "task": "reviews", "model": "scripted", "examples": 2, "rows": 500, "errors": 0,
            "without_gold": 0, "unknown_gold": [], "seconds": 41.2, "records_per_second": 12.1,
            "quality": {"kind": "closed", "accuracy_interval": [0.886, 0.936],
                        "scores": {"accuracy": 0.914, "macro_f1": 0.91, "calibration_error": 0.022,
                                   "brier": 0.13}},
            "confidence": {"coverage": 1.0, "answered_accuracy": 0.914, "calibration_error": 0.022,
                           "fitted_calibration_error": null, "risks": [], "aurc": 0.03,
                           "bins": bins, "curve": curve},
        },
    })
}

fn group() -> Value {
    let versions = [
        (1, None, 0, 0.861, 0.071),
        (2, Some(1), 0, 0.874, 0.052),
        (3, Some(3), 0, 0.902, 0.031),
        (4, Some(3), 64, 0.914, 0.022),
    ];
    let versions = versions.map(|(id, strategy, feedback, accuracy, error)| {
        json!({"evaluation": id, "run": id + 10, "at_ms": 1_795_700_000_000_i64 + id * 3_600_000,
               "model": "scripted", "strategy": strategy, "examples": 2, "taught": false,
               "feedback": feedback, "task_hash": "t", "accuracy": accuracy,
               "interval": [accuracy - 0.03, accuracy + 0.028], "calibration_error": error,
               "seconds": 41.2})
    });
    json!({"data_hash": "d", "source": "test.jsonl", "rows": 500, "measure": "accuracy",
           "majority": {"label": "positive", "accuracy": 0.52}, "versions": versions})
}

fn strategies() -> Value {
    let paired = |difference: f64| {
        json!({"measure": "accuracy", "chosen_on": null, "start_on": null, "untouched": {
            "rows": 200, "first": 0.86, "second": 0.86 + difference, "difference": difference,
            "interval": [difference - 0.028, difference + 0.03], "low": 0.0, "first_only": 5,
            "second_only": 13, "p_value": 0.04}})
    };
    json!([
        {"id": 4, "state": "candidate", "changes": ["another wording of the instruction"],
         "scores": paired(0.01), "origin": "optimize", "created_ms": 1_795_780_000_000_i64},
        {"id": 3, "state": "live", "changes": ["examples chosen anew", "labels in quotes"],
         "scores": paired(0.04), "origin": "optimize", "created_ms": 1_795_770_000_000_i64},
    ])
}

fn learning() -> Value {
    let right = [
        (6, 6),
        (6, 6),
        (7, 6),
        (7, 6),
        (7, 6),
        (8, 7),
        (7, 6),
        (8, 6),
    ];
    let curve =
        right.map(|(right, before)| json!({"rows": 8, "right": right, "right_before": before}));
    json!({"version": {"last": 70, "rows": 64}, "withdrawn": 6, "unusable": 0,
           "without_opinion": 0, "share": 0.42, "weights": 900, "curve": curve, "suspicious": [],
           "drift": [], "pinned": 0, "overruled": []})
}
