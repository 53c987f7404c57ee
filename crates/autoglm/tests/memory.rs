//! What a running model takes of the machine's memory, beside what was planned.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod support;

use std::process::{Child, Stdio};
use std::time::Duration;

use support::{Desk, default_model};

/// The largest resident memory of a process until it ends, in bytes.
fn peak_bytes(mut child: Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = kib.map_or(peak, |kib| kib << 10);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn a_model_never_takes_more_than_was_planned() {
    for name in ["gemma-3-270m-q4_k_m", "smollm2-135m-instruct-q4_1"] {
        let Some(model) = default_model(name) else {
            continue;
        };
        let desk = Desk::new();
        let cache = ["--cache-tokens", "4096"];
        let plan =
            desk.json(&[&["model", "info", &model, "--plan", "--json"][..], &cache].concat());
        let planned = |part: &str| plan[part].as_u64().unwrap();
        let run = [
            "generate",
            "--model",
            &model,
            "--prompt",
            "Once",
            "--max-tokens",
            "16",
        ];
        let mut command = desk.command(&[&run[..], &cache].concat());
        let peak = peak_bytes(command.stdout(Stdio::null()).spawn().unwrap());
        assert!(peak > planned("weight_bytes"), "{name}: {peak} of {plan}");
        assert!(peak <= planned("total_bytes"), "{name}: {peak} of {plan}");
    }
}
