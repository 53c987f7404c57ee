//! Builds a target of `fuzz/` with coverage instrumentation and lets it run for a while.
//!
//! The instrumentation is LLVM's own and needs no nightly toolchain, which is why this command
//! exists beside `cargo fuzz`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// Edge counters and traced comparisons: what libFuzzer steers by. One codegen unit, because the
/// linker drops counters of units that nothing refers to.
const INSTRUMENTATION: &str = "--cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1";

/// The largest input that is made, a few times the largest seed.
const INPUT_LIMIT_BYTES: usize = 64 << 10;
/// Memory of the whole process; the targets limit what the code under test may allocate further.
const MEMORY_LIMIT_MB: usize = 1024;
/// One input that takes longer is a finding.
const INPUT_TIMEOUT_SECONDS: usize = 10;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The target: a file name in `fuzz/fuzz_targets` without `.rs`.
    target: String,
    /// How long to run.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let root = crate::root();
    let fuzz = root.join("fuzz");
    let source = fuzz.join(format!("fuzz_targets/{}.rs", arguments.target));
    ensure!(
        source.is_file(),
        "there is no fuzz target {}",
        source.display()
    );
    let binary = build(&fuzz, &arguments.target)?;
    let corpus = seed(&root, &fuzz, &arguments.target)?;
    let artifacts = fuzz.join("artifacts").join(&arguments.target);
    fs::create_dir_all(&artifacts)?;
    let status = Command::new(binary)
        .arg(corpus)
        .arg(format!("-max_total_time={}", arguments.seconds))
        .arg(format!("-max_len={INPUT_LIMIT_BYTES}"))
        .arg(format!("-rss_limit_mb={MEMORY_LIMIT_MB}"))
        .arg(format!("-timeout={INPUT_TIMEOUT_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-dict={}", dictionary(&fuzz, &arguments.target)))
        .arg("-print_final_stats=1")
        .status()
        .context("cannot start the fuzz target")?;
    ensure!(
        status.success(),
        "target {} found an input that breaks it, kept in {}",
        arguments.target,
        artifacts.display()
    );
    Ok(())
}

fn build(fuzz: &Path, target: &str) -> anyhow::Result<PathBuf> {
    let host = host_triple()?;
    let status = Command::new("cargo")
        .args(["build", "--release", "--bin", target])
        // With a target named, the flags do not reach build scripts and procedural macros.
        .args(["--target", &host])
        .env("RUSTFLAGS", INSTRUMENTATION)
        // Apart from the other builds, wherever those go.
        .env("CARGO_TARGET_DIR", "target")
        .current_dir(fuzz)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the fuzz target {target} does not build");
    Ok(fuzz.join("target").join(host).join("release").join(target))
}

fn host_triple() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    match text.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("rustc -vV names no host"),
    }
}

/// Puts the fixtures with the target's extension into its corpus, which earlier runs have grown.
fn seed(root: &Path, fuzz: &Path, target: &str) -> anyhow::Result<PathBuf> {
    let corpus = fuzz.join("corpus").join(target);
    fs::create_dir_all(&corpus)?;
    let fixtures = root.join("crates/autoglm-model/fixtures");
    let mut seeds = Vec::new();
    find_seeds(&fixtures, target, &mut seeds)?;
    for seed in seeds {
        // Files of the same name lie in several folders.
        let name = seed.strip_prefix(&fixtures)?.display().to_string();
        fs::copy(&seed, corpus.join(name.replace(['/', '\\'], "-")))?;
    }
    Ok(corpus)
}

/// Finds the files with an extension in a folder and those below it.
fn find_seeds(folder: &Path, extension: &str, seeds: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_seeds(&path, extension, seeds)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            seeds.push(path);
        }
    }
    Ok(())
}

fn dictionary(fuzz: &Path, target: &str) -> String {
    fuzz.join(format!("{target}.dict")).display().to_string()
}
