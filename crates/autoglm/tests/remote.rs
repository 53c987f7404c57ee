//! The real binary on a server: every command that runs on a model on this machine runs there too.

#[path = "remote_tasks/mod.rs"]
mod remote_tasks;
#[path = "../../autoglm-engine/tests/scripted_server/mod.rs"]
mod scripted_server;
mod support;

use serde_json::json;

use scripted_server::{Request, ScriptedServer, chat, complete, logprob, piece, stream, usual};
use support::{Desk, rows, text};

const TASK: &str = r#"
name = "answers"
kind = "classification"
instruction = "Say yes or no."
labels = ["yes", "no"]
"#;

/// The tiny model behind a server. Streamed answers say `so be it`.
fn server() -> ScriptedServer {
    ScriptedServer::new(|request| {
        let models = usual(request).filter(|_| request.method == "GET");
        models.unwrap_or_else(|| {
            if request.body["stream"] == true {
                let is_chat = request.is_chat();
                let end = piece(is_chat, " be it", Some("stop"));
                return stream(&[piece(is_chat, "so", None), end], 9);
            }
            if request.is_chat() {
                chat(request)
            } else {
                complete(request)
            }
        })
    })
}

fn records() -> String {
    let record = |n: usize| format!("{{\"text\": \"r{n}\", \"label\": \"yes\"}}\n");
    (0..5).map(record).collect::<Vec<_>>().concat()
}

/// The probability of yes that the tiny model gives for a prompt.
fn probability(prompt: &str) -> f64 {
    let [yes, no] = [" yes", " no"].map(|word| f64::from(logprob(prompt, word)).exp());
    yes / (yes + no)
}

/// The prompts that were scored: those whose answer is one token and that are no echoes.
fn scored(seen: &[Request]) -> Vec<String> {
    let plain = seen
        .iter()
        .filter(|r| r.body["echo"] != true && r.prompt().contains("Say yes or no."));
    plain.map(Request::prompt).collect()
}

#[test]
fn a_task_runs_on_a_server_and_its_run_names_model_and_server() {
    let server = server();
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    desk.write("in.jsonl", records());
    let url = server.url();
    let args = [
        "run",
        "task.toml",
        "--input",
        "in.jsonl",
        "--engine",
        &url,
        "--prompts",
        "plain",
        "--calibration",
        "none",
        "--json",
    ];
    let output = desk.run(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let talk = text(&output.stderr);
    assert!(
        talk.contains("note: labels: by log-probabilities of echoed prompts"),
        "{talk}"
    );
    let rows = rows(&text(&output.stdout));
    assert_eq!(rows.len(), 5);
    let mut prompts = scored(&server.seen());
    prompts.sort();
    prompts.dedup();
    assert_eq!(prompts.len(), 5);
    for (row, prompt) in rows.iter().zip(&prompts) {
        let yes = probability(prompt);
        let (answer, confidence) = (row["answer"].as_str().unwrap(), row["confidence"].as_f64());
        assert_eq!(answer, if yes > 0.5 { "yes" } else { "no" });
        assert!(
            (confidence.unwrap() - yes.max(1.0 - yes)).abs() < 1e-3,
            "{row} {yes}"
        );
    }
    let host = url.replace("http://", "").replace("/v1", "");
    let run = desk.json(&["runs", "show", "1", "--json"]);
    assert_eq!(run["key"]["model"]["name"], format!("m@{host}"));
    let replayed = desk.json(&[
        "runs",
        "replay",
        "1",
        "--record",
        "2",
        "--engine",
        &url,
        "--prompts",
        "plain",
        "--json",
    ]);
    assert_eq!(replayed["same_verdict"], true, "{replayed}");
}

#[test]
fn a_task_file_names_its_server_and_eval_measures_there() {
    let server = server();
    let desk = Desk::new();
    let engine = format!(
        "\n[engine]\nurl = \"{}\"\nmodel = \"other\"\nprompts = \"plain\"\n",
        server.url()
    );
    desk.write("task.toml", TASK.to_owned() + &engine);
    desk.write("in.jsonl", records());
    let report = desk.json(&["eval", "task.toml", "--data", "in.jsonl", "--json"]);
    assert!(
        report["model"]
            .as_str()
            .unwrap()
            .starts_with("other@127.0.0.1:"),
        "{report}"
    );
    assert!(
        server
            .seen()
            .iter()
            .all(|request| request.body["model"] == "other")
    );
}

#[test]
fn a_task_of_a_server_runs_on_this_machine_where_the_user_says_so() {
    let desk = Desk::new();
    desk.write(
        "task.toml",
        TASK.to_owned() + "\n[engine]\nurl = \"http://127.0.0.1:1/v1\"\n",
    );
    desk.write("in.jsonl", records());
    let (code, talk) = desk.fails(&["run", "task.toml", "--input", "in.jsonl", "--attempts", "1"]);
    assert_eq!(code, 4, "{talk}");
    assert!(talk.contains("127.0.0.1:1 does not answer"), "{talk}");
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../autoglm-model/fixtures/tiny-llama.gguf"
    );
    desk.ok(&[
        "run",
        "task.toml",
        "--input",
        "in.jsonl",
        "--engine",
        "local",
        "--model",
        model,
        "--json",
    ]);
}

#[test]
fn one_prompt_is_answered_and_scored_on_a_server() {
    let server = server();
    let desk = Desk::new();
    let url = server.url();
    assert_eq!(
        desk.ok(&["generate", "-p", "hello", "--engine", &url]),
        "so be it\n"
    );
    let answer = desk.json(&["generate", "-p", "hello", "--engine", &url, "--json"]);
    assert_eq!(answer["content"], "so be it");
    let scores = desk.json(&[
        "score", "-p", "Answer:", "-o", " yes", "-o", " no", "--engine", &url, "--json",
    ]);
    let found = scores["options"][0]["logprob"].as_f64().unwrap();
    assert!(
        (found - f64::from(logprob("Answer:", " yes"))).abs() < 1e-4,
        "{scores}"
    );
}

#[test]
fn a_conversation_on_a_server_keeps_its_turns() {
    let server = server();
    let desk = Desk::new();
    let url = server.url();
    let input = desk.write("lines", "first\nsecond\n");
    let mut command = desk.command(&["chat", "--engine", &url, "--system", "be kind"]);
    let output = command
        .stdin(std::fs::File::open(input).unwrap())
        .output()
        .unwrap();
    assert_eq!(
        text(&output.stdout),
        "so be it\nso be it\n",
        "{}",
        text(&output.stderr)
    );
    let last = server.seen().pop().unwrap();
    let contents: Vec<&str> = last.body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(contents, ["be kind", "first", "so be it", "second"]);
}

#[test]
fn init_asks_a_server_and_writes_it_into_the_file() {
    let server = ScriptedServer::usual(|request| {
        let answer = json!({"kind": "classification", "labels": ["warm", "cold"]}).to_string();
        stream(&[piece(request.is_chat(), &answer, Some("stop"))], 20)
    });
    let desk = Desk::new();
    let url = server.url();
    desk.ok(&[
        "init",
        "Classify the question by topic.",
        "--ask",
        "--engine",
        &url,
        "--model",
        "m",
    ]);
    let file = desk.read("task.toml");
    assert!(file.contains(&format!("url = \"{url}\"")), "{file}");
    assert!(file.contains("[\"warm\", \"cold\"]"), "{file}");
    assert!(file.contains("model = \"m\""), "{file}");
}

#[test]
fn the_key_comes_from_the_environment_or_a_file_and_is_never_shown() {
    let server = server();
    let desk = Desk::new();
    let url = server.url();
    let key_of = |server: &ScriptedServer| {
        server
            .all_seen()
            .pop()
            .unwrap()
            .header("authorization")
            .map(str::to_owned)
    };
    let args = ["generate", "-p", "hello", "--engine", &url];
    desk.command(&args)
        .env("AUTOGLM_API_KEY", "sk-env")
        .output()
        .unwrap();
    assert_eq!(key_of(&server).as_deref(), Some("Bearer sk-env"));
    desk.write("key", "sk-file\n");
    let with_file = [&args[..], &["--api-key-file", "key"]].concat();
    desk.command(&with_file)
        .env("AUTOGLM_API_KEY", "sk-env")
        .output()
        .unwrap();
    assert_eq!(key_of(&server).as_deref(), Some("Bearer sk-file"));
    let output = desk
        .command(&["generate", "-p", "x", "--engine", "http://far.test/v1"])
        .env("AUTOGLM_API_KEY", "sk-env")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let talk = text(&output.stderr);
    assert!(
        talk.contains("unencrypted") && !talk.contains("sk-env"),
        "{talk}"
    );
}

#[test]
fn a_command_line_that_cannot_be_meant_is_refused() {
    let desk = Desk::new();
    let check = |args: &[&str], wanted: &str| {
        let (code, talk) = desk.fails(&[&["generate", "-p", "x"], args].concat());
        assert_eq!(code, 2, "{talk}");
        assert!(talk.contains(wanted), "{talk}");
    };
    check(&["--votes", "3"], "--votes is for a server");
    check(&["--engine", "http://user:pw@gpu/v1"], "user or password");
    check(
        &["--engine", "gpu:8000"],
        "the server's address cannot be used",
    );
    check(
        &["--engine", "http://127.0.0.1:1/v1", "--threads", "2"],
        "--threads",
    );
    let (_, talk) = desk.fails(&["generate", "-p", "x", "--engine", "http://user:pw@gpu/v1"]);
    assert!(!talk.contains("pw@"), "{talk}");
}
