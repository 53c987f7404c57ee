//! `autoglm feedback`: what users say of answers, and what comes of it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use autoglm_spec::TaskSpec;
use autoglm_task::eval::table;
use autoglm_task::learn::{Corrector, FeedbackReport, Giver, only_present_opinions};
use autoglm_task::store::{
    Feedback, FeedbackStore, Judgement, NewFeedback, RunId, SqliteStore, Withdrawal,
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::task::{TaskArgs, store_path};
use crate::streams::{OpenInput, now};

/// Say which answers were right or wrong; later runs of the task learn from it.
///
/// Without a record or a file, tells what the task's feedback has come to.
#[derive(Debug, Args)]
pub(crate) struct FeedbackArgs {
    #[command(flatten)]
    task: TaskArgs,
    #[command(flatten)]
    about: AboutArgs,
    /// Feedback in bulk, one batch: JSON lines or CSV with records and their right labels, or
    /// with `run`, `record` and `correct`, `good` or `bad`.
    #[arg(long, value_name = "FILE", group = "given")]
    file: Option<PathBuf>,
    /// The field of a file's records that holds the right label; label, answer or output when
    /// not given.
    #[arg(long, value_name = "FIELD", requires = "file")]
    gold: Option<String>,
    /// Why, for whoever reads the list.
    #[arg(long, value_name = "TEXT", requires = "given")]
    note: Option<String>,
    /// This must be right from now on, whatever other feedback says.
    #[arg(long, requires = "given")]
    pin: bool,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<FeedbackCommand>,
}

/// A stored record, and what is said of its answer.
#[derive(Debug, Args)]
struct AboutArgs {
    /// The run's number.
    #[arg(long, value_name = "ID", group = "given", requires_all = ["record", "verdict"])]
    run: Option<i64>,
    /// The record, counted from 0.
    #[arg(long, value_name = "N", requires = "run")]
    record: Option<u64>,
    /// The right label.
    #[arg(long, value_name = "LABEL", group = "verdict", requires = "run")]
    correct: Option<String>,
    /// The answer was right.
    #[arg(long, group = "verdict", requires = "run")]
    good: bool,
    /// The answer was wrong.
    #[arg(long, group = "verdict", requires = "run")]
    bad: bool,
}

#[derive(Debug, Subcommand)]
enum FeedbackCommand {
    /// All rows, the withdrawn ones included.
    List,
    /// Take feedback back: later runs answer as if it had never been given.
    Withdraw(WithdrawArgs),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WithdrawArgs {
    /// The number of a row.
    #[arg(value_name = "ID")]
    id: Option<i64>,
    /// The number of a batch: all that was given together.
    #[arg(long, value_name = "N")]
    batch: Option<i64>,
}

impl AboutArgs {
    fn judgement(&self) -> Judgement {
        match (&self.correct, self.good) {
            (Some(label), _) => Judgement::Correct(label.clone()),
            (None, true) => Judgement::Good,
            (None, false) => Judgement::Bad,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A task, run, record, label or file that cannot be used, or a store that fails.
pub(crate) fn run(args: &FeedbackArgs, home: &Path) -> anyhow::Result<()> {
    let spec = args.task.load()?.spec;
    let mut store = SqliteStore::open(&store_path(home))?;
    match &args.command {
        Some(FeedbackCommand::List) => return list(args, &store.feedback(&spec.name)?),
        Some(FeedbackCommand::Withdraw(withdrawn)) => withdraw(withdrawn, &spec, &mut store)?,
        None => give(args, &spec, &mut store)?,
    }
    print(args, &spec, &store)
}

fn give(args: &FeedbackArgs, spec: &TaskSpec, store: &mut SqliteStore) -> anyhow::Result<()> {
    let giver = Giver {
        spec,
        gold_field: args.gold.as_deref(),
        note: args.note.as_deref(),
        pinned: args.pin,
    };
    let rows = match (&args.file, args.about.run.zip(args.about.record)) {
        (Some(path), _) => of_file(&giver, path, store)?,
        (None, Some((run, record))) => {
            let judgement = args.about.judgement();
            vec![giver.on_record(store, (RunId(run), record), judgement)?]
        }
        (None, None) => return Ok(()),
    };
    anyhow::ensure!(!rows.is_empty(), "there is no row of feedback in the file");
    let batch = store.put_feedback(&spec.name, &rows, now())?;
    say(&format!(
        "batch {batch}: {} rows taken\nhint: `autoglm feedback TASK withdraw --batch {batch}` takes \
         them back",
        rows.len()
    ));
    Ok(())
}

/// The rows of a file, all or none.
fn of_file(
    giver: &Giver<'_>,
    path: &Path,
    store: &SqliteStore,
) -> anyhow::Result<Vec<NewFeedback>> {
    let mut rows = Vec::new();
    for item in OpenInput::of_file(path, &giver.spec.fields)?.records {
        let context = || {
            format!(
                "cannot take the feedback in {}; nothing was taken",
                path.display()
            )
        };
        let numbered = item.with_context(context)?;
        let row = giver.from_line(store, &numbered.record);
        rows.push(row.with_context(|| {
            format!(
                "cannot take line {} of {}; nothing was taken",
                numbered.line,
                path.display()
            )
        })?);
    }
    Ok(rows)
}

fn withdraw(args: &WithdrawArgs, spec: &TaskSpec, store: &mut SqliteStore) -> anyhow::Result<()> {
    let what = match (args.batch, args.id) {
        (Some(batch), _) => Withdrawal::Batch(batch),
        (None, id) => Withdrawal::Row(id.unwrap_or_default()),
    };
    let rows = store.withdraw(&spec.name, what, now())?;
    say(&format!("{rows} rows withdrawn"));
    Ok(())
}

/// Prints what the feedback has come to, with the vectors that runs have made of it so far.
fn print(args: &FeedbackArgs, spec: &TaskSpec, store: &SqliteStore) -> anyhow::Result<()> {
    let vectors = match store.usual_space(&spec.name)? {
        Some(space) => store.vectors(&spec.name, &space)?,
        None => BTreeMap::new(),
    };
    let mut feedback = store.feedback(&spec.name)?;
    only_present_opinions(&spec.name, &mut feedback, store)?;
    let learnt = Corrector::learn(spec, &feedback, &vectors)?;
    let report: Option<FeedbackReport> = learnt.map(|(_, report)| report);
    let mut out = std::io::stdout().lock();
    match (report, args.json) {
        (report, true) => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        (Some(report), false) => write!(out, "{report}")?,
        (None, false) => writeln!(out, "the task {:?} has no feedback", spec.name)?,
    }
    Ok(())
}

fn list(args: &FeedbackArgs, rows: &[Feedback]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(rows)?)?;
    } else if rows.is_empty() {
        writeln!(out, "no feedback yet")?;
    } else {
        write!(out, "{}", list_text(rows))?;
    }
    Ok(())
}

fn list_text(rows: &[Feedback]) -> String {
    let head = [
        "row", "batch", "record", "answer", "said", "input", "note", "",
    ];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(|row| {
        let record = row.run.zip(row.index);
        let marks = [(row.pinned, "pinned"), (!row.is_live(), "withdrawn")];
        let marks: Vec<&str> = marks.iter().filter(|m| m.0).map(|m| m.1).collect();
        vec![
            row.id.to_string(),
            row.batch.to_string(),
            record.map_or(String::new(), |(run, index)| format!("{}:{index}", run.0)),
            row.given.clone().unwrap_or_default(),
            match &row.judgement {
                Judgement::Correct(label) => label.clone(),
                Judgement::Good => "good".to_owned(),
                Judgement::Bad => "bad".to_owned(),
            },
            short(&json!(row.input).to_string()),
            row.note.clone().unwrap_or_default(),
            marks.join(", "),
        ]
    }));
    table(&cells)
}

/// The beginning of a long text.
fn short(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn say(text: &str) {
    eprintln!("{text}");
}
