//! `autoglm model quantize` and `--quantize` with the real binary and tiny random models.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod support;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use support::{Desk, default_model, fixture};

/// How a model's predictions differ from the original's.
fn comparison(desk: &Desk, model: &str, reference: &str, more: &[&str]) -> Value {
    desk.write("text.txt", "abc abd abe cab dab ".repeat(20));
    let mut args = vec![
        "perplexity",
        "--text",
        "text.txt",
        "--context",
        "32",
        "--json",
    ];
    args.extend(["--model", model, "--reference", reference]);
    args.extend(more);
    desk.json(&args)
}

fn divergence(comparison: &Value) -> f64 {
    comparison["divergence"]["mean"].as_f64().unwrap()
}

#[test]
fn a_quantised_model_predicts_nearly_as_the_original_does() {
    let desk = Desk::new();
    let original = fixture("tiny-llama-mixed.gguf");
    let made = desk.json(&[
        "model", "quantize", &original, "f16.gguf", "--type", "f16", "--json",
    ]);
    assert_eq!(made["type"], "f16");
    assert!(made["bits_per_weight"].as_f64().unwrap() > 16.0);
    let mut last = 0.0;
    for (kind, limit) in [
        ("bf16", 0.001),
        ("q8_0", 0.005),
        ("q4_k_m", 0.5),
        ("q4_0", 0.5),
    ] {
        let out = format!("{kind}.gguf");
        let told = desk.ok(&["model", "quantize", "f16.gguf", &out, "--type", kind]);
        assert!(told.starts_with(&out), "{told}");
        let file = comparison(&desk, &out, "f16.gguf", &[]);
        let found = divergence(&file);
        assert!((0.0..limit).contains(&found), "{kind}: {found}");
        assert!(
            found > last || kind == "q4_0",
            "{kind}: {found} after {last}"
        );
        last = found;
        let on_load = comparison(&desk, "f16.gguf", "f16.gguf", &["--quantize", kind]);
        if kind == "bf16" {
            // Activations are rounded, too.
            let more = divergence(&on_load);
            assert!(found < more && more < limit, "{more} after {found}");
        } else {
            assert_eq!(on_load["perplexity"], file["perplexity"], "{kind}");
        }
    }
    let same = comparison(&desk, "f16.gguf", "f16.gguf", &[]);
    assert!(divergence(&same).abs() < 1e-5);
    assert_eq!(same["agreement"]["mean"], 1.0);
    assert_eq!(same["perplexity_ratio"]["mean"], 1.0);
}

/// A folder of the desk with the tiny model `qwen2`, and a tokenizer of 96 bytes where it has one.
fn folder_model(desk: &Desk, name: &str, has_tokenizer: bool) {
    let from = PathBuf::from(fixture("folders/qwen2"));
    std::fs::create_dir(desk.path(name)).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), desk.path(name).join(file.file_name())).unwrap();
    }
    if !has_tokenizer {
        return;
    }
    let letters = ('!'..='~').chain(['\u{120}', '\u{10a}']);
    let vocabulary: serde_json::Map<String, Value> = (0..96)
        .zip(letters)
        .map(|(id, letter)| (letter.to_string(), json!(id)))
        .collect();
    let pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let tokenizer = json!({
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
        ]},
        "decoder": {"type": "ByteLevel"},
    });
    desk.write(&format!("{name}/tokenizer.json"), tokenizer.to_string());
}

#[test]
fn a_folder_becomes_a_file_that_predicts_as_it_does() {
    let desk = Desk::new();
    folder_model(&desk, "model", true);
    desk.ok(&["model", "quantize", "model", "o.gguf", "--type", "f16"]);
    let found = comparison(&desk, "o.gguf", "model", &[]);
    // Its weights are numbers of f16.
    assert!(divergence(&found).abs() < 1e-5, "{found}");
    assert_eq!(found["agreement"]["mean"], 1.0);
}

#[test]
fn a_folder_without_a_tokenizer_is_refused() {
    let desk = Desk::new();
    folder_model(&desk, "model", false);
    check_refused(
        &desk,
        &["model", "o.gguf", "--type", "f16"],
        3,
        &["tokenizer"],
    );
    assert!(!desk.path("o.gguf").exists());
}

#[test]
fn a_killed_run_goes_on_to_the_same_file() {
    let Some(original) = default_model("smollm2-135m-instruct-q4_1") else {
        return;
    };
    let desk = Desk::new();
    let args = |out: &'static str| ["model", "quantize", &original, out, "--type", "q4_k_m"];
    desk.ok(&args("whole.gguf"));
    let mut child = desk
        .command(&args("cut.gguf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = desk.path(".cut.gguf.part.journal");
    while std::fs::metadata(&journal).map_or(0, |file| file.len()) < 1_000 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it could be killed"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!desk.path("cut.gguf").exists());
    let told = desk.ok(&args("cut.gguf"));
    assert!(told.contains("from before"), "{told}");
    let (cut, whole) = (desk.path("cut.gguf"), desk.path("whole.gguf"));
    assert!(std::fs::read(cut).unwrap() == std::fs::read(whole).unwrap());
    assert!(!journal.exists());
}

/// Exit code and the one line of a quantisation that must fail; hints stand on their own lines.
#[track_caller]
fn check_refused(desk: &Desk, args: &[&str], code: i32, wanted: &[&str]) {
    let (found, message) = desk.fails(&[&["model", "quantize"], args].concat());
    assert_eq!(found, code, "{message}");
    let lines = message.trim_end().lines();
    let told: Vec<&str> = lines
        .filter(|line| !line.starts_with("hint:") && !line.starts_with("warning:"))
        .collect();
    assert_eq!(told.len(), 1, "{message}");
    for part in wanted {
        assert!(told[0].contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn what_cannot_be_done_is_told_in_one_line() {
    let desk = Desk::new();
    let good = fixture("tiny-llama.gguf");
    let q8 = |input: &'static str, output: &'static str| [input, output, "--type", "q8_0"];
    check_refused(&desk, &q8("none.gguf", "o.gguf"), 2, &["none.gguf"]);
    let bytes = std::fs::read(&good).unwrap();
    desk.write("cut.gguf", &bytes[..bytes.len() / 2]);
    check_refused(&desk, &q8("cut.gguf", "o.gguf"), 3, &["cut.gguf"]);
    desk.write("good.gguf", &bytes);
    check_refused(&desk, &q8("good.gguf", "nowhere/o.gguf"), 2, &["nowhere"]);
    check_refused(
        &desk,
        &q8("good.gguf", "good.gguf"),
        2,
        &["good.gguf exists already"],
    );
    let mut huge = bytes.clone();
    // The last tensor's last weight.
    let end = huge.len();
    huge[end - 4..].copy_from_slice(&1e9_f32.to_le_bytes());
    desk.write("huge.gguf", &huge);
    check_refused(
        &desk,
        &q8("huge.gguf", "o.gguf"),
        3,
        &["1000000000", "Q8_0", "65504"],
    );
    assert!(!desk.path("o.gguf").exists());
    let (code, message) = desk.fails(&["model", "quantize", "good.gguf", "o.gguf", "--type", "q2"]);
    assert_eq!(code, 2);
    assert!(
        message.contains("q8_0, q4_0, q4_k_m, f16, bf16"),
        "{message}"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told_and_what_is_written_is_kept() {
    let desk = Desk::new();
    // The file in the making is a device that has no room.
    std::os::unix::fs::symlink("/dev/full", desk.path(".o.gguf.part")).unwrap();
    let args = [&fixture("tiny-llama.gguf"), "o.gguf", "--type", "q8_0"];
    check_refused(&desk, &args, 4, &["o.gguf", "No space left"]);
}

#[test]
fn a_second_loss_is_warned_of() {
    let desk = Desk::new();
    let mixed = fixture("tiny-llama-mixed.gguf");
    let output = desk.run(&["model", "quantize", &mixed, "o.gguf", "--type", "q4_0"]);
    assert!(output.status.success());
    let told = support::text(&output.stderr);
    assert!(
        told.starts_with("warning: ") && told.contains("a second time"),
        "{told}"
    );
}
