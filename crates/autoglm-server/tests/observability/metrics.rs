//! What `GET /metrics` says after scripted requests.

use std::sync::atomic::Ordering;
use std::time::Duration;

use autoglm_server::{AdmissionLimits, Load};
use serde_json::json;

use super::scripted::{Server, Setup, chat, completion, send, start, until};
use super::text::Scrape;

const MODEL: &str = r#"{engine="0",model_name="tiny"}"#;

impl Server {
    fn scrape(&self) -> Scrape {
        let scrape = Scrape::read(&self.get("/metrics").text);
        scrape.check_histograms();
        scrape
    }
}

fn check(scrape: &Scrape, wanted: &[(&str, f64)]) {
    for (name, value) in wanted {
        let series = if name.contains('{') {
            (*name).to_owned()
        } else {
            format!("{name}{MODEL}")
        };
        let found = scrape.value(&series);
        assert!(
            (found - value).abs() < 1e-9,
            "{series}: {found}, not {value}"
        );
    }
}

#[test]
fn a_request_is_counted_with_the_times_of_its_stages() {
    let server = start(Setup::default());
    for stream in [false, true] {
        assert_eq!(
            server
                .post("/v1/completions", &completion("hello", stream))
                .status,
            200
        );
    }
    // Each: 0.2 s until the first token, and then 4 times 0.05 s.
    check(
        &server.scrape(),
        &[
            ("vllm:prompt_tokens_total", 10.0),
            ("vllm:prompt_tokens_cached_total", 8.0),
            ("vllm:prefix_cache_queries_total", 10.0),
            ("vllm:prefix_cache_hits_total", 8.0),
            ("vllm:generation_tokens_total", 10.0),
            ("vllm:time_to_first_token_seconds_count", 2.0),
            ("vllm:time_to_first_token_seconds_sum", 0.4),
            ("vllm:inter_token_latency_seconds_count", 8.0),
            ("vllm:inter_token_latency_seconds_sum", 0.4),
            ("vllm:time_per_output_token_seconds_count", 8.0),
            ("vllm:request_time_per_output_token_seconds_count", 2.0),
            ("vllm:request_time_per_output_token_seconds_sum", 0.1),
            ("vllm:e2e_request_latency_seconds_sum", 0.8),
            ("vllm:request_queue_time_seconds_sum", 0.0),
            ("vllm:request_queue_time_seconds_count", 2.0),
            ("vllm:request_prefill_time_seconds_sum", 0.4),
            ("vllm:request_decode_time_seconds_sum", 0.4),
            ("vllm:request_inference_time_seconds_sum", 0.8),
            ("vllm:request_prompt_tokens_sum", 10.0),
            ("vllm:request_generation_tokens_sum", 10.0),
            ("vllm:request_params_max_tokens_sum", 200.0),
            ("vllm:request_params_n_sum", 2.0),
            (
                r#"vllm:time_to_first_token_seconds_bucket{engine="0",le="0.25",model_name="tiny"}"#,
                2.0,
            ),
            (
                r#"vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="tiny"}"#,
                0.0,
            ),
            (
                r#"vllm:request_success_total{engine="0",finished_reason="stop",model_name="tiny"}"#,
                2.0,
            ),
            (
                r#"autoglm_model_calls_total{model_name="tiny",operation="generate",outcome="ok"}"#,
                2.0,
            ),
            (
                r#"autoglm_http_requests_total{method="POST",route="/v1/completions",status="200"}"#,
                2.0,
            ),
            (
                r#"autoglm_http_request_duration_seconds_sum{route="/v1/completions"}"#,
                0.8,
            ),
        ],
    );
}

#[test]
fn several_answers_to_one_prompt_count_each() {
    let server = start(Setup::default());
    let mut body = chat("hey", false);
    body["n"] = json!(3);
    assert_eq!(server.post("/v1/chat/completions", &body).status, 200);
    let record = server.last_record();
    assert_eq!((record.prompt_tokens, record.generated_tokens), (3, 9));
    assert_eq!(record.finishes, ["stop"; 3]);
    check(
        &server.scrape(),
        &[
            ("vllm:request_params_n_sum", 3.0),
            ("vllm:request_params_n_count", 1.0),
            ("vllm:generation_tokens_total", 9.0),
            ("vllm:time_to_first_token_seconds_count", 3.0),
            ("vllm:e2e_request_latency_seconds_count", 3.0),
        ],
    );
}

#[test]
fn how_answers_end_is_told_apart() {
    let server = start(Setup::default());
    let mut short = completion("hello", false);
    short["max_tokens"] = json!(2);
    server.post("/v1/completions", &short);
    server.post("/v1/completions", &completion("fail", false));
    let reason = |reason: &str| {
        format!(
            r#"vllm:request_success_total{{engine="0",finished_reason="{reason}",model_name="tiny"}}"#
        )
    };
    let scrape = server.scrape();
    check(
        &scrape,
        &[
            (&reason("length"), 1.0),
            (&reason("error"), 1.0),
            (&reason("stop"), 0.0),
            (
                r#"autoglm_requests_refused_total{reason="bad_request"}"#,
                1.0,
            ),
            (
                r#"autoglm_model_calls_total{model_name="tiny",operation="generate",outcome="error"}"#,
                1.0,
            ),
        ],
    );
}

#[test]
fn an_answer_whose_client_leaves_is_an_abort() {
    let server = start(Setup::default());
    server.model.gate.shut();
    let body = completion("hello", true).to_string();
    let mut client = std::net::TcpStream::connect(server.address).unwrap();
    std::io::Write::write_all(
        &mut client,
        format!(
            "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    )
    .unwrap();
    until("the model works", || {
        server.model.begun.load(Ordering::SeqCst) == 1
    });
    drop(client);
    server.until_ended(1);
    server.model.gate.open();
    let abort =
        r#"vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"}"#;
    until("the model has stopped", || {
        server.scrape().value(abort) == 1.0
    });
    check(
        &server.scrape(),
        &[(
            r#"autoglm_requests_left_total{route="/v1/completions"}"#,
            1.0,
        )],
    );
    assert!(!server.records.lock().unwrap()[0].is_whole);
}

#[test]
fn the_queue_is_told_by_model_and_its_refusals_by_reason() {
    let admission = AdmissionLimits {
        running: 1,
        waiting: 1,
    };
    let server = start(Setup {
        admission,
        ..Setup::default()
    });
    server.model.gate.shut();
    let url = server.url("/v1/completions");
    let ask = || {
        let url = url.clone();
        std::thread::spawn(move || send(&url, &completion("hello", false), &[]).status)
    };
    let first = ask();
    until("the model works", || {
        server.model.begun.load(Ordering::SeqCst) == 1
    });
    let second = ask();
    let waiting = format!("vllm:num_requests_waiting{MODEL}");
    until("a request waits", || server.scrape().value(&waiting) == 1.0);
    assert_eq!(
        server
            .post("/v1/completions", &completion("hello", false))
            .status,
        429
    );
    check(
        &server.scrape(),
        &[
            (r#"autoglm_admission_requests{state="running"}"#, 1.0),
            (r#"autoglm_admission_requests{state="waiting"}"#, 1.0),
            (r#"autoglm_admission_limit{state="waiting"}"#, 1.0),
            (r#"autoglm_admission_queued{model_name="tiny"}"#, 1.0),
            (
                r#"autoglm_requests_refused_total{reason="server_busy"}"#,
                1.0,
            ),
            (
                r#"autoglm_http_requests_total{method="POST",route="/v1/completions",status="429"}"#,
                1.0,
            ),
        ],
    );
    server.model.hand.advance(Duration::from_secs(3));
    server.model.gate.open();
    assert_eq!((first.join().unwrap(), second.join().unwrap()), (200, 200));
    // The second waited 3 s, and the 0.4 s that the first took.
    check(
        &server.scrape(),
        &[
            ("vllm:request_queue_time_seconds_sum", 3.4),
            ("vllm:request_queue_time_seconds_count", 2.0),
            ("vllm:num_requests_waiting", 0.0),
            (r#"autoglm_admission_queued{model_name="tiny"}"#, 0.0),
        ],
    );
}

#[test]
fn the_engine_s_load_is_told_as_it_is() {
    let server = start(Setup::default());
    *server.model.load.lock().unwrap() = Load {
        running: 3,
        waiting: 2,
        used_positions: 64,
        kept_positions: 32,
        positions: 256,
        prompt_tokens: 1_000,
        cached_tokens: 900,
        generated_tokens: 70,
        passes: 20,
    };
    let state = |name: &str, state: &str| format!(r#"{name}{{model_name="tiny",state="{state}"}}"#);
    check(
        &server.scrape(),
        &[
            ("vllm:num_requests_running", 3.0),
            ("vllm:num_requests_waiting", 2.0),
            ("vllm:kv_cache_usage_perc", 0.25),
            (&state("autoglm_engine_requests", "running"), 3.0),
            (&state("autoglm_engine_cache_positions", "kept"), 32.0),
            (&state("autoglm_engine_cache_positions", "free"), 160.0),
            (
                r#"autoglm_engine_prompt_tokens_total{model_name="tiny"}"#,
                1_000.0,
            ),
            (
                r#"autoglm_engine_cached_tokens_total{model_name="tiny"}"#,
                900.0,
            ),
            (
                r#"autoglm_engine_generated_tokens_total{model_name="tiny"}"#,
                70.0,
            ),
            (r#"autoglm_engine_passes_total{model_name="tiny"}"#, 20.0),
        ],
    );
    // Another engine took its place, and counts from nought.
    server.model.load.lock().unwrap().passes = 1;
    let passes = r#"autoglm_engine_passes_total{model_name="tiny"}"#;
    assert_eq!(server.scrape().value(passes), 1.0);
}

#[test]
fn scores_and_vectors_are_counted_as_calls_with_tokens_of_prompts() {
    let server = start(Setup::default());
    let documents = json!(["a", "b"]);
    let rerank = json!({"model": "tiny", "query": "q", "documents": documents});
    assert_eq!(server.post("/v1/rerank", &rerank).status, 200);
    let embed = json!({"model": "vectors", "input": ["a", "b", "c"]});
    assert_eq!(server.post("/v1/embeddings", &embed).status, 200);
    check(
        &server.scrape(),
        &[
            ("vllm:prompt_tokens_total", 20.0),
            ("vllm:prefix_cache_hits_total", 12.0),
            ("vllm:generation_tokens_total", 0.0),
            (
                r#"vllm:prompt_tokens_total{engine="0",model_name="vectors"}"#,
                15.0,
            ),
            (
                r#"autoglm_model_calls_total{model_name="tiny",operation="score",outcome="ok"}"#,
                1.0,
            ),
            (
                r#"autoglm_model_calls_total{model_name="vectors",operation="embed",outcome="ok"}"#,
                1.0,
            ),
        ],
    );
}

#[test]
fn bytes_and_connections_are_counted() {
    let server = start(Setup::default());
    let body = completion("hello", false);
    let answer = server.post("/v1/completions", &body);
    let _silent = std::net::TcpStream::connect(server.address).unwrap();
    let open = || server.scrape().value("autoglm_connections_open");
    // The silent one, and the one that asks.
    until("connections are open", || open() >= 2.0);
    let route = |name: &str| format!(r#"{name}{{route="/v1/completions"}}"#);
    check(
        &server.scrape(),
        &[
            (
                &route("autoglm_http_received_bytes_total"),
                body.to_string().len() as f64,
            ),
            (
                &route("autoglm_http_sent_bytes_total"),
                answer.text.len() as f64,
            ),
        ],
    );
}

/// Whatever clients send, the number of series stays.
#[test]
fn labels_take_values_from_bounded_sets() {
    let server = start(Setup::default());
    for number in 0..20 {
        server.get(&format!("/nowhere/{number}"));
        server.get(&format!("/v1/models/model-{number}"));
        server.post(
            "/v1/completions",
            &json!({"model": format!("model-{number}"), "prompt": "x", "user": number.to_string()}),
        );
    }
    let scrape = server.scrape();
    assert_eq!(
        scrape.series("autoglm_http_requests_total"),
        [
            r#"autoglm_http_requests_total{method="GET",route="/v1/models/{*name}",status="404"}"#,
            r#"autoglm_http_requests_total{method="GET",route="other",status="404"}"#,
            r#"autoglm_http_requests_total{method="POST",route="/v1/completions",status="404"}"#,
        ]
    );
    let models = scrape.series("vllm:generation_tokens_total");
    assert_eq!(models.len(), 2, "{models:?}");
    check(
        &scrape,
        &[
            (
                r#"autoglm_requests_refused_total{reason="not_found"}"#,
                20.0,
            ),
            (
                r#"autoglm_requests_refused_total{reason="model_not_found"}"#,
                40.0,
            ),
        ],
    );
}
