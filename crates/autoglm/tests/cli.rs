//! The real binary in an empty folder, with tiny random models: what a user does and sees.

mod support;

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use support::{Desk, fixture};

const TASK: &str = r#"
name = "letters"
kind = "classification"
instruction = "Pick x or y."
labels = ["x", "y"]
"#;

/// `count` records, one of which is no JSON when `torn` says so.
fn records(count: usize, torn: Option<usize>) -> String {
    (0..count)
        .map(|n| match torn {
            Some(line) if line == n => "{\"text\": \"torn\n".to_owned(),
            _ => format!("{{\"text\": \"r{n}\"}}\n"),
        })
        .collect()
}

#[test]
fn records_are_answered_in_order_and_a_bad_one_is_named_by_its_line() {
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    desk.write("in.jsonl", records(5, Some(2)));
    let model = fixture("tiny-llama.gguf");
    let args = [
        "run",
        "task.toml",
        "--input",
        "in.jsonl",
        "--model",
        &model,
        "--json",
    ];
    let rows: Vec<Value> = desk
        .ok(&args)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[2]["line"], 3);
    assert!(rows[2]["error"].is_string());
    for n in [0, 1, 3, 4] {
        assert_eq!(rows[n]["text"], format!("r{n}"));
        assert!(["x", "y"].contains(&rows[n]["answer"].as_str().unwrap()));
        let confidence = rows[n]["confidence"].as_f64().unwrap();
        assert!((0.5..=1.0).contains(&confidence), "{confidence}");
    }
}

#[test]
fn a_strict_run_stops_at_a_bad_record() {
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    desk.write("in.jsonl", records(5, Some(2)));
    let model = fixture("tiny-llama.gguf");
    let args = [
        "run",
        "task.toml",
        "--input",
        "in.jsonl",
        "--model",
        &model,
        "--strict",
        "--output",
        "o.jsonl",
    ];
    let (code, message) = desk.fails(&args);
    assert_eq!(code, 3);
    assert!(message.contains("line 3"), "{message}");
}

#[test]
fn a_killed_run_resumes_to_the_same_output() {
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    desk.write("in.jsonl", records(3_000, None));
    let model = fixture("tiny-gemma3.gguf");
    let args = |output: &'static str| {
        [
            "run",
            "task.toml",
            "--input",
            "in.jsonl",
            "--output",
            output,
            "--model",
        ]
        .to_vec()
    };
    let mut whole = args("whole.jsonl");
    whole.push(&model);
    desk.ok(&whole);
    let mut cut = args("cut.jsonl");
    cut.push(&model);
    let mut child = desk
        .command(&cut)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while std::fs::metadata(desk.path("cut.jsonl")).map_or(0, |file| file.len()) < 4_096 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run ended before it could be killed"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    cut.push("--resume");
    desk.ok(&cut);
    assert!(
        desk.read("cut.jsonl") == desk.read("whole.jsonl"),
        "the outputs differ"
    );
}

#[test]
fn runs_are_listed_and_shown() {
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    desk.write("in.jsonl", records(3, None));
    let model = fixture("tiny-llama.gguf");
    desk.ok(&[
        "run",
        "task.toml",
        "--input",
        "in.jsonl",
        "--model",
        &model,
        "--output",
        "o.jsonl",
    ]);
    assert!(desk.ok(&["runs"]).contains("letters"));
    let shown = desk.ok(&["runs", "show", "1"]);
    assert!(
        shown.contains("letters") && shown.contains("tiny-llama"),
        "{shown}"
    );
}

#[test]
fn an_evaluation_reports_accuracy_beside_the_majority_class() {
    let desk = Desk::new();
    desk.write("task.toml", TASK);
    let row = |n: usize| {
        let label = ["x", "y", "x", "x"][n % 4];
        serde_json::json!({"text": format!("r{n}"), "label": label}).to_string()
    };
    let labelled = (0..40).map(row).collect::<Vec<_>>().join("\n");
    desk.write("gold.jsonl", labelled);
    let model = fixture("tiny-llama.gguf");
    let report = desk.json(&[
        "eval",
        "task.toml",
        "--data",
        "gold.jsonl",
        "--model",
        &model,
        "--json",
    ]);
    let text = report.to_string();
    for key in ["accuracy", "macro_f1", "calibration_error", "majority"] {
        assert!(text.contains(key), "{key} is missing in {text}");
    }
    assert!(
        text.contains("0.75"),
        "the majority class is three quarters: {text}"
    );
}

#[test]
fn generated_tokens_repeat_with_the_same_seed() {
    let desk = Desk::new();
    let model = fixture("tiny-llama.gguf");
    let generate = |seed: &str| {
        desk.json(&[
            "generate",
            "--model",
            &model,
            "--prompt",
            "abc",
            "--raw",
            "--max-tokens",
            "12",
            "--temperature",
            "1",
            "--seed",
            seed,
            "--json",
        ])["tokens"]
            .clone()
    };
    assert_eq!(generate("1"), generate("1"));
    assert_ne!(generate("1"), generate("2"));
}

#[test]
fn probabilities_among_options_add_up_to_one() {
    let desk = Desk::new();
    let model = fixture("tiny-gemma3.gguf");
    let answer = desk.json(&[
        "score",
        "--model",
        &model,
        "--prompt",
        "abc",
        "--option",
        "a",
        "--option",
        "b",
        "--among-options",
        "--json",
    ]);
    let total: f64 = answer["options"]
        .as_array()
        .unwrap()
        .iter()
        .map(|option| option["logprob"].as_f64().unwrap().exp())
        .sum();
    assert!((total - 1.0).abs() < 1e-4, "{total}");
}

#[test]
fn a_prompt_may_begin_with_a_dash() {
    let desk = Desk::new();
    let model = fixture("tiny-llama.gguf");
    let args = [
        "generate",
        "--model",
        &model,
        "--prompt",
        "- id: 1",
        "--max-tokens",
        "1",
        "--json",
    ];
    assert!(desk.json(&args)["text"].is_string());
    let args = [
        "score", "--model", &model, "--prompt", "- a", "--option", "- b", "--json",
    ];
    assert!(desk.json(&args)["options"].is_array());
}

#[test]
fn perplexity_and_tokenize_agree_on_the_number_of_tokens() {
    let desk = Desk::new();
    desk.write("text.txt", "abc abd abe ".repeat(20));
    let model = fixture("tiny-llama.gguf");
    let measured = desk.json(&[
        "perplexity",
        "--text",
        "text.txt",
        "--model",
        &model,
        "--context",
        "32",
        "--json",
    ]);
    assert!(measured["perplexity"].as_f64().unwrap() > 1.0);
    let text = desk.read("text.txt");
    let count = desk.ok(&["tokenize", &text, "--model", &model, "--count"]);
    assert_eq!(count.trim(), measured["text_tokens"].to_string());
}

/// Measures a tiny model once; the sizes are what the test asks for.
fn measured(desk: &Desk, sizes: &[&str]) -> Value {
    let model = fixture("tiny-llama.gguf");
    let settings = ["--decode", "4", "--repetitions", "3", "--threads", "2"];
    let mut args = vec!["model", "bench", &model, "--json"];
    args.extend(settings.iter().chain(sizes));
    desk.json(&args)
}

#[test]
fn a_measured_speed_comes_with_its_spread_and_its_share_of_the_limit() {
    let sizes = ["--prefill", "40", "--depth", "0,64", "--sequences", "3"];
    let report = measured(&Desk::new(), &sizes);
    assert_eq!(report["threads"], 2);
    let machine = &report["machine"];
    for limit in ["read_bytes_per_second", "integer_operations_per_second"] {
        assert!(machine[limit].as_f64().unwrap() > 0.0, "{machine}");
    }
    let rows = report["rows"].as_array().unwrap();
    let works: Vec<&str> = rows
        .iter()
        .map(|row| row["work"].as_str().unwrap())
        .collect();
    assert_eq!(works, ["prefill", "decode", "decode", "sequences"]);
    for row in rows {
        assert_eq!(row["unit"], "tokens/s");
        assert_eq!(row["samples"].as_array().unwrap().len(), 3);
        let median = row["median"].as_f64().unwrap();
        let quartiles = [0, 1].map(|i| row["quartiles"][i].as_f64().unwrap());
        assert!(0.0 < quartiles[0] && quartiles[0] <= median && median <= quartiles[1]);
    }
    // The weights are floats, so that only single tokens have a limit that is known: reads.
    let limits: Vec<f64> = rows[1..3]
        .iter()
        .map(|row| row["limit"]["tokens_per_second"].as_f64().unwrap())
        .collect();
    assert!(limits[1] < limits[0], "a context costs reads: {limits:?}");
    for row in &rows[1..3] {
        assert_eq!(row["limit"]["bound"], "memory");
        // A model as small as this one lies in a cache, which may be read faster than memory.
        let share = row["limit"]["share"].as_f64().unwrap();
        let median = row["median"].as_f64().unwrap();
        let limit = row["limit"]["tokens_per_second"].as_f64().unwrap();
        assert!((share * limit / median - 1.0).abs() < 1e-9, "{row}");
    }
    assert!(rows[0]["limit"].is_null() && rows[3]["limit"].is_null());
}

#[test]
fn requests_behind_a_shared_prefix_are_measured_whole() {
    let report = measured(&Desk::new(), &["--prefix", "32", "--clients", "2"]);
    let rows = report["rows"].as_array().unwrap();
    let units: Vec<_> = rows
        .iter()
        .map(|row| (&row["work"], &row["unit"]))
        .collect();
    assert_eq!(
        serde_json::json!(units),
        serde_json::json!([
            ["first-token", "ms"],
            ["next-first-token", "ms"],
            ["clients", "tokens/s"]
        ])
    );
    for row in rows {
        assert!(row["median"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn quantised_weights_have_a_limit_of_arithmetic_or_memory() {
    let model = fixture("tiny-llama-mixed.gguf");
    let args = [
        "model",
        "bench",
        &model,
        "--prefill",
        "100",
        "--repetitions",
        "1",
        "--json",
    ];
    let report = Desk::new().json(&args);
    let limit = &report["rows"][0]["limit"];
    assert!(
        ["arithmetic", "memory"].contains(&limit["bound"].as_str().unwrap()),
        "{limit}"
    );
    let share = limit["share"].as_f64().unwrap();
    assert!(share > 0.0 && share < 1.0, "{limit}");
}

#[test]
fn sizes_that_the_context_does_not_hold_are_named() {
    let model = fixture("tiny-llama.gguf");
    let (code, message) = Desk::new().fails(&["model", "bench", &model, "--depth", "2048"]);
    assert_eq!(code, 2, "{message}");
    assert!(
        message.contains("2080") && message.contains("128"),
        "{message}"
    );
}

#[test]
fn a_task_file_is_written_from_chinese_words_and_runs() {
    let desk = Desk::new();
    desk.ok(&["init", "判断以下句子的情感倾向", "--output", "task.toml"]);
    let task = desk.read("task.toml");
    assert!(task.contains("正面") && task.contains("负面"), "{task}");
    desk.write("in.txt", "好\n坏\n");
    let model = fixture("tiny-gemma3.gguf");
    let rows = desk.ok(&[
        "run",
        "task.toml",
        "--input",
        "in.txt",
        "--model",
        &model,
        "--json",
    ]);
    assert_eq!(rows.lines().count(), 2, "{rows}");
}

/// What a model file that is not usable is called.
#[track_caller]
fn check_refused(desk: &Desk, name: &str, wanted: &[&str]) {
    let (code, message) = desk.fails(&["generate", "--model", name, "--prompt", "a"]);
    assert_eq!(code, 3, "{message}");
    let told = message.trim_end();
    assert_eq!(told.lines().count(), 1, "one line is wanted: {told}");
    assert!(!told.contains("panicked"), "{told}");
    for part in wanted {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
}

#[test]
fn unusable_model_files_are_named_in_one_line() {
    let desk = Desk::new();
    let good = std::fs::read(fixture("tiny-llama.gguf")).unwrap();
    desk.write("cut.gguf", &good[..good.len() / 2]);
    check_refused(&desk, "cut.gguf", &["cut.gguf", "tensor"]);
    desk.write("text.gguf", "This is a letter, not a model.");
    check_refused(&desk, "text.gguf", &["text.gguf", "not a GGUF file"]);
    let mut counted = good.clone();
    counted[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    desk.write("count.gguf", &counted);
    check_refused(&desk, "count.gguf", &["18446744073709551615"]);
    let mut unknown = good.clone();
    let at = unknown.windows(5).position(|w| w == b"llama").unwrap();
    unknown[at..at + 5].copy_from_slice(b"llamb");
    desk.write("unknown.gguf", &unknown);
    check_refused(&desk, "unknown.gguf", &["llamb", "gemma3", "llama"]);
}

#[test]
fn an_adapter_counts_in_the_plan_and_within_the_limit() {
    let desk = Desk::new();
    let adapter = fixture("adapters/lora-llama");
    let model = fixture("tiny-llama.gguf");
    let plan = |options: &[&str]| {
        let args = [&["model", "info", &model, "--plan", "--json"], options].concat();
        let plan = desk.json(&args);
        ["adapter_bytes", "total_bytes"].map(|part| plan[part].as_u64().unwrap())
    };
    let [none, without] = plan(&[]);
    let [some, with] = plan(&["--adapter", &adapter]);
    assert_eq!((none, without + some), (0, with));
    assert!(some > 0);
    let limit = (with - 1).to_string();
    let limited = ["--memory-limit", &limit, "--cache-tokens", "16384"];
    let score = ["score", "--model", &model, "--prompt", "a", "--option", "b"];
    desk.ok(&[&score[..], &limited].concat());
    let (code, message) = desk.fails(&[&score[..], &limited, &["--adapter", &adapter]].concat());
    assert_eq!(code, 4, "{message}");
    assert!(message.contains("adapters 1"), "{message}");
}

#[test]
fn a_folder_that_holds_no_adapter_is_named_in_one_line() {
    let desk = Desk::new();
    let model = fixture("tiny-llama.gguf");
    desk.write("adapter_config.json", r#"{"peft_type": "LOHA"}"#);
    for (folder, code, wanted) in [("none", 2, "none/adapter_config.json"), (".", 3, "LOHA")] {
        let args = [
            "score",
            "--model",
            &model,
            "--adapter",
            folder,
            "--prompt",
            "a",
            "--option",
            "b",
        ];
        let (found, message) = desk.fails(&args);
        assert_eq!(found, code, "{message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn usage_errors_have_their_own_exit_code() {
    let desk = Desk::new();
    desk.write("task.toml", "instruction = 7\n");
    desk.write("in.txt", "a\n");
    let (code, message) = desk.fails(&["run", "task.toml", "--input", "in.txt"]);
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("instruction"), "{message}");
    let (code, _) = desk.fails(&["run", "--no-such-flag"]);
    assert_eq!(code, 2);
}
