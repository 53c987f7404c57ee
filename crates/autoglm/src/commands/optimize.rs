//! `autoglm optimize`: looks for a better way to run a task.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use autoglm_spec::{Generate as _, Output, Prompt, TaskSpec};
use autoglm_task::eval::labelled;
use autoglm_task::file::TaskFile;
use autoglm_task::judge::agreement::SamplingPlan;
use autoglm_task::library::Library as _;
use autoglm_task::optimize::{
    Budget, Ended, Search, SearchHooks, SearchProgress, SearchReport, Writer, estimate, optimize,
};
use autoglm_task::run::RunSettings;
use autoglm_task::select::{Nearness, Selection};
use autoglm_task::store::{Feedback, FeedbackStore as _, SqliteStore};
use autoglm_task::strategy::{Strategy, StrategyVersion};
use clap::Args;
use serde::Serialize;

use super::choice::StrategyArgs;
use super::knowledge::passages::add_passages;
use super::records::readable;
use super::run::WrittenArgs;
use super::task::{TaskArgs, need, store_path};
use super::teach::Lesson;
use crate::engine::{EngineArgs, OpenEngine, RemoteArgs};
use crate::exit;
use crate::interrupt::cancel_on_interrupt;
use crate::streams::{now, span};

/// The share of a budget from which on the time that is left is told.
const LEAST_SHARE: f64 = 0.01;

/// Time between two lines of the same stage.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Look for a better way to run a task: wording, examples, calibration, sampling. It goes live only
/// where it is better on records that nothing was chosen by.
#[derive(Debug, Args)]
pub(crate) struct OptimizeArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// Labelled records: JSON lines, CSV or TSV. Keep those for the final test out of it.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The field that holds the right answer; label, answer or output when not given.
    #[arg(long, value_name = "FIELD")]
    gold: Option<String>,
    /// What may be spent at most: requests to the model (500), tokens (200000tok), or time (90s,
    /// 10min).
    #[arg(long, value_name = "BUDGET", default_value = "1000")]
    budget: BudgetArg,
    /// Tell what it would cost, and ask nothing.
    #[arg(long)]
    dry_run: bool,
    /// Decides how records are parted and examples are drawn.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Let the model of this server write instructions.
    #[arg(long, value_name = "URL")]
    teacher_engine: Option<String>,
    /// The teacher's model by its server's name; its first when not given.
    #[arg(long, value_name = "MODEL", requires = "teacher_engine")]
    teacher_model: Option<String>,
    /// Read the key of the teacher's server from a file.
    #[arg(long, value_name = "FILE", requires = "teacher_engine")]
    teacher_key_file: Option<PathBuf>,
    #[command(flatten)]
    strategy: StrategyArgs,
    #[command(flatten)]
    settings: WrittenArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// A budget as it is written on the command line.
#[derive(Debug, Clone)]
struct BudgetArg {
    budget: Budget,
    text: String,
}

impl FromStr for BudgetArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(unit_at.unwrap_or(text.len()));
        let number: u64 = number.parse().map_err(|_| wanted(text))?;
        let budget = match unit.trim() {
            "" | "calls" => Budget::Calls(number),
            "tok" | "tokens" => Budget::Tokens(number),
            "s" => Budget::Time(Duration::from_secs(number)),
            "min" => {
                let seconds = number.checked_mul(60).ok_or_else(|| wanted(text))?;
                Budget::Time(Duration::from_secs(seconds))
            }
            _ => return Err(wanted(text)),
        };
        let text = text.to_owned();
        Ok(Self { budget, text })
    }
}

fn wanted(text: &str) -> String {
    format!(
        "{text:?} is no budget, want calls as 500, tokens as 200000tok, or time as 90s or 10min"
    )
}

/// Runs the command.
///
/// # Errors
/// A task, model or file that cannot be used, too few records, too small a budget, an engine or
/// store that fails on the way.
pub(crate) fn run(args: &OptimizeArgs, home: &Path) -> anyhow::Result<ExitCode> {
    let task = args.task.load()?;
    let mut store = SqliteStore::open(&store_path(home))?;
    let chosen = args.strategy.open(&args.engine, &task, &store, home)?;
    let (engine, engine_args) = (chosen.engine, chosen.engine_args);
    let teacher = open_teacher(args)?;
    let desk = Desk {
        args,
        home,
        task: &task,
        version: chosen.version.as_ref(),
        engine: &engine,
        teacher: teacher
            .as_ref()
            .map(|(engine, scope)| (engine, scope.as_str())),
        scope: engine_args.identity(home, need(&task.spec))?,
    };
    let ended = desk.work(&mut store);
    engine.tell_notes();
    ended
}

/// The teacher with what its answers depend on.
fn open_teacher(args: &OptimizeArgs) -> anyhow::Result<Option<(OpenEngine, String)>> {
    let Some(url) = &args.teacher_engine else {
        return Ok(None);
    };
    let server = RemoteArgs::at(url.clone(), args.teacher_key_file.clone());
    let model = args.teacher_model.as_deref();
    let engine = server.open(url, model, None)?;
    let scope = format!("{model:?} {:?}", server.answers_depend_on());
    Ok(Some((OpenEngine::Remote(engine), scope)))
}

/// What a search works with.
struct Desk<'a> {
    args: &'a OptimizeArgs,
    home: &'a Path,
    task: &'a TaskFile,
    version: Option<&'a StrategyVersion>,
    engine: &'a OpenEngine,
    /// The teacher, and what else than its model determines its answers.
    teacher: Option<(&'a OpenEngine, &'a str)>,
    scope: String,
}

impl Desk<'_> {
    fn work(&self, store: &mut SqliteStore) -> anyhow::Result<ExitCode> {
        let args = self.args;
        let cancel = cancel_on_interrupt();
        let settings = args.settings.settings(&self.task.settings);
        let start = self.start(&settings);
        let mut records = readable(&args.data, &self.task.spec)?;
        let threads = args.engine.local.threads;
        add_passages(&mut records, &self.task.spec, (threads, self.home), &cancel)?;
        let origin = self.origin();
        anyhow::ensure!(
            start.route.is_none(),
            "the search cannot start from a strategy that routes\n\
             hint: --strategy none starts from the task as it is written"
        );
        let by_words = |s: &Selection| s.by == Nearness::Words;
        anyhow::ensure!(
            start.selection.as_ref().is_none_or(by_words),
            "the search compares examples for each record by words alone\n\
             hint: --strategy none starts from the task as it is written"
        );
        let lesson = Lesson::of_any_task(self.task.spec.clone(), store, &[])?;
        let plan = self.task.settings.plan;
        let hold = hold(&self.task.spec, plan, self.engine.facts().chat, store)?;
        let search = Search {
            spec: &self.task.spec,
            settings: &settings,
            start: &start,
            parent: self.version.map(|version| version.id),
            engine: self.engine,
            writer: self.writer(),
            records: labelled(&self.task.spec, args.gold.as_deref(), records),
            library: &lesson.rows,
            budget: args.budget.budget,
            seed: args.seed,
            scope: &self.scope,
            origin: &origin,
            similar: args.settings.similar(self.home, self.task, &settings)?,
            hold: hold.as_deref(),
        };
        let talk = Talk::default();
        let quiet = args.dry_run;
        let progress = |progress: &SearchProgress| {
            if !quiet {
                talk.show(progress);
            }
        };
        let tokens = |prompt: &Prompt| self.engine.count_tokens(prompt);
        let hooks = SearchHooks {
            now: &now,
            cancel: &cancel,
            tokens: &tokens,
            progress: &progress,
        };
        if args.dry_run {
            print(args, &estimate(&search, hooks)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let report = optimize(&search, store, hooks)?;
        print(args, &report)?;
        Ok(ended(&report))
    }

    fn start(&self, settings: &RunSettings) -> Strategy {
        match self.version {
            Some(version) => version.strategy.clone(),
            None => Strategy::as_written(settings),
        }
    }

    /// Who writes instructions: the teacher, else the model itself where it follows turns.
    fn writer(&self) -> Option<Writer<'_>> {
        if let Some((engine, scope)) = self.teacher {
            return Some(Writer { engine, scope });
        }
        self.engine.facts().chat.then_some(Writer {
            engine: self.engine,
            scope: &self.scope,
        })
    }

    fn origin(&self) -> String {
        let mut origin = format!(
            "optimize --budget {} --seed {}",
            self.args.budget.text, self.args.seed
        );
        if let Some(url) = &self.args.teacher_engine {
            let _ = write!(origin, " --teacher-engine {url}");
        }
        origin
    }
}

/// What runs answer with besides the prompts that a search measures, as the task says; none where that
/// is nothing.
pub(super) fn hold(
    spec: &TaskSpec,
    plan: SamplingPlan,
    is_chat: bool,
    store: &SqliteStore,
) -> anyhow::Result<Option<String>> {
    let closed = matches!(spec.output, Output::Labels { .. });
    let repaired = plan.repair && is_chat;
    let resampled = !closed && (plan.samples > 1 || repaired);
    let taught = closed && !store.examples(&spec.name)?.is_empty();
    let corrected = closed && store.feedback(&spec.name)?.iter().any(Feedback::is_live);
    let parts = [
        (taught, "the task's labelled examples in the store"),
        (corrected, "feedback on the task"),
        (resampled, "further samples of an answer"),
    ];
    let parts: Vec<&str> = parts.iter().filter(|p| p.0).map(|p| p.1).collect();
    Ok((!parts.is_empty()).then(|| {
        format!(
            "runs answer by {} besides the prompt, which the search does not measure: what it \
             finds does not go live by itself",
            parts.join(" and ")
        )
    }))
}

fn ended(report: &SearchReport) -> ExitCode {
    if report.ended == Ended::Interrupted {
        say("interrupted\nhint: the same command goes on without asking anything twice");
        return exit::interrupted();
    }
    ExitCode::SUCCESS
}

fn print<T: Serialize + std::fmt::Display>(args: &OptimizeArgs, value: &T) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
    } else {
        write!(out, "{value}")?;
    }
    Ok(())
}

/// Tells how far the search is: a line a stage, and one now and then within it.
#[derive(Default)]
struct Talk {
    stage: RefCell<String>,
    next_line: Cell<Duration>,
}

impl Talk {
    fn show(&self, progress: &SearchProgress) {
        let elapsed = progress.spent.elapsed;
        let is_other = *self.stage.borrow() != progress.stage;
        if is_other || elapsed >= self.next_line.get() {
            self.stage.borrow_mut().clone_from(&progress.stage);
            self.next_line.set(elapsed + LINE_EVERY);
            say(&line(progress));
        }
    }
}

fn line(progress: &SearchProgress) -> String {
    let mut text = progress.stage.clone();
    if progress.records > 0 {
        let _ = write!(
            text,
            ": {} strategies on {} records",
            progress.strategies, progress.records
        );
    }
    if let Some(best) = progress.best {
        let _ = write!(text, ", best so far {best:.3}");
    }
    let _ = write!(
        text,
        "; {} calls, {:.0} % of the budget spent",
        progress.spent.calls,
        100.0 * progress.share
    );
    // What little was spent says nothing of how long the rest takes.
    if progress.share >= LEAST_SHARE {
        let elapsed = progress.spent.elapsed;
        let left = elapsed.div_f64(progress.share).saturating_sub(elapsed);
        let _ = write!(text, ", {} left at most", span(left));
    }
    text
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use autoglm_task::optimize::Spent;

    use super::*;

    #[test]
    fn budgets_are_calls_tokens_or_time() {
        let budget = |text: &str| text.parse::<BudgetArg>().map(|b| b.budget);
        assert_eq!(budget("500"), Ok(Budget::Calls(500)));
        assert_eq!(budget("500calls"), Ok(Budget::Calls(500)));
        assert_eq!(budget("20000tok"), Ok(Budget::Tokens(20_000)));
        assert_eq!(budget("90s"), Ok(Budget::Time(Duration::from_secs(90))));
        assert_eq!(budget("2min"), Ok(Budget::Time(Duration::from_mins(2))));
        for text in ["", "five", "5kg", "-3", "18446744073709551615min"] {
            assert!(budget(text).unwrap_err().contains("is no budget"), "{text}");
        }
    }

    #[test]
    fn progress_tells_stage_spending_and_time_left() {
        let progress = SearchProgress {
            stage: "rung 2".to_owned(),
            strategies: 6,
            records: 24,
            best: Some(0.75),
            spent: Spent {
                calls: 200,
                elapsed: Duration::from_secs(10),
                ..Spent::default()
            },
            share: 0.25,
        };
        assert_eq!(
            line(&progress),
            "rung 2: 6 strategies on 24 records, best so far 0.750; 200 calls, 25 % of the budget \
             spent, 30 s left at most"
        );
        let untouched = SearchProgress {
            share: 1e-18,
            ..progress
        };
        assert!(line(&untouched).ends_with("0 % of the budget spent"));
    }
}
