//! `autoglm eval`: how good a task's answers are on labelled records.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use autoglm_spec::{Cancel, Record, TaskSpec};
use autoglm_task::Row;
use autoglm_task::eval::{Draw, Evaluation, MeanScores, Report, draw_examples};
use autoglm_task::file::TaskFile;
use autoglm_task::records::{OutputFormat, RowSink, RowWriter};
use autoglm_task::run::{Engine, Hooks, Job, Resume, RunSettings, run as run_job};
use autoglm_task::store::{RunStatus, SqliteStore, Store};
use clap::Args;
use serde_json::json;

use super::learning::{Learning, LearningArgs, Purpose};
use super::run::CalibrationArgs;
use super::task::{TaskArgs, engine_args, need, store_path};
use crate::engine::EngineArgs;
use crate::exit;
use crate::interrupt::cancel_on_interrupt;
use crate::streams::{FileRows, Meter, OpenInput, now};

/// Measure how good a task's answers are on records whose right answers are known.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// Labelled records: JSON lines, CSV or TSV.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The field that holds the right answer; label, answer or output when not given.
    #[arg(long, value_name = "FIELD")]
    gold: Option<String>,
    /// Draw examples from these labelled records, in place of the task's own.
    #[arg(long, value_name = "FILE")]
    examples: Option<PathBuf>,
    /// Examples of each label.
    #[arg(long, value_name = "K", default_value_t = 2, requires = "examples")]
    per_label: usize,
    /// Decides which examples are drawn; several, as in 1,2,3, give a report each and the mean.
    #[arg(
        long,
        value_name = "SEEDS",
        value_delimiter = ',',
        default_value = "1",
        requires = "examples"
    )]
    seed: Vec<u64>,
    /// Evaluate this many records at most.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Write the rows with their answers, too.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    calibration: CalibrationArgs,
    #[command(flatten)]
    learning: LearningArgs,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
///
/// # Errors
/// A task, model or file that cannot be used, too few examples of a label, records without right
/// answers, an engine or store that fails on the way.
pub(crate) fn run(args: &EvalArgs, home: &Path) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.seed.len() == 1 || args.output.is_none(),
        "--output holds the rows of one seed, {} are given",
        args.seed.len()
    );
    let task = args.task.load()?;
    let mut store = SqliteStore::open(&store_path(home))?;
    let engine_args = engine_args(&args.engine, &task);
    let engine = engine_args.open(home, need(&task.spec))?;
    let cancel = cancel_on_interrupt();
    let purpose = Purpose {
        spec: &task.spec,
        args: &engine_args,
        engine: &engine,
        home,
        cancel: &cancel,
    };
    let learning = args.learning.open(&purpose, &mut store)?;
    let mut reports = Vec::new();
    for &seed in &args.seed {
        let spec = with_examples(args, &task.spec, seed)?;
        let task = TaskFile {
            spec,
            settings: task.settings.clone(),
        };
        match evaluate(args, &task, &engine, learning.as_ref(), &mut store, &cancel)? {
            Some(report) => reports.push(report),
            None => return Ok(exit::interrupted()),
        }
    }
    engine.tell_notes();
    print(args, &reports)?;
    Ok(ExitCode::SUCCESS)
}

/// The task with examples drawn by a seed, where there is a file to draw from.
fn with_examples(args: &EvalArgs, spec: &TaskSpec, seed: u64) -> anyhow::Result<TaskSpec> {
    let Some(pool) = &args.examples else {
        return Ok(spec.clone());
    };
    let draw = Draw {
        per_label: args.per_label,
        seed,
        gold_field: args.gold.as_deref(),
    };
    let pool = readable(pool, spec)?;
    let held_out = readable(&args.data, spec)?;
    let examples = draw_examples(spec, pool, &held_out, &draw)?;
    Ok(TaskSpec {
        examples,
        ..spec.clone()
    })
}

/// The records of a file that can be read.
fn readable(path: &Path, spec: &TaskSpec) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for item in OpenInput::of_file(path, &spec.fields)?.records {
        match item {
            Ok(numbered) => records.push(numbered.record),
            Err(error) if error.is_fatal() => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
            Err(_) => {}
        }
    }
    Ok(records)
}

/// Answers the data and measures the answers; nothing where the user stopped it.
fn evaluate(
    args: &EvalArgs,
    task: &TaskFile,
    engine: &dyn Engine,
    learning: Option<&Learning<'_>>,
    store: &mut dyn Store,
    cancel: &Cancel,
) -> anyhow::Result<Option<Report>> {
    let mut input = OpenInput::of_file(&args.data, &task.spec.fields)?;
    let meter = Meter::new(input.total(args.limit));
    let mut sink = Kept {
        rows: Vec::new(),
        file: open_rows(args, &task.spec, &input.source)?,
    };
    let job = Job {
        spec: &task.spec,
        engine,
        settings: RunSettings {
            limit: args.limit,
            ..args.calibration.settings(&task.settings)
        },
        source: input.source,
        survey: input.survey,
        output: args
            .output
            .as_ref()
            .map_or("-".to_owned(), |path| path.display().to_string()),
        resume: Resume::No,
        correction: learning.map(Learning::correction),
    };
    let hooks = Hooks {
        now: &now,
        cancel,
        progress: &|progress| meter.show(progress),
    };
    let ended = run_job(&job, &mut input.records, store, &mut sink, hooks);
    meter.clear();
    let ended = ended?;
    if ended.status == RunStatus::Interrupted {
        return Ok(None);
    }
    let evaluation = Evaluation {
        spec: &task.spec,
        model: &engine.facts().name,
        gold_field: args.gold.as_deref(),
        elapsed: ended.elapsed,
    };
    Ok(Some(evaluation.of(&sink.rows)?))
}

fn open_rows(args: &EvalArgs, spec: &TaskSpec, source: &str) -> anyhow::Result<Option<FileRows>> {
    let open = |path: &PathBuf| {
        let format = OutputFormat::from_path(path).unwrap_or(OutputFormat::Jsonl);
        let writer = |file: BufWriter<File>| RowWriter::new(file, format, &spec.output, true);
        FileRows::open(path, source, writer)
    };
    args.output.as_ref().map(open).transpose()
}

/// Rows kept for the measures, and written where a file is named.
struct Kept {
    rows: Vec<Row>,
    file: Option<FileRows>,
}

impl RowSink for Kept {
    fn start(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), FileRows::start)
    }

    fn write_rows(&mut self, rows: &[Row]) -> io::Result<()> {
        self.rows.extend_from_slice(rows);
        self.file
            .as_mut()
            .map_or(Ok(()), |file| file.write_rows(rows))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), FileRows::finish)
    }
}

fn print(args: &EvalArgs, reports: &[Report]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let mean = MeanScores::of(reports);
    if let ([report], true) = (reports, args.json) {
        writeln!(out, "{}", serde_json::to_string_pretty(report)?)?;
        return Ok(());
    }
    if args.json {
        let seeded = args.seed.iter().zip(reports);
        let reports: Vec<_> = seeded
            .map(|(s, r)| json!({"seed": s, "report": r}))
            .collect();
        let all = json!({"reports": reports, "mean": mean});
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(());
    }
    for (seed, report) in args.seed.iter().zip(reports) {
        if args.seed.len() > 1 {
            writeln!(out, "seed {seed}")?;
        }
        writeln!(out, "{report}")?;
    }
    if let (Some(mean), true) = (mean, reports.len() > 1) {
        writeln!(out, "{mean}")?;
    }
    Ok(())
}
