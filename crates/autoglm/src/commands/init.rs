//! `autoglm init`: a task file from plain words.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use autoglm_spec::TaskSpec;
use autoglm_task::Remark;
use autoglm_task::file::{TaskFile, TaskSettings, write_task_file};
use autoglm_task::parse::{parse, parse_with_model};
use clap::Args;
use serde_json::json;

use crate::engine::EngineArgs;
use crate::models::Need;

/// What the file is called where the user says nothing.
const DEFAULT_FILE: &str = "task.toml";

/// Write a task file from plain words, for you to edit.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The task in plain words, in English or Chinese; - reads them from standard input.
    #[arg(value_name = "WORDS", required = true, num_args = 1..)]
    words: Vec<String>,
    /// Where the task file is written; - is standard output. [default: task.toml]
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is already there.
    #[arg(long)]
    force: bool,
    /// Ask a model for the kind of task and the labels where the words leave them open.
    #[arg(long)]
    ask: bool,
    /// Print the task and the remarks as JSON; a file is written only where --output names one.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command: the file is written, what was supplied or is doubtful is told on standard
/// error.
///
/// # Errors
/// When there are no words, the file is already there, or it cannot be written.
pub fn run(args: &InitArgs, home: &Path) -> anyhow::Result<()> {
    let words = words(args)?;
    ensure!(
        !words.trim().is_empty(),
        "the task is empty\nhint: say what shall be done, as in `autoglm init \"Classify each \
         review as positive or negative\"`"
    );
    let target = target(args);
    refuse_to_replace(args, target.as_deref())?;
    let (spec, remarks) = if args.ask {
        parse_with_model(&words, &args.engine.open(home, Need::Open)?)
    } else {
        parse(&words)
    };
    if args.json {
        print_json(&spec, &remarks, &words)?;
    } else {
        for remark in &remarks {
            say(&remark.tell(&words));
        }
    }
    let server = args
        .engine
        .remote
        .server_settings(args.engine.local.model.as_ref());
    let settings = TaskSettings {
        model: args.engine.local.model.clone().filter(|_| server.is_none()),
        server,
        ..TaskSettings::default()
    };
    if let Some(target) = target {
        write(&target, &write_task_file(&TaskFile { spec, settings }))?;
    }
    Ok(())
}

fn words(args: &InitArgs) -> anyhow::Result<String> {
    if args.words != ["-"] {
        return Ok(args.words.join(" "));
    }
    let mut words = String::new();
    std::io::stdin()
        .read_to_string(&mut words)
        .context("cannot read the task")?;
    Ok(words)
}

/// The file to write, if any.
fn target(args: &InitArgs) -> Option<PathBuf> {
    match (&args.output, args.json) {
        (Some(path), _) => Some(path.clone()),
        (None, true) => None,
        (None, false) => Some(PathBuf::from(DEFAULT_FILE)),
    }
}

fn refuse_to_replace(args: &InitArgs, target: Option<&Path>) -> anyhow::Result<()> {
    let Some(target) = target.filter(|target| target.exists() && !args.force) else {
        return Ok(());
    };
    let shown = target.display();
    anyhow::bail!(
        "{shown} is already there\nhint: --force replaces it, --output names another file"
    )
}

fn print_json(spec: &TaskSpec, remarks: &[Remark], words: &str) -> anyhow::Result<()> {
    let line = |remark: &Remark| {
        let mut value = json!(remark);
        value["line"] = json!(remark.line(words));
        value
    };
    let remarks: Vec<_> = remarks.iter().map(line).collect();
    let report = json!({"task": spec, "remarks": remarks});
    writeln!(std::io::stdout().lock(), "{report:#}")?;
    Ok(())
}

fn write(target: &Path, text: &str) -> anyhow::Result<()> {
    if target == Path::new("-") {
        std::io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(());
    }
    let shown = target.display();
    std::fs::write(target, text).with_context(|| format!("cannot write {shown}"))?;
    say(&format!("wrote {shown}"));
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn say(text: &str) {
    eprintln!("{text}");
}
