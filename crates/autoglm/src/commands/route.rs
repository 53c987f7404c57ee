//! `autoglm strategy route`: several strategies of a task, each for the records that it suits.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use autoglm_spec::{Generate as _, Prompt, TaskSpec};
use autoglm_task::eval::{Labelled, labelled};
use autoglm_task::optimize::{Candidate, RouteReport, Routing, SearchHooks, SearchProgress, route};
use autoglm_task::store::{Feedback, FeedbackStore as _, Judgement, SqliteStore};
use autoglm_task::strategy::{Strategy, StrategyKey};
use clap::Args;

use super::choice::{StrategyArgs, StrategyName, numbered};
use super::knowledge::passages::add_passages;
use super::optimize::hold;
use super::records::readable;
use super::run::WrittenArgs;
use super::task::{TaskArgs, need};
use crate::engine::EngineArgs;
use crate::interrupt::cancel_on_interrupt;
use crate::streams::now;

#[derive(Debug, Args)]
pub(super) struct RouteArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// The strategies by their numbers, and none for the task as it is written.
    #[arg(long, value_name = "N|none", value_delimiter = ',', required = true)]
    strategies: Vec<StrategyName>,
    /// Labelled records: JSON lines, CSV or TSV. Two thirds teach, the rest tells whether the route
    /// is better than what is live.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The field that holds the right answer; label, answer or output when not given.
    #[arg(long, value_name = "FIELD")]
    gold: Option<String>,
    /// Decides how records are parted.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    settings: WrittenArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Teaches the route; nothing where the user stopped it.
///
/// # Errors
/// A task, strategy or file that cannot be used, too few records, an engine or store that fails.
pub(super) fn run(
    args: &RouteArgs,
    store: &mut SqliteStore,
    home: &Path,
) -> anyhow::Result<Option<RouteReport>> {
    let task = args.task.load()?;
    let chosen = StrategyArgs::default().open(&args.engine, &task, store, home)?;
    let engine = chosen.engine;
    let settings = args.settings.settings(&task.settings);
    let live = chosen.version.as_ref();
    let is_simple = |s: &Strategy| s.soft_prompt.is_none() && s.selection.is_none();
    anyhow::ensure!(
        live.is_none_or(|version| is_simple(&version.strategy)),
        "a route cannot be compared with what is live: that has a soft prompt, or examples for each \
         record\nhint: `autoglm strategy rollback` or `promote` makes another strategy live"
    );
    let cancel = cancel_on_interrupt();
    let mut records = readable(&args.data, &task.spec)?;
    let threads = args.engine.local.threads;
    add_passages(&mut records, &task.spec, (threads, home), &cancel)?;
    let plan = task.settings.plan;
    let branches = args.strategies.iter();
    let branches = branches.map(|name| candidate(*name, &task.spec, &settings, store));
    let hold = hold(&task.spec, plan, engine.facts().chat, store)?;
    let origin = format!(
        "strategy route --strategies {} --seed {}",
        names(&args.strategies),
        args.seed
    );
    let routing = Routing {
        spec: &task.spec,
        settings: &settings,
        live: Candidate {
            version: live.map(|version| version.id),
            strategy: live.map_or_else(
                || Strategy::as_written(&settings),
                |version| version.strategy.clone(),
            ),
        },
        branches: branches.collect::<anyhow::Result<_>>()?,
        engine: &engine,
        records: labelled(&task.spec, args.gold.as_deref(), records),
        told: told(&task.spec, store)?,
        seed: args.seed,
        scope: &chosen.engine_args.identity(home, need(&task.spec))?,
        origin: &origin,
        hold: hold.as_deref(),
    };
    let hooks = SearchHooks {
        now: &now,
        cancel: &cancel,
        tokens: &|prompt: &Prompt| engine.count_tokens(prompt),
        progress: &tell,
    };
    let report = route(&routing, store, hooks)?;
    engine.tell_notes();
    Ok(report)
}

fn names(strategies: &[StrategyName]) -> String {
    let name = |name: &StrategyName| match name {
        StrategyName::None => "none".to_owned(),
        StrategyName::Number(id) => id.to_string(),
    };
    strategies.iter().map(name).collect::<Vec<_>>().join(",")
}

fn candidate(
    name: StrategyName,
    spec: &TaskSpec,
    settings: &autoglm_task::run::RunSettings,
    store: &SqliteStore,
) -> anyhow::Result<Candidate> {
    Ok(match name {
        StrategyName::None => Candidate {
            version: None,
            strategy: Strategy::as_written(settings),
        },
        StrategyName::Number(id) => {
            let version = numbered(id, &StrategyKey::of(spec), store)?;
            Candidate {
                version: Some(version.id),
                strategy: version.strategy,
            }
        }
    })
}

/// The records of the task's feedback of which it is known what is right.
fn told(spec: &TaskSpec, store: &SqliteStore) -> anyhow::Result<Vec<Labelled>> {
    let right = |row: Feedback| {
        let gold = match row.judgement {
            _ if row.withdrawn_ms.is_some() => None,
            Judgement::Correct(label) => Some(label),
            Judgement::Good => row.given,
            Judgement::Bad => None,
        };
        Some(Labelled {
            record: row.input,
            gold: gold?,
        })
    };
    let rows = store.feedback(&spec.name)?.into_iter();
    Ok(rows.filter_map(right).collect())
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn tell(progress: &SearchProgress) {
    eprintln!(
        "{} answers {} records; {} calls so far, {:.0} % done",
        progress.stage,
        progress.records,
        progress.spent.calls,
        100.0 * progress.share
    );
}

/// What is told where the user stopped it.
#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
pub(super) fn interrupted() -> ExitCode {
    eprintln!("interrupted\nhint: the same command goes on without asking anything twice");
    crate::exit::interrupted()
}
