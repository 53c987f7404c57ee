//! `autoglm examples`: the labelled records that a task learns from.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use autoglm_spec::{Record, TaskSpec};
use autoglm_task::library::{Added, Entry, Intake, Library, Source, labelled, take_in};
use autoglm_task::store::SqliteStore;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::records::read_all;
use super::task::{TaskArgs, store_path};
use crate::streams::now;

/// Refused records that are told one by one.
const TOLD: usize = 5;
/// Characters of a record that a list shows.
const SHOWN_CHARS: usize = 100;

/// Keep labelled records of a task: every run learns from them.
#[derive(Debug, Args)]
pub(crate) struct ExamplesArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add one record with its right answer.
    Add(AddArgs),
    /// Add the records of a file.
    Import(ImportArgs),
    /// Show the records.
    List(ListArgs),
    /// Remove records.
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// The record: a JSON object, or the text of the task's only field.
    record: String,
    /// The right answer.
    answer: String,
}

#[derive(Debug, Args)]
struct ImportArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// Labelled records: JSON lines, CSV or TSV.
    file: PathBuf,
    /// The field that holds the right answer; label, answer or output when not given.
    #[arg(long, value_name = "FIELD")]
    gold: Option<String>,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// Print JSON lines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// Numbers of records, as `autoglm examples list` shows them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<i64>,
    /// Remove all of them.
    #[arg(long)]
    all: bool,
}

/// Runs the command.
///
/// # Errors
/// A task or file that cannot be used, a record without answer, a number that is not there, a
/// store that fails.
pub(crate) fn run(args: &ExamplesArgs, home: &Path) -> anyhow::Result<()> {
    let mut store = SqliteStore::open(&store_path(home))?;
    match &args.action {
        Action::Add(args) => add(args, &mut store),
        Action::Import(args) => import(args, &mut store),
        Action::List(args) => list(args, &store),
        Action::Remove(args) => remove(args, &mut store),
    }
}

fn add(args: &AddArgs, store: &mut dyn Library) -> anyhow::Result<()> {
    let spec = args.task.load()?.spec;
    let record = record_of(&spec, &args.record)?;
    let example = labelled(&spec, &record, &args.answer)
        .map_err(|reason| anyhow::anyhow!("the record cannot be used: {reason}"))?;
    let added = store.add_examples(&spec.name, &[example], Source::Added, now())?;
    tell(&spec, added, store)
}

/// The record that the command line gives.
fn record_of(spec: &TaskSpec, text: &str) -> anyhow::Result<Record> {
    if let Ok(Value::Object(record)) = serde_json::from_str(text) {
        return Ok(record);
    }
    let [field] = &spec.fields[..] else {
        let names: Vec<&str> = spec
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        anyhow::bail!(
            "the record is {text:?}, want a JSON object with the fields {}",
            names.join(", ")
        );
    };
    Ok(Record::from_iter([(field.name.clone(), Value::from(text))]))
}

fn import(args: &ImportArgs, store: &mut dyn Library) -> anyhow::Result<()> {
    let spec = args.task.load()?.spec;
    let items = read_all(&args.file, &spec)?;
    let intake = take_in(&spec, args.gold.as_deref(), items);
    tell_refused(&intake);
    anyhow::ensure!(
        !intake.examples.is_empty(),
        "no record of {} can be used",
        args.file.display()
    );
    let added = store.add_examples(&spec.name, &intake.examples, Source::Imported, now())?;
    tell(&spec, added, store)
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn tell_refused(intake: &Intake) {
    for refused in intake.refused.iter().take(TOLD) {
        eprintln!("line {} is left out: {}", refused.line, refused.reason);
    }
    if intake.refused.len() > TOLD {
        eprintln!("and {} more are left out", intake.refused.len() - TOLD);
    }
}

/// What was done, and what the task has now.
fn tell(spec: &TaskSpec, added: Added, store: &dyn Library) -> anyhow::Result<()> {
    let all = store.examples(&spec.name)?.len();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} added, {} with another answer than before, {} known; {} has {all} examples",
        added.added, added.replaced, added.known, spec.name
    )?;
    Ok(())
}

fn list(args: &ListArgs, store: &dyn Library) -> anyhow::Result<()> {
    let spec = args.task.load()?.spec;
    let entries = store.examples(&spec.name)?;
    let mut out = io::stdout().lock();
    if args.json {
        for entry in &entries {
            writeln!(out, "{}", json!(entry))?;
        }
        return Ok(());
    }
    if entries.is_empty() {
        writeln!(out, "{} has no examples", spec.name)?;
        return Ok(());
    }
    for Entry { id, example, .. } in &entries {
        let record = Value::Object(example.input.clone()).to_string();
        let short: String = record.chars().take(SHOWN_CHARS).collect();
        writeln!(out, "{id}\t{}\t{short}", example.output)?;
    }
    Ok(())
}

fn remove(args: &RemoveArgs, store: &mut dyn Library) -> anyhow::Result<()> {
    let spec = args.task.load()?.spec;
    let ids = if args.all {
        store.examples(&spec.name)?.iter().map(|e| e.id).collect()
    } else {
        args.ids.clone()
    };
    store
        .remove_examples(&spec.name, &ids)
        .context("nothing is removed")?;
    writeln!(io::stdout().lock(), "{} removed", ids.len())?;
    Ok(())
}
