//! Everything that must pass before a change is merged, in one command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::{browser, check, components, postgres};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long the parsers of weight files are fed generated inputs, together; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    fuzz_seconds: u64,
    /// How long a server is kept under load among clients that misbehave; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    soak_seconds: u64,
}

/// The fuzz targets with the names of their steps; they share the time.
const FUZZED: [(&str, &str); 2] = [("fuzz gguf", "gguf"), ("fuzz safetensors", "safetensors")];

/// One step: what it is called, and the command.
struct Step {
    name: &'static str,
    words: Vec<String>,
    variables: Vec<(&'static str, OsString)>,
}

impl Step {
    fn new(name: &'static str, command: &str) -> Self {
        Self {
            name,
            words: command.split(' ').map(str::to_owned).collect(),
            variables: Vec::new(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let root = crate::root();
    say("repository checks");
    check::run()?;
    say(&format!("the console's browser is {}", browser::prepare()));
    let found = components::prepare(&root);
    for remark in &found.remarks {
        say(remark);
    }
    postgres::prepare(&root).context("the tests of the shared store need PostgreSQL")?;
    for step in steps(arguments, found.rotel) {
        say(step.name);
        let began = Instant::now();
        run_step(&step, &root)?;
        say(&format!(
            "{} took {} s",
            step.name,
            began.elapsed().as_secs()
        ));
    }
    say("everything passed");
    Ok(())
}

fn steps(arguments: &Arguments, rotel: Option<PathBuf>) -> Vec<Step> {
    let mut steps = vec![
        Step::new("format", "cargo fmt --all --check"),
        Step::new(
            "lints",
            "cargo clippy --workspace --all-targets --locked -- -D warnings",
        ),
        // A workspace of their own, which the step before does not see.
        Step::new(
            "lints of the fuzz targets",
            "cargo clippy --manifest-path fuzz/Cargo.toml --locked -- -D warnings",
        ),
        Step {
            variables: vec![("RUSTDOCFLAGS", "-D warnings".into())],
            ..Step::new("documentation", "cargo doc --workspace --no-deps --locked")
        },
        // The program is built with the tests, so that nothing is built twice.
        Step::new("build", "cargo test --workspace --locked --no-run"),
        // Tests of the real path use the default models.
        Step::new("models", "target/debug/autoglm model pull"),
        Step {
            // The tests of observability send to the collector that this names; those of the shared store
            // fail without a server of their own.
            variables: rotel
                .map(|program| ("AUTOGLM_ROTEL", program.into()))
                .into_iter()
                .chain([("AUTOGLM_TESTS_NEED_POSTGRES", "1".into())])
                .collect(),
            ..Step::new("tests", "cargo test --workspace --locked --no-fail-fast")
        },
    ];
    if arguments.soak_seconds > 0 && cfg!(target_os = "linux") {
        // Half of what the machine can do: its speed may fall while others use it.
        let soak = format!(
            "python3 tools/serving/soak.py --binary target/debug/autoglm --share 0.5 --measure 8 --every 15 --seconds {}",
            arguments.soak_seconds
        );
        steps.push(Step::new("soak", &soak));
    }
    let mut left_seconds = arguments.fuzz_seconds;
    for (index, (name, target)) in FUZZED.iter().enumerate() {
        let seconds = left_seconds / (FUZZED.len() - index) as u64;
        left_seconds -= seconds;
        if seconds > 0 {
            let fuzz = format!("cargo xtask fuzz {target} --seconds {seconds}");
            steps.push(Step::new(name, &fuzz));
        }
    }
    steps
}

fn run_step(step: &Step, root: &Path) -> anyhow::Result<()> {
    let [program, words @ ..] = step.words.as_slice() else {
        anyhow::bail!("the step {} has no command", step.name);
    };
    let status = Command::new(program)
        .args(words)
        .envs(step.variables.iter().map(|(name, value)| (name, value)))
        .current_dir(root)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(
        status.success(),
        "{} failed: {}",
        step.name,
        step.words.join(" ")
    );
    Ok(())
}

#[expect(clippy::print_stderr, reason = "progress of a command for people")]
fn say(line: &str) {
    eprintln!("== {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(fuzz_seconds: u64) -> Vec<&'static str> {
        let steps = steps(
            &Arguments {
                fuzz_seconds,
                soak_seconds: 0,
            },
            None,
        );
        steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn models_are_fetched_before_the_tests_that_use_them() {
        let names = names(60);
        let at = |wanted| names.iter().position(|name| *name == wanted);
        assert!(
            at("build") < at("models") && at("models") < at("tests"),
            "{names:?}"
        );
    }

    #[test]
    fn the_tests_are_told_where_the_collector_is() {
        let arguments = Arguments {
            fuzz_seconds: 0,
            soak_seconds: 0,
        };
        let told = |rotel: Option<&str>| {
            let steps = steps(&arguments, rotel.map(PathBuf::from));
            let tests = steps.into_iter().find(|step| step.name == "tests");
            tests.unwrap().variables
        };
        let postgres = ("AUTOGLM_TESTS_NEED_POSTGRES", OsString::from("1"));
        assert_eq!(told(None), std::slice::from_ref(&postgres));
        let named = ("AUTOGLM_ROTEL", OsString::from("/there/rotel-agent"));
        assert_eq!(told(Some("/there/rotel-agent")), [named, postgres]);
    }

    #[test]
    fn fuzzing_can_be_left_out() {
        assert!(names(60).contains(&"fuzz gguf"));
        assert!(names(60).contains(&"fuzz safetensors"));
        assert!(!names(0).iter().any(|name| name.starts_with("fuzz")));
    }

    #[test]
    fn fuzz_targets_share_the_time() {
        let steps = steps(
            &Arguments {
                fuzz_seconds: 61,
                soak_seconds: 0,
            },
            None,
        );
        let seconds = steps.iter().filter(|step| step.name.starts_with("fuzz"));
        let seconds: Vec<&str> = seconds
            .filter_map(|step| step.words.last().map(String::as_str))
            .collect();
        assert_eq!(seconds, ["30", "31"]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_soak_comes_when_nothing_else_loads_the_machine_and_can_be_left_out() {
        let with = |soak_seconds| {
            let arguments = Arguments {
                fuzz_seconds: 0,
                soak_seconds,
            };
            let steps = steps(&arguments, None);
            steps.last().map(|step| step.words.join(" "))
        };
        let last = with(30).unwrap();
        assert!(
            last.contains("soak.py") && last.ends_with("--seconds 30"),
            "{last}"
        );
        assert!(!with(0).unwrap().contains("soak"));
    }

    #[test]
    fn a_step_that_fails_is_named_with_its_command() {
        let step = Step::new("nothing", "false now");
        let error = run_step(&step, Path::new(".")).unwrap_err();
        assert_eq!(error.to_string(), "nothing failed: false now");
    }
}
