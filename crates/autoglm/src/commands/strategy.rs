//! `autoglm strategy`: the versions of how a task is run, and which of them is live.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use autoglm_spec::{Example, Usage};
use autoglm_task::eval::table;
use autoglm_task::store::SqliteStore;
use autoglm_task::strategy::{
    ExampleChoice, NewStrategy, SoftPrompt, Strategy, StrategyId, StrategyKey, StrategyState,
    StrategyStore, StrategyVersion, changes,
};
use autoglm_task::utc;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::choice::{StrategyName, numbered};
use super::route::{self, RouteArgs};
use super::run::CalibrationArgs;
use super::task::{TaskArgs, store_path};
use crate::streams::now;

/// List, show, compare, promote and roll back the strategies of a task.
#[derive(Debug, Args)]
pub(crate) struct StrategyCommandArgs {
    #[command(subcommand)]
    command: StrategyCommand,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum StrategyCommand {
    /// The strategies of a task, or of all tasks.
    List {
        /// The task's name, its file, or its words.
        task: Option<String>,
    },
    /// A strategy with its scores, its cost and what it changes.
    Show {
        /// The strategy's number.
        id: i64,
    },
    /// What differs between two strategies.
    Diff {
        /// The first by its number, or none for the task as it is written.
        from: StrategyName,
        /// The second.
        to: StrategyName,
    },
    /// Make a strategy live, whatever its scores.
    Promote {
        /// The strategy's number.
        id: i64,
    },
    /// Take the last promotion of a task back.
    Rollback {
        #[command(flatten)]
        task: TaskArgs,
    },
    /// Add a candidate that runs the task as it is written with a soft prompt or an adapter, or with
    /// labelled examples that are chosen for each record (--select).
    Add(Box<AddArgs>),
    /// Learn which of several strategies suits which record. The route between them goes live only
    /// where it is better than what is live on records that taught nothing.
    Route(Box<RouteArgs>),
}

#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// The folder of the soft prompt or adapter as PEFT writes it.
    #[arg(long, value_name = "FOLDER")]
    soft_prompt: Option<PathBuf>,
    /// The model that it belongs to; any when not given.
    #[arg(long, short = 'm', value_name = "MODEL", default_value = "")]
    model: String,
    #[command(flatten)]
    calibration: CalibrationArgs,
}

/// Runs the command.
///
/// # Errors
/// A task or strategy that does not exist, a store that cannot be used.
pub(crate) fn run(args: &StrategyCommandArgs, home: &Path) -> anyhow::Result<ExitCode> {
    let mut store = SqliteStore::open(&store_path(home))?;
    let store = &mut store;
    match &args.command {
        StrategyCommand::List { task } => {
            let name = task.as_ref().map(|words| name_of(words)).transpose()?;
            print(args, &store.strategies(name.as_deref())?, |versions| {
                list_text(versions)
            })?;
        }
        StrategyCommand::Show { id } => print(args, &store.strategy(StrategyId(*id))?, show_text)?,
        StrategyCommand::Diff { from, to } => diff(args, store, *from, *to)?,
        StrategyCommand::Promote { id } => promote(args, store, *id)?,
        StrategyCommand::Rollback { task } => roll_back(args, store, task)?,
        StrategyCommand::Add(added) => add(args, store, added)?,
        StrategyCommand::Route(wanted) => match route::run(wanted, store, home)? {
            Some(report) => print(args, &report, ToString::to_string)?,
            None => return Ok(route::interrupted()),
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of a task that is given by it, by its file or by its words.
fn name_of(words: &str) -> anyhow::Result<String> {
    let is_file = Path::new(words).is_file();
    if !is_file && !words.contains(char::is_whitespace) {
        return Ok(words.to_owned());
    }
    let task = TaskArgs {
        task: words.to_owned(),
    };
    Ok(task.load()?.spec.name)
}

fn diff(
    args: &StrategyCommandArgs,
    store: &SqliteStore,
    from: StrategyName,
    to: StrategyName,
) -> anyhow::Result<()> {
    let version = |name| match name {
        StrategyName::None => Ok(None),
        StrategyName::Number(id) => store.strategy(StrategyId(id)).map(Some),
    };
    let (from, to) = (version(from)?, version(to)?);
    let strategy = |version: Option<StrategyVersion>| {
        let written = || Strategy::as_written(&autoglm_task::run::RunSettings::default());
        version.map_or_else(written, |version| version.strategy)
    };
    let lines = changes(&strategy(from), &strategy(to));
    print(args, &lines, |lines| {
        if lines.is_empty() {
            return "they are the same\n".to_owned();
        }
        lines.join("\n") + "\n"
    })
}

fn promote(args: &StrategyCommandArgs, store: &mut SqliteStore, id: i64) -> anyhow::Result<()> {
    let key = store.strategy(StrategyId(id))?.key;
    store.promote(&key, Some(StrategyId(id)), now())?;
    let version = numbered(id, &key, store)?;
    print(args, &version, |version| {
        let scores = version.scores.as_ref();
        let told = scores.map_or("it has no scores yet\n".to_owned(), ToString::to_string);
        format!("strategy {id} of {} is live\n{told}", version.key.task)
    })
}

fn roll_back(
    args: &StrategyCommandArgs,
    store: &mut SqliteStore,
    task: &TaskArgs,
) -> anyhow::Result<()> {
    let spec = task.load()?.spec;
    let live = store.roll_back(&StrategyKey::of(&spec))?;
    print(args, &live, |live| match live {
        Some(id) => format!("strategy {} of {} is live again\n", id.0, spec.name),
        None => format!("{} runs as it is written again\n", spec.name),
    })
}

fn add(args: &StrategyCommandArgs, store: &mut SqliteStore, added: &AddArgs) -> anyhow::Result<()> {
    let task = added.task.load()?;
    let (spec, settings) = added.calibration.plan(&task, None);
    anyhow::ensure!(
        added.soft_prompt.is_some() || settings.selection.is_some(),
        "want --soft-prompt FOLDER or --select BY: a strategy differs from the task as it is written"
    );
    let folder = added.soft_prompt.as_ref();
    let strategy = Strategy {
        soft_prompt: folder.map(|f| SoftPrompt::of_folder(f)).transpose()?,
        ..Strategy::as_written(&settings)
    };
    let written = Strategy {
        soft_prompt: None,
        selection: None,
        ..strategy.clone()
    };
    let version = NewStrategy {
        key: StrategyKey::of(&spec),
        parent: None,
        changes: changes(&written, &strategy),
        strategy,
        scores: None,
        calls: 0,
        usage: Usage::default(),
        origin: "strategy add".to_owned(),
        model: added.model.clone(),
        made_for: spec.instruction.clone(),
    };
    let id = store.add_strategy(&version, now())?;
    print(args, &id, |id| {
        format!(
            "strategy {0} is a candidate\nhint: `autoglm eval TASK --data FILE --compare none {0}` \
             tells whether it is better\n",
            id.0
        )
    })
}

fn print<T: Serialize>(
    args: &StrategyCommandArgs,
    value: &T,
    text: impl Fn(&T) -> String,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
    } else {
        write!(out, "{}", text(value))?;
    }
    Ok(())
}

fn list_text(versions: &[StrategyVersion]) -> String {
    if versions.is_empty() {
        return "no strategies yet: every task runs as it is written\n\
                hint: `autoglm optimize TASK --data FILE` looks for better ones\n"
            .to_owned();
    }
    let head = [
        "strategy",
        "task",
        "state",
        "untouched",
        "start",
        "records",
        "calls",
        "made (UTC)",
        "model",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(versions.iter().map(|version| {
        let scores = version.scores.as_ref();
        let paired = scores.and_then(|s| s.untouched).map(|u| u.worth);
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.4}"));
        vec![
            version.id.0.to_string(),
            version.key.task.clone(),
            state(version.state).to_owned(),
            number(paired.map(|p| p.second)),
            number(paired.map(|p| p.first)),
            paired.map_or(0, |p| p.rows).to_string(),
            version.calls.to_string(),
            utc(version.created_ms),
            version.model.clone(),
        ]
    }));
    table(&rows)
}

fn show_text(version: &StrategyVersion) -> String {
    let mut text = String::new();
    let parent = match version.parent {
        Some(id) => format!("strategy {}", id.0),
        None => "the task as written".to_owned(),
    };
    let tokens = version.usage.prompt_tokens + version.usage.completion_tokens;
    for (name, value) in [
        ("strategy", version.id.0.to_string()),
        ("task", version.key.task.clone()),
        ("state", state(version.state).to_owned()),
        ("made", utc(version.created_ms) + " UTC"),
        ("by", version.origin.clone()),
        ("model", version.model.clone()),
        ("from", parent),
        ("cost", format!("{} calls, {tokens} tokens", version.calls)),
    ] {
        let _ = writeln!(text, "{name:<9} {value}");
    }
    text.push_str("changes\n");
    for change in &version.changes {
        let _ = writeln!(text, "  {change}");
    }
    if let Some(scores) = &version.scores {
        let _ = write!(text, "scores\n{scores}");
    }
    if let Some(route) = &version.strategy.route {
        let _ = writeln!(text, "branches");
        for branch in &route.branches {
            let _ = writeln!(text, "  {}", branch.name());
        }
    }
    if let ExampleChoice::Fixed(examples) = &version.strategy.examples {
        let _ = writeln!(text, "examples");
        for example in examples {
            let _ = writeln!(text, "  {}", example_text(example));
        }
    }
    text
}

fn example_text(example: &Example) -> String {
    let input = serde_json::Value::Object(example.input.clone());
    format!("{} ← {input}", example.output)
}

fn state(state: StrategyState) -> &'static str {
    match state {
        StrategyState::Candidate => "candidate",
        StrategyState::Live => "live",
        StrategyState::Retired => "retired",
    }
}
