//! `autoglm serve` on tiny models, and on the default where it was fetched.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

#[path = "support/server.rs"]
mod server;
mod support;

use serde_json::{Value, json};

use server::Server;
use support::{Desk, default_model, fixture};

fn continued(prompt: &str) -> Value {
    json!({"prompt": prompt, "temperature": 0, "max_tokens": 6, "logprobs": 3})
}

#[test]
fn models_of_either_kind_are_served_by_name() {
    let desk = Desk::new();
    let writer = format!("small={}", fixture("tiny-llama.gguf"));
    let bert = fixture("folders/bert");
    let server = Server::start(&desk, &["-m", &writer, "-m", &bert]);
    let models = server.get("/v1/models");
    assert_eq!(models["data"][0]["id"], "small");
    assert_eq!(models["data"][1]["id"], "bert");
    let (status, answer, _) = server.post("/v1/completions", &continued("the dog"));
    assert_eq!(status, 200, "{answer}");
    let told = &answer["choices"][0]["logprobs"];
    assert_eq!(told["token_logprobs"].as_array().unwrap().len(), 6);
    let likeliest = told["top_logprobs"][0].as_object().unwrap();
    assert!((1..=3).contains(&likeliest.len()), "{likeliest:?}");
    let (status, vectors, _) = server.post("/v1/embeddings", &json!({"input": ["a", "b"]}));
    assert_eq!(
        (status, vectors["data"][1]["index"].as_u64()),
        (200, Some(1))
    );
}

#[test]
#[cfg(unix)]
fn what_is_remembered_survives_a_restart() {
    let desk = Desk::new();
    let model = fixture("tiny-llama.gguf");
    let server = Server::start(&desk, &["-m", &model]);
    let (_, first, is_hit) = server.post("/v1/completions", &continued("the dog"));
    assert!(!is_hit);
    server.stop();
    let server = Server::start(&desk, &["-m", &model]);
    let (_, again, is_hit) = server.post("/v1/completions", &continued("the dog"));
    assert!(is_hit);
    assert_eq!(again["choices"], first["choices"]);
    drop(server);
    // Another model's answers are others.
    let server = Server::start(&desk, &["-m", &fixture("tiny-qwen2.gguf")]);
    let (_, _, is_hit) = server.post("/v1/completions", &continued("the dog"));
    assert!(!is_hit);
}

/// The file of prefixes of the only model that was served.
#[cfg(unix)]
fn kept(desk: &Desk) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(desk.path("home/prefixes")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

#[test]
#[cfg(unix)]
fn computed_prompts_survive_a_restart_where_that_is_asked_for() {
    let desk = Desk::new();
    let model = format!("m={}", fixture("tiny-llama.gguf"));
    let start = |size: &str| {
        let args = ["-m", &model, "--answer-cache", "0", "--prefix-cache", size];
        Server::start(&desk, &args)
    };
    let asked = continued(&"the dog and the cat ".repeat(6));
    let ask = |server: &Server| {
        let (status, answer, is_hit) = server.post("/v1/completions", &asked);
        assert_eq!((status, is_hit), (200, false), "{answer}");
        let usage = &answer["usage"];
        let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
        let all = usage["prompt_tokens"].as_u64();
        (answer["choices"].clone(), cached.unwrap(), all.unwrap())
    };
    let server = start("0");
    let (first, cached, all) = ask(&server);
    assert_eq!(cached, 0);
    server.stop();
    assert!(!desk.path("home/prefixes").exists());
    let server = start("64M");
    assert_eq!(ask(&server).1, 0);
    server.stop();
    let server = start("64M");
    assert!(server.told.contains("are there again"), "{}", server.told);
    assert_eq!(ask(&server), (first.clone(), all - 1, all));
    // A version that takes over has its own file.
    let update = json!({"source": fixture("tiny-llama.gguf")});
    let (status, told, _) = server.post("/admin/models/m/update", &update);
    assert_eq!(
        (status, told["live"]["version"].as_u64()),
        (200, Some(2)),
        "{told}"
    );
    assert_eq!(ask(&server), (first.clone(), all - 1, all));
    server.stop();
    // A damaged file is told, removed and no harm.
    let file = kept(&desk);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let server = start("64M");
    assert!(server.told.contains("damaged"), "{}", server.told);
    assert!(!file.exists());
    assert_eq!(ask(&server), (first, 0, all));
}

#[test]
fn a_damaged_file_never_replaces_a_good_one() {
    let desk = Desk::new();
    let good = fixture("tiny-llama.gguf");
    let server = Server::start(&desk, &["-m", &format!("m={good}")]);
    let mut bytes = std::fs::read(&good).unwrap();
    bytes.truncate(bytes.len() / 2);
    let torn = desk.write("torn.gguf", bytes).display().to_string();
    let update = |source: &str| server.post("/admin/models/m/update", &json!({"source": source}));
    let (status, told, _) = update(&torn);
    assert_eq!(status, 400, "{told}");
    assert_eq!(told["error"]["code"], "unloadable_version");
    let (status, told, _) = update(&fixture("tiny.gguf"));
    assert_ne!(status, 200, "a file without weights: {told}");
    assert_eq!(
        server.get("/admin/models")["models"][0]["live"]["version"],
        1
    );
    let (status, told, _) = update(&good);
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["live"]["version"], 2);
    let (status, _, _) = server.post("/v1/completions", &continued("the dog"));
    assert_eq!(status, 200);
}

#[test]
fn a_port_that_is_taken_and_a_name_that_is_given_twice_are_refused() {
    let desk = Desk::new();
    let model = fixture("tiny-llama.gguf");
    let server = Server::start(&desk, &["-m", &model]);
    let address = server.url.trim_start_matches("http://");
    let check = |args: &[&str], wanted: &str| {
        let output = desk.run(args);
        assert!(!output.status.success());
        let said = support::text(&output.stderr);
        assert!(said.contains(wanted), "{said}");
    };
    check(
        &["serve", "-m", &model, "--listen", address],
        &format!("cannot listen at {address}"),
    );
    check(
        &[
            "serve",
            "-m",
            &model,
            "-m",
            &model,
            "--listen",
            "127.0.0.1:0",
        ],
        "two models are called tiny-llama",
    );
}

#[test]
fn the_default_model_calls_a_tool_that_it_must_call() {
    let Some(writer) = default_model("smollm2-135m-instruct-q4_1") else {
        return;
    };
    let desk = Desk::new();
    let server = Server::start(&desk, &["-m", &writer]);
    let tools = json!([{"type": "function", "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris", "北京"]}},
                       "required": ["city"], "additionalProperties": false},
    }}]);
    let body = json!({
        "messages": [{"role": "user", "content": "北京的天气怎么样？"}], "temperature": 0,
        "tools": tools, "tool_choice": "required", "parallel_tool_calls": false,
    });
    let (status, answer, _) = server.post("/v1/chat/completions", &body);
    assert_eq!(status, 200, "{answer}");
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "weather");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(["Paris", "北京"].contains(&arguments["city"].as_str().unwrap()));
}

#[test]
fn clients_need_a_key_that_holds() {
    let desk = Desk::new();
    let new = |id: &str, more: &[&str]| {
        let args = [&["key", "new", "--file", "keys.toml", "--id", id], more].concat();
        desk.ok(&args).trim().to_owned()
    };
    let team = new("team", &["--requests-per-minute", "1000"]);
    let watcher = new("watcher", &["--scope", "metrics"]);
    assert!(!desk.read("keys.toml").contains(&team));
    let listed = desk.ok(&["key", "list", "--file", "keys.toml"]);
    assert!(
        listed.contains("team  models, tasks  all models"),
        "{listed}"
    );

    let model = fixture("tiny-llama.gguf");
    let server = Server::start(&desk, &["-m", &model, "--api-keys", "keys.toml"]);
    let status = |key: Option<&str>| {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let request = agent.get(format!("{}/v1/models", server.url));
        let request = match key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        };
        request.call().unwrap().status().as_u16()
    };
    assert_eq!(status(None), 401);
    assert_eq!(status(Some("ag-wrong")), 401);
    assert_eq!(status(Some(&watcher)), 403);
    assert_eq!(status(Some(&team)), 200);
    desk.ok(&["key", "revoke", "--file", "keys.toml", "--id", "team"]);
    let revoked = (0..300).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        status(Some(&team)) == 401
    });
    assert!(revoked, "a key that is revoked still holds");
}

#[test]
fn off_this_machine_a_server_does_not_start_unguarded() {
    let desk = Desk::new();
    let model = fixture("tiny-llama.gguf");
    let (code, said) = desk.fails(&["serve", "-m", &model, "--listen", "0.0.0.0:0"]);
    assert_eq!(code, 2);
    assert!(said.contains("--api-keys"), "{said}");
}
