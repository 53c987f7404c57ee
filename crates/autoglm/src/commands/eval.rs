//! `autoglm eval`: how good a task's answers are on labelled records.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use autoglm_spec::{Cancel, Record, TaskSpec};
use autoglm_task::Row;
use autoglm_task::eval::{Draw, Evaluation, MeanScores, Report, data_hash, draw_examples};
use autoglm_task::file::TaskFile;
use autoglm_task::judge::agreement::Similar;
use autoglm_task::records::{OutputFormat, RowSink, RowWriter};
use autoglm_task::run::{
    Choosing, Engine, Hooks, Job, Resume, RunSettings, Taught, run as run_job,
};
use autoglm_task::store::{EvaluationStore, NewEvaluation, RunId, RunStatus, SqliteStore, Store};
use autoglm_task::strategy::StrategyId;
use clap::Args;
use serde_json::json;

use super::choice::{StrategyArgs, StrategyName};
use super::compare::compare;
use super::confidence::Confidence;
use super::knowledge::passages::{Passages, with_passages};
use super::knowledge::search::{self, SearchArgs};
use super::learning::{Learning, LearningArgs, Purpose};
use super::records::readable;
use super::run::CalibrationArgs;
use super::select::{Library, choosing, counter, open_selector};
use super::task::{TaskArgs, store_path};
use super::teach::{Lesson, TeachArgs, Teacher};
use super::workbench::Site;
use crate::engine::{EngineArgs, Pool};
use crate::exit;
use crate::interrupt::cancel_on_interrupt;
use crate::streams::{FileRows, Meter, OpenInput, now};

/// Measure how good a task's answers are on records whose right answers are known, or how well a
/// collection of documents is searched.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A task file, or the task in plain words.
    #[arg(value_name = "TASK", required_unless_present = "retrieval")]
    task: Option<String>,
    /// Labelled records: JSON lines, CSV or TSV.
    #[arg(long, value_name = "FILE", required_unless_present = "retrieval")]
    data: Option<PathBuf>,
    /// In place of a task, measure how well a collection of documents is searched, on a folder with
    /// queries.jsonl and qrels, as BEIR has them. `autoglm search --eval` measures it with other
    /// settings of the search, `autoglm ask --eval` measures answers.
    #[arg(
        long,
        value_name = "FOLDER",
        conflicts_with_all = ["task", "data", "examples", "calibrate", "output", "compare", "strategy"]
    )]
    retrieval: Option<PathBuf>,
    /// The collection that --retrieval measures; default when not given.
    #[arg(long, short = 'c', value_name = "NAME", requires = "retrieval")]
    collection: Option<String>,
    /// The field that holds the right answer; label, answer or output when not given.
    #[arg(long, value_name = "FIELD")]
    pub(super) gold: Option<String>,
    /// Draw examples from these labelled records, in place of the task's own; with --select those
    /// that are chosen from for each record.
    #[arg(long, value_name = "FILE")]
    examples: Option<PathBuf>,
    /// Examples of each label: 2 when not given, with --fit and --select all of them.
    #[arg(long, value_name = "K", requires = "examples")]
    per_label: Option<usize>,
    /// Let the drawn examples teach a judge, in place of putting all of them into the prompt.
    #[arg(long, requires = "examples", conflicts_with = "untaught")]
    fit: bool,
    #[command(flatten)]
    teach: TeachArgs,
    /// Decides which examples are drawn; several, as in 1,2,3, give a report each and the mean.
    #[arg(
        long,
        value_name = "SEEDS",
        value_delimiter = ',',
        default_value = "1",
        requires = "examples"
    )]
    seed: Vec<u64>,
    /// Keep what these records tell of how sure open answers are, where that is better: later runs
    /// correct their confidences by it.
    #[arg(long, conflicts_with_all = ["compare", "examples"])]
    calibrate: bool,
    /// Evaluate this many records at most.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Write the rows with their answers, too.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Compare two strategies on the same records, each by its number, or none for the task as it
    /// is written: their prompts alone, without what examples in the store and feedback teach.
    #[arg(
        long,
        num_args = 2,
        value_names = ["A", "B"],
        conflicts_with_all = [
            "strategy", "examples", "output", "untaught", "views", "shots", "no_feedback"
        ]
    )]
    pub(super) compare: Option<Vec<StrategyName>>,
    #[command(flatten)]
    strategy: StrategyArgs,
    #[command(flatten)]
    pub(super) calibration: CalibrationArgs,
    #[command(flatten)]
    learning: LearningArgs,
    /// Print the report as JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
}

impl EvalArgs {
    /// The labelled records.
    ///
    /// # Panics
    /// With --retrieval.
    pub(super) fn data(&self) -> &Path {
        self.data.as_deref().expect("a task comes with records")
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.seed.len() == 1 || self.output.is_none(),
            "--output holds the rows of one seed, {} are given",
            self.seed.len()
        );
        Ok(())
    }

    /// Whether a route, where one runs, does what the command line says.
    fn check_route(&self, settings: &RunSettings) -> anyhow::Result<()> {
        self.calibration.check(settings)?;
        anyhow::ensure!(
            settings.route.is_none() || self.examples.is_none(),
            "the strategy is a route between others, which show their own examples, not those of \
             a file\nhint: --strategy none runs the task as it is written"
        );
        Ok(())
    }

    /// Whether the drawn examples are what is chosen from for each record.
    fn draws_library(&self) -> bool {
        self.examples.is_some() && self.calibration.selects()
    }
}

/// Runs the command.
///
/// # Errors
/// A task, model or file that cannot be used, too few examples of a label, records without right
/// answers, an engine or store that fails on the way.
pub(crate) fn run(args: &EvalArgs, home: &Path) -> anyhow::Result<ExitCode> {
    args.check()?;
    match args.task.clone() {
        Some(task) => evaluate(args, &TaskArgs { task }.load()?, home),
        None => retrieval(args, home).map(|()| ExitCode::SUCCESS),
    }
}

fn evaluate(args: &EvalArgs, task: &TaskFile, home: &Path) -> anyhow::Result<ExitCode> {
    let mut store = SqliteStore::open(&store_path(home))?;
    if let Some([first, second]) = args.compare.as_deref() {
        return compare(args, task, &mut store, home, [*first, *second]);
    }
    let chosen = args.strategy.open(&args.engine, task, &store, home)?;
    let (engine, engine_args) = (chosen.engine, chosen.engine_args);
    let cancel = cancel_on_interrupt();
    let strategy = chosen.version.as_ref().map(|v| &v.strategy);
    let (planned, settings) = args.calibration.plan(task, strategy);
    args.check_route(&settings)?;
    let pools = Pools::read(args, &planned)?;
    let pool = Pool::default();
    let (pool, cancel) = (&pool, &cancel);
    let site = Site { home, pool, cancel };
    let teacher = Teacher::new(&engine, &engine_args, site);
    let specs = (&task.spec, &planned, &pools.held_out[..]);
    let mut lesson = lesson(args, specs, &settings, &store)?;
    let purpose = Purpose {
        spec: &task.spec,
        args: &engine_args,
        engine: &engine,
        ensemble: None,
        held_out: &pools.held_out,
        site,
    };
    let similar = args.calibration.similar(home, task, &settings)?;
    let version = chosen.version.map(|version| version.id);
    let mut measured = Measured::untaught(&engine, similar, version, settings);
    measured.passages = Passages::shared(&task.spec, args.engine.local.threads, home)?;
    let mut reports = Vec::new();
    let tokens = counter(&engine);
    for &seed in &args.seed {
        let mut spec = pools.with_examples(args, &planned, seed)?;
        if args.fit {
            lesson.rows.clone_from(&spec.examples);
        }
        let drawn = args
            .draws_library()
            .then(|| std::mem::replace(&mut spec.examples, planned.examples.clone()));
        let ensemble = teacher.teach(&lesson, args.teach.settings(), &mut store)?;
        let mut selector = None;
        if ensemble.is_some() {
            spec.examples.clear();
        } else {
            let stored = Library::Stored(&pools.held_out);
            let library = drawn.as_deref().map_or(stored, Library::Given);
            selector = open_selector(&spec, &measured.settings, &library, &teacher, &mut store)?;
        }
        let purpose = Purpose {
            ensemble: ensemble.as_ref(),
            ..purpose
        };
        let learning = args.learning.open(&purpose, &mut store)?;
        let measured = Measured {
            taught: ensemble.as_ref().map(|e| teacher.taught(e)),
            choosing: choosing(selector.as_ref(), &teacher, &tokens),
            learning: learning.as_ref(),
            ..measured.clone()
        };
        let Some(report) = report(args, &spec, &teacher, &measured, &mut store)? else {
            return Ok(exit::interrupted());
        };
        reports.push(report);
    }
    engine.tell_notes();
    print(args, &reports)?;
    Ok(ExitCode::SUCCESS)
}

/// Measures a collection as `autoglm search --eval` does.
fn retrieval(args: &EvalArgs, home: &Path) -> anyhow::Result<()> {
    let folder = args.retrieval.as_ref().expect("one of both is given");
    let mut words: Vec<OsString> = vec!["--eval".into(), folder.into()];
    let options = [
        ("--collection", args.collection.clone()),
        ("--limit", args.limit.map(|limit| limit.to_string())),
        (
            "--threads",
            args.engine.local.threads.map(|n| n.to_string()),
        ),
    ];
    for (option, value) in options {
        words.extend(
            value
                .into_iter()
                .flat_map(|value| [option.into(), value.into()]),
        );
    }
    words.extend(args.json.then(|| "--json".into()));
    search::run(&SearchArgs::of(words)?, home)
}

/// What the store teaches without what is measured on; nothing yet where examples are drawn.
fn lesson(
    args: &EvalArgs,
    (task, planned, held_out): (&TaskSpec, &TaskSpec, &[Record]),
    settings: &RunSettings,
    store: &SqliteStore,
) -> anyhow::Result<Lesson> {
    let examples = if args.fit {
        Vec::new()
    } else {
        task.examples.clone()
    };
    let spec = TaskSpec {
        examples,
        ..planned.clone()
    };
    let is_routed = settings.route.is_some();
    let is_off = is_routed || args.teach.is_off() || args.calibration.is_given();
    if is_off || args.examples.is_some() {
        return Ok(Lesson::none(spec));
    }
    Lesson::stored(spec, store, held_out)
}

/// The report on a task with confidences as runs give them, or as they are where they are learnt
/// from; nothing where the user stopped it.
fn report(
    args: &EvalArgs,
    spec: &TaskSpec,
    teacher: &Teacher<'_>,
    measured: &Measured<'_>,
    store: &mut SqliteStore,
) -> anyhow::Result<Option<Report>> {
    anyhow::ensure!(
        !args.calibrate || spec.output.labels().is_empty(),
        "--calibrate is for open answers; how sure labels are is taught by labelled examples\n\
         hint: `autoglm examples import` keeps them"
    );
    let confidence = Confidence {
        spec,
        engine: measured.engine,
        engine_args: teacher.args,
        home: teacher.site.home,
        settings: &measured.settings,
        similar: measured.similar.as_deref(),
    };
    let calibrator = if args.calibrate {
        None
    } else {
        confidence.stored(&args.teach, store)?
    };
    let measured = Measured {
        settings: RunSettings {
            calibrator,
            ..measured.settings.clone()
        },
        ..measured.clone()
    };
    let Some(answered) = answer(args, spec, &measured, store, teacher.site.cancel)? else {
        return Ok(None);
    };
    if args.calibrate {
        let evaluation = answered.evaluation(args, spec, &measured);
        confidence.keep(&evaluation, &answered.rows, store)?;
    }
    let report = answered.report(args, spec, &measured)?;
    answered.keep(args, measured.strategy, &report, store)?;
    Ok(Some(report))
}

/// What answers.
#[derive(Clone)]
pub(super) struct Measured<'a> {
    pub(super) engine: &'a dyn Engine,
    /// What the examples have taught.
    pub(super) taught: Option<Taught<'a>>,
    /// What chooses examples for each record.
    pub(super) choosing: Option<Choosing<'a>>,
    /// What feedback has taught.
    pub(super) learning: Option<&'a Learning>,
    pub(super) settings: RunSettings,
    pub(super) similar: Option<Arc<dyn Similar>>,
    /// The strategy that runs; none for the task as it is written.
    pub(super) strategy: Option<StrategyId>,
    /// Finds passages for records, where the task names collections of documents.
    pub(super) passages: Option<Arc<Passages>>,
}

impl<'a> Measured<'a> {
    /// An engine that nothing has taught.
    fn untaught(
        engine: &'a dyn Engine,
        similar: Option<Arc<dyn Similar>>,
        strategy: Option<StrategyId>,
        settings: RunSettings,
    ) -> Self {
        Self {
            engine,
            taught: None,
            choosing: None,
            learning: None,
            settings,
            similar,
            strategy,
            passages: None,
        }
    }
}

/// The records of an evaluation's files.
struct Pools {
    /// Those to draw examples from, where there is a file of them.
    examples: Option<Vec<Record>>,
    /// Those that are measured.
    held_out: Vec<Record>,
}

impl Pools {
    fn read(args: &EvalArgs, spec: &TaskSpec) -> anyhow::Result<Self> {
        let pool = args.examples.as_ref();
        Ok(Self {
            examples: pool.map(|path| readable(path, spec)).transpose()?,
            held_out: readable(args.data(), spec)?,
        })
    }

    /// The task with examples drawn by a seed, where there is a file to draw from.
    fn with_examples(
        &self,
        args: &EvalArgs,
        spec: &TaskSpec,
        seed: u64,
    ) -> anyhow::Result<TaskSpec> {
        let Some(pool) = &self.examples else {
            return Ok(spec.clone());
        };
        let draw = Draw {
            per_label: args.per_label.or(if args.fit || args.draws_library() {
                None
            } else {
                Some(2)
            }),
            seed,
            gold_field: args.gold.as_deref(),
        };
        let examples = draw_examples(spec, pool.iter().cloned(), &self.held_out, &draw)?;
        Ok(TaskSpec {
            examples,
            ..spec.clone()
        })
    }
}

/// The rows of an evaluation.
pub(super) struct Answered {
    pub(super) rows: Vec<Row>,
    run: RunId,
    elapsed: Duration,
}

impl Answered {
    /// How good the answers are.
    ///
    /// # Errors
    /// When no row has a right answer.
    pub(super) fn report(
        &self,
        args: &EvalArgs,
        spec: &TaskSpec,
        measured: &Measured<'_>,
    ) -> anyhow::Result<Report> {
        Ok(self.evaluation(args, spec, measured).of(&self.rows)?)
    }

    /// How they are measured.
    pub(super) fn evaluation<'a>(
        &self,
        args: &'a EvalArgs,
        spec: &'a TaskSpec,
        measured: &'a Measured<'_>,
    ) -> Evaluation<'a> {
        Evaluation {
            spec,
            model: &measured.engine.facts().name,
            gold_field: args.gold.as_deref(),
            plan: measured.settings.plan,
            compare: measured.settings.compare,
            similar: measured.similar.as_ref(),
            elapsed: self.elapsed,
        }
    }

    /// Keeps what was found, so that later versions can be compared with it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(super) fn keep(
        &self,
        args: &EvalArgs,
        strategy: Option<StrategyId>,
        report: &Report,
        store: &mut SqliteStore,
    ) -> anyhow::Result<()> {
        let gold_field = args.gold.as_deref();
        let kept = NewEvaluation {
            run: self.run,
            strategy,
            gold_field,
            data_hash: data_hash(gold_field, &self.rows),
            report,
        };
        store.put_evaluation(&kept, now())?;
        Ok(())
    }
}

/// Answers the data; nothing where the user stopped it.
///
/// # Errors
/// A file that cannot be used, an engine or store that fails.
pub(super) fn answer(
    args: &EvalArgs,
    spec: &TaskSpec,
    measured: &Measured<'_>,
    store: &mut dyn Store,
    cancel: &Cancel,
) -> anyhow::Result<Option<Answered>> {
    let input = OpenInput::of_file(args.data(), &spec.fields)?;
    let meter = Meter::new(input.total(args.limit));
    let abstaining = measured.settings.min_confidence.is_some();
    let mut sink = Kept {
        rows: Vec::new(),
        file: open_rows(args, spec, &input.source, abstaining)?,
    };
    let job = Job {
        spec,
        engine: measured.engine,
        taught: measured.taught,
        choosing: measured.choosing.clone(),
        settings: RunSettings {
            limit: args.limit,
            ..measured.settings.clone()
        },
        similar: measured.similar.clone(),
        source: input.source,
        survey: input.survey,
        output: args
            .output
            .as_ref()
            .map_or("-".to_owned(), |path| path.display().to_string()),
        resume: Resume::No,
        correction: measured.learning.map(Learning::correction),
    };
    let hooks = Hooks {
        now: &now,
        cancel,
        progress: &|progress| meter.show(progress),
        step: &|_| {},
    };
    let mut records = with_passages(measured.passages.as_deref(), input.records, cancel);
    let ended = run_job(&job, &mut *records, store, &mut sink, hooks);
    meter.clear();
    let ended = ended?;
    if ended.status == RunStatus::Interrupted {
        return Ok(None);
    }
    Ok(Some(Answered {
        rows: sink.rows,
        run: ended.run,
        elapsed: ended.elapsed,
    }))
}

fn open_rows(
    args: &EvalArgs,
    spec: &TaskSpec,
    source: &str,
    abstaining: bool,
) -> anyhow::Result<Option<FileRows>> {
    let open = |path: &PathBuf| {
        let format = OutputFormat::from_path(path).unwrap_or(OutputFormat::Jsonl);
        let writer = |file: BufWriter<File>| {
            RowWriter::new(file, format, &spec.output, true).with_abstentions(abstaining)
        };
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
