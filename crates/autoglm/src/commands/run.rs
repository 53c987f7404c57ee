//! `autoglm run`: a task over a file of records.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use autoglm_spec::{Calibration, Cancel, TaskSpec};
use autoglm_task::file::{TaskFile, TaskSettings};
use autoglm_task::judge::agreement::Similar;
use autoglm_task::run::{Hooks, Job, Resume, RunReport, RunSettings, run as run_job};
use autoglm_task::store::{RunId, RunStatus, SqliteStore, Store};
use autoglm_task::strategy::Strategy;
use clap::{Args, ValueEnum};

use super::agreement::AgreementArgs;
use super::choice::StrategyArgs;
use super::knowledge::passages::with_passages;
use super::learning::LearningArgs;
use super::sampling::DecodingArgs;
use super::select::SelectArgs;
use super::task::{TaskArgs, store_path};
use super::teach::TeachArgs;
use super::workbench::{Site, Wishes, Workbench};
use crate::engine::{EngineArgs, Pool};
use crate::exit;
use crate::interrupt::cancel_on_interrupt;
use crate::streams::{InputArgs, Meter, OpenInput, OutputArgs, RowsOf, now, open_output, span};

/// Answer every record of a file.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    task: TaskArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Go on where an earlier run with the same task, model, input and output stopped, or where
    /// the run with this number did.
    #[arg(
        long,
        value_name = "RUN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "latest"
    )]
    resume: Option<ResumeChoice>,
    /// Stop at the first record that cannot be read or answered.
    #[arg(long)]
    strict: bool,
    /// Answer this many records at most.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    strategy: StrategyArgs,
    #[command(flatten)]
    calibration: CalibrationArgs,
    #[command(flatten)]
    teach: TeachArgs,
    #[command(flatten)]
    learning: LearningArgs,
    /// Rows as JSON lines even on a terminal, and the report as JSON: on standard output where
    /// the rows go to a file, on standard error otherwise.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// The run that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResumeChoice {
    Latest,
    Run(i64),
}

impl FromStr for ResumeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse()) {
            ("latest", _) => Ok(Self::Latest),
            (_, Ok(run)) => Ok(Self::Run(run)),
            (_, Err(_)) => Err("want a run's number, as `autoglm runs` lists it".to_owned()),
        }
    }
}

/// How label bias is removed, where the command line says so.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CalibrationArgs {
    /// How label bias is removed; as the task says when not given.
    #[arg(long, value_name = "HOW")]
    calibration: Option<CalibrationChoice>,
    /// Score labels behind the examples in their own order alone: twice as fast, and at the mercy
    /// of that order.
    #[arg(long)]
    one_order: bool,
    #[command(flatten)]
    written: WrittenArgs,
    #[command(flatten)]
    select: SelectArgs,
}

/// What no strategy says of how a task is run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WrittenArgs {
    #[command(flatten)]
    agreement: AgreementArgs,
    #[command(flatten)]
    decoding: DecodingArgs,
}

impl WrittenArgs {
    /// The settings as the task has them.
    pub(crate) fn settings(&self, task: &TaskSettings) -> RunSettings {
        let settings = RunSettings {
            calibration: task.calibration,
            sampling: task.sampling,
            decoding: self.decoding.decoding(task.decoding),
            stop: task.stop.clone(),
            ..RunSettings::default()
        };
        self.agreement.settings(task, settings)
    }

    /// The measure of nearness for open answers, where one is needed.
    ///
    /// # Errors
    /// A model that cannot be used.
    pub(crate) fn similar(
        &self,
        home: &Path,
        task: &TaskFile,
        run: &RunSettings,
    ) -> anyhow::Result<Option<Arc<dyn Similar>>> {
        self.agreement.similar(home, task, run)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CalibrationChoice {
    /// Not at all.
    None,
    /// By the answers to records without content.
    Contextual,
    /// By the mean over the first 256 records.
    Batch,
}

impl CalibrationArgs {
    /// Whether the command line says how label bias is removed, or which examples stand in prompts
    /// and in which order, which a taught judge does in its own way.
    pub(crate) fn is_given(&self) -> bool {
        self.calibration.is_some() || self.one_order || self.select.is_on()
    }

    /// Whether the command line wants examples for each record.
    pub(crate) fn selects(&self) -> bool {
        self.select.is_on()
    }

    /// A task and the settings of its run by a strategy, or as it is written; what the command
    /// line says goes over both.
    pub(crate) fn plan(
        &self,
        task: &TaskFile,
        strategy: Option<&Strategy>,
    ) -> (TaskSpec, RunSettings) {
        let settings = self.select.settings(self.written.settings(&task.settings));
        let (spec, settings) = match strategy {
            Some(strategy) => strategy.apply(&task.spec, &settings),
            None => (task.spec.clone(), settings),
        };
        let settings = self.select.settings(settings);
        let calibration = match self.calibration {
            None => settings.calibration,
            Some(CalibrationChoice::None) => Calibration::None,
            Some(CalibrationChoice::Contextual) => Calibration::Contextual,
            Some(CalibrationChoice::Batch) => Calibration::Batch,
        };
        let settings = RunSettings {
            calibration,
            prior: settings.prior.filter(|_| self.calibration.is_none()),
            both_orders: settings.both_orders && !self.one_order,
            ..settings
        };
        (spec, settings)
    }

    /// Whether a run does what the command line says: the strategies of a route are each run as
    /// they are, which is what the route was taught on.
    ///
    /// # Errors
    /// A route, and a wish that its strategies do not follow.
    pub(crate) fn check(&self, run: &RunSettings) -> anyhow::Result<()> {
        anyhow::ensure!(
            run.route.is_none() || !self.is_given(),
            "the strategy is a route between others, which say themselves how label bias is removed \
             and which examples they show: --calibration, --one-order and --select do not go with it\n\
             hint: --strategy none runs the task as it is written"
        );
        Ok(())
    }

    /// The measure of nearness for open answers, where one is needed.
    ///
    /// # Errors
    /// A model that cannot be used.
    pub(crate) fn similar(
        &self,
        home: &Path,
        task: &TaskFile,
        run: &RunSettings,
    ) -> anyhow::Result<Option<Arc<dyn Similar>>> {
        self.written.similar(home, task, run)
    }
}

/// Runs the command.
///
/// # Errors
/// A task, model, input or output that cannot be used; a bad record in a strict run; an engine,
/// store or output that fails on the way.
pub(crate) fn run(args: &RunArgs, home: &Path) -> anyhow::Result<ExitCode> {
    let task = args.task.load()?;
    let mut store = SqliteStore::open(&store_path(home))?;
    let cancel = cancel_on_interrupt();
    let wishes = Wishes {
        engine: &args.engine,
        strategy: args.strategy,
        calibration: &args.calibration,
        teach: &args.teach,
        learning: args.learning,
    };
    let site = Site {
        home,
        pool: &Pool::default(),
        cancel: &cancel,
    };
    let input = args.input.open(&task.spec.fields)?;
    let bench = Workbench::open(&task, wishes, site, &mut store)?;
    let report = answer(args, &bench, input, &mut store, &cancel)?;
    bench.engine.tell_notes();
    tell(args, &report)?;
    Ok(match report.status {
        RunStatus::Interrupted => exit::interrupted(),
        RunStatus::Unfinished | RunStatus::Failed | RunStatus::Finished => ExitCode::SUCCESS,
    })
}

fn answer(
    args: &RunArgs,
    bench: &Workbench,
    input: OpenInput,
    store: &mut dyn Store,
    cancel: &Cancel,
) -> anyhow::Result<RunReport> {
    let meter = Rc::new(Meter::new(input.total(args.limit)));
    let rows = RowsOf {
        spec: &bench.spec,
        abstaining: bench.settings.min_confidence.is_some(),
        for_machines: args.json,
    };
    let (mut sink, output) = open_output(&args.output, rows, &input.source, &meter)?;
    let job = Job {
        settings: RunSettings {
            strict: args.strict,
            limit: args.limit,
            ..bench.settings.clone()
        },
        survey: input.survey,
        resume: match args.resume {
            None => Resume::No,
            Some(ResumeChoice::Latest) => Resume::Matching,
            Some(ResumeChoice::Run(run)) => Resume::Run(RunId(run)),
        },
        ..bench.job(input.source, output)
    };
    let hooks = Hooks {
        now: &now,
        cancel,
        progress: &|progress| meter.show(progress),
        step: &|_| {},
    };
    let mut records = with_passages(bench.passages.as_ref(), input.records, cancel);
    let ended = run_job(&job, &mut *records, store, sink.as_mut(), hooks);
    meter.clear();
    Ok(ended?)
}

fn tell(args: &RunArgs, report: &RunReport) -> anyhow::Result<()> {
    if !args.json {
        eprint_line(&summary(report));
        return Ok(());
    }
    let line = serde_json::to_string(report)?;
    if args.output.output == "-" {
        eprint_line(&line);
    } else {
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn eprint_line(text: &str) {
    eprintln!("{text}");
}

/// What a run came to, in words.
fn summary(report: &RunReport) -> String {
    let computed = (report.written + report.waiting).saturating_sub(report.resumed);
    let seconds = report.elapsed.as_secs_f64();
    let mut text = format!("run {}: {} records", report.run.0, report.written);
    if report.resumed > 0 {
        let _ = write!(
            text,
            ", {} of them from the store",
            report.resumed.min(report.written)
        );
    }
    if seconds > 0.0 && computed > 0 {
        let rate = computed as f64 / seconds;
        let _ = write!(text, ", {} ({rate:.1} records/s)", span(report.elapsed));
    }
    if report.errors > 0 {
        let _ = write!(text, ", {} with errors", report.errors);
    }
    if report.samples > 0 && report.written > 0 {
        let mean = report.samples as f64 / report.written as f64;
        let _ = write!(text, ", {mean:.1} samples a record");
    }
    if report.abstained > 0 {
        let _ = write!(text, ", {} withheld as unsure", report.abstained);
    }
    if report.cut > 0 {
        let _ = write!(text, ", {} cut at the token limit", report.cut);
    }
    if report.status == RunStatus::Interrupted {
        text += "\ninterrupted";
        if report.waiting > 0 {
            let _ = write!(
                text,
                "; {} records are scored and stored, and written when the calibration is known",
                report.waiting
            );
        }
        let _ = write!(
            text,
            "\nhint: the same command with --resume={} goes on",
            report.run.0
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use autoglm_spec::Usage;
    use autoglm_task::file::read_task_file;
    use autoglm_task::judge::Prior;

    use super::*;

    #[test]
    fn another_calibration_puts_what_records_have_taught_aside() {
        let text = "name = \"mood\"\ninstruction = \"Judge it.\"\nlabels = [\"good\", \"bad\"]\n";
        let (task, _) = read_task_file(text).unwrap();
        let taught = Prior::fitted(&[vec![-0.1, -3.0]], &[1]);
        let strategy = Strategy {
            calibration: Calibration::Fitted,
            prior: Some(taught.clone()),
            ..Strategy::as_written(&RunSettings::default())
        };
        let planned = |calibration| {
            let args = CalibrationArgs {
                calibration,
                ..CalibrationArgs::default()
            };
            let settings = args.plan(&task, Some(&strategy)).1;
            (settings.calibration, settings.prior)
        };
        assert_eq!(planned(None), (Calibration::Fitted, Some(taught)));
        let batch = Some(CalibrationChoice::Batch);
        assert_eq!(planned(batch), (Calibration::Batch, None));
    }

    #[test]
    fn an_interrupted_run_says_how_to_go_on() {
        let report = RunReport {
            run: RunId(7),
            status: RunStatus::Interrupted,
            written: 300,
            waiting: 0,
            resumed: 100,
            errors: 2,
            abstained: 30,
            samples: 900,
            cut: 0,
            prior: None,
            usage: Usage::default(),
            elapsed: Duration::from_secs(20),
        };
        assert_eq!(
            summary(&report),
            "run 7: 300 records, 100 of them from the store, 20 s (10.0 records/s), \
             2 with errors, 3.0 samples a record, 30 withheld as unsure\ninterrupted\nhint: the same command with --resume=7 goes on"
        );
    }
}
