//! `autoglm runs`: what was run, and how a stored record came to its answer.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use autoglm_spec::{Embed, Generate, Vote};
use autoglm_task::eval::{Evaluation, Report, table};
use autoglm_task::judge::agreement::Similar;
use autoglm_task::run::{Again, Replay, Shown, replay, show};
use autoglm_task::select::Chosen;
use autoglm_task::store::{Archive, RunId, RunInfo, RunStatus, SqliteStore, Store};
use autoglm_task::strategy::RouteTaken;
use autoglm_task::{Sample, file_name, utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::agreement::open_similar;
use super::task::{need, store_path};
use super::teach::open_embedder;
use crate::engine::{EngineArgs, Pool};
use crate::interrupt::cancel_on_interrupt;

/// List, show and replay earlier runs.
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    command: Option<RunsCommand>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// The latest runs.
    List {
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
    },
    /// A run with its task and settings, or one of its records with prompt, scores and answer.
    Show {
        /// The run's number.
        id: i64,
        /// The record, counted from 0.
        #[arg(long, value_name = "N")]
        record: Option<u64>,
    },
    /// Answer a stored record again and compare.
    Replay(Box<ReplayArgs>),
    /// Measure a run's stored answers against the right ones in its records, without the model.
    Eval {
        /// The run's number.
        id: i64,
        /// The field that holds the right answer; label, answer or output when not given.
        #[arg(long, value_name = "FIELD")]
        gold: Option<String>,
    },
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// The run's number.
    id: i64,
    /// The record, counted from 0.
    #[arg(long, value_name = "N")]
    record: u64,
    /// The embedder that the run was made with, where it had one.
    #[arg(long, value_name = "MODEL")]
    embedder: Option<String>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
///
/// # Errors
/// A store that cannot be read, a run or record that does not exist, a model that cannot be used.
pub(crate) fn run(args: &RunsArgs, home: &Path) -> anyhow::Result<()> {
    let store = SqliteStore::open(&store_path(home))?;
    match &args.command {
        None => list(args, &store, 20),
        Some(RunsCommand::List { last }) => list(args, &store, *last),
        Some(RunsCommand::Show { id, record: None }) => {
            let info = store.run(RunId(*id))?;
            print(args, &info, run_text)
        }
        Some(RunsCommand::Show {
            id,
            record: Some(record),
        }) => print(args, &show(&store, RunId(*id), *record)?, record_text),
        Some(RunsCommand::Replay(replayed)) => again(args, replayed, &store, home),
        Some(RunsCommand::Eval { id, gold }) => {
            let report = evaluate(&store, RunId(*id), gold.as_deref())?;
            print(args, &report, Report::to_string)
        }
    }
}

/// Measures a stored run.
fn evaluate(store: &dyn Store, run: RunId, gold: Option<&str>) -> anyhow::Result<Report> {
    let info = store.run(run)?;
    let rows = store.rows(run, 0, usize::try_from(info.records)?)?;
    let evaluation = Evaluation {
        spec: &info.spec,
        model: &info.key.model.name,
        gold_field: gold,
        plan: info.key.plan,
        compare: info.key.compare,
        similar: None,
        // The store does not tell how long a run took.
        elapsed: Duration::ZERO,
    };
    Ok(evaluation.of(&rows)?)
}

fn list(args: &RunsArgs, store: &dyn Store, last: usize) -> anyhow::Result<()> {
    let mut runs = store.runs()?;
    runs.truncate(last);
    print(args, &runs, |runs| list_text(runs))
}

fn again(
    args: &RunsArgs,
    replayed: &ReplayArgs,
    store: &dyn Archive,
    home: &Path,
) -> anyhow::Result<()> {
    let info = store.run(RunId(replayed.id))?;
    let engine = replayed.engine.open(home, need(&info.spec))?;
    let (stored, given) = (&info.key.model.name, &engine.facts().name);
    anyhow::ensure!(
        stored == given,
        "run {} was made with the model {stored}, this is {given}\nhint: name it with --model, \
         and its server with --engine",
        replayed.id
    );
    let cancel = cancel_on_interrupt();
    let ensemble = info.key.ensemble.as_ref().map(|hash| store.ensemble(hash));
    let ensemble = ensemble.transpose()?.flatten();
    let embedder = match ensemble {
        Some(ensemble) if ensemble.uses_vectors() => {
            let pool = Pool::default();
            Some(open_embedder(&replayed.engine, &pool, home)?)
        }
        _ => None,
    };
    let again = Again {
        engine: &engine,
        similar: similar_of(&info, replayed, home)?,
        embedder: embedder.as_ref().map(|e| e.as_ref() as &dyn Embed),
    };
    let outcome = replay(store, info.id, replayed.record, &again, &cancel)?;
    engine.tell_notes();
    print(args, &outcome, replay_text)
}

/// The measure of nearness that a run was made with.
fn similar_of(
    info: &RunInfo,
    replayed: &ReplayArgs,
    home: &Path,
) -> anyhow::Result<Option<Arc<dyn Similar>>> {
    let open = |name: &String| open_similar(home, name);
    let given = replayed.embedder.as_ref().map(open).transpose()?;
    let name = given.as_ref().map(|similar| similar.name());
    let shown = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".to_owned());
    anyhow::ensure!(
        name == info.key.similar,
        "run {} was made with the embedder {}, this is {}\nhint: name it with --embedder",
        replayed.id,
        shown(&info.key.similar),
        shown(&name)
    );
    Ok(given)
}

fn print<T: Serialize>(
    args: &RunsArgs,
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

fn list_text(runs: &[RunInfo]) -> String {
    if runs.is_empty() {
        return "no runs yet\n".to_owned();
    }
    let head = [
        "run",
        "begun (UTC)",
        "status",
        "records",
        "errors",
        "task",
        "model",
        "input",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(runs.iter().map(|run| {
        vec![
            run.id.0.to_string(),
            utc(run.created_ms),
            status(run.status).to_owned(),
            run.records.to_string(),
            run.errors.to_string(),
            run.spec.name.clone(),
            run.key.model.name.clone(),
            file_name(&run.key.source),
        ]
    }));
    table(&rows)
}

fn run_text(run: &RunInfo) -> String {
    let mut rows = vec![
        ["run".to_owned(), run.id.0.to_string()],
        ["status".to_owned(), status(run.status).to_owned()],
        ["begun".to_owned(), utc(run.created_ms) + " UTC"],
        ["last change".to_owned(), utc(run.updated_ms) + " UTC"],
        [
            "records".to_owned(),
            format!("{} ({} with errors)", run.records, run.errors),
        ],
        ["model".to_owned(), run.key.model.name.clone()],
        ["input".to_owned(), run.key.source.clone()],
        ["output".to_owned(), run.key.output.clone()],
        [
            "task".to_owned(),
            format!("{} ({})", run.spec.name, short(&run.key.task_hash)),
        ],
        ["instruction".to_owned(), run.spec.instruction.clone()],
        ["calibration".to_owned(), json_text(&run.key.calibration)],
    ];
    let plan = &run.key.plan;
    if plan.samples > 1 {
        let stop = json_text(&plan.stop);
        rows.push([
            "samples".to_owned(),
            format!("{} at most, {stop}", plan.samples),
        ]);
    }
    if let Some(least) = run.key.min_confidence {
        rows.push(["withheld".to_owned(), format!("below {least}")]);
    }
    if let Some(strategy) = &run.key.strategy {
        rows.push(["strategy".to_owned(), short(strategy).to_owned()]);
    }
    if let Some(prior) = &run.prior {
        rows.push(["prior".to_owned(), json_text(prior)]);
    }
    let mut text = String::new();
    for [name, value] in rows {
        let _ = writeln!(text, "{name:<12} {value}");
    }
    text
}

fn record_text(shown: &Shown) -> String {
    let row = &shown.row;
    let mut text = format!("record {} (line {})\n", row.index, row.line);
    if let Some(input) = &row.input {
        let _ = writeln!(text, "input      {}", json_text(input));
    }
    for chosen in &row.examples {
        let Chosen { example, score } = chosen;
        let input = json_text(&example.input);
        let _ = writeln!(text, "example    {score:.4} {} ← {input}", example.output);
    }
    if let Some(taken) = &row.route {
        text += &route_text(taken);
    }
    if let Some(prompt) = &shown.prompt {
        let same = if shown.same_prompt {
            "as it was used"
        } else {
            "composed differently now"
        };
        let _ = writeln!(text, "--- prompt, {same}\n{}\n---", prompt.display_text());
    }
    match &row.raw {
        Some(raw) if raw.samples().len() > 1 => text += &samples_text(&raw.samples()),
        Some(raw) => {
            let _ = writeln!(text, "model      {}", json_text(raw));
        }
        None => {}
    }
    if let Some(verdict) = &row.verdict {
        let _ = writeln!(text, "answer     {}", verdict.answer);
        let _ = writeln!(text, "confidence {:.4}", verdict.confidence);
        if let Some(reason) = &row.abstained {
            let _ = writeln!(text, "withheld   {reason}");
        }
        if let Some(vote) = &verdict.vote {
            text += &vote_text(vote);
        }
        for (label, probability) in &verdict.distribution {
            let _ = writeln!(text, "           {probability:.4} {label}");
        }
    }
    if let Some(error) = &row.error {
        let _ = writeln!(text, "error      {error}");
    }
    let usage = &row.usage;
    let _ = writeln!(
        text,
        "cost       {} prompt tokens ({} cached), {} answered or scored, {:.1} ms",
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.completion_tokens,
        usage.compute.as_secs_f64() * 1e3
    );
    text
}

/// The strategies that a record was routed to.
fn route_text(taken: &RouteTaken) -> String {
    let mut text = match taken.only.and_then(|only| taken.branches.get(only)) {
        Some((name, _)) => format!("route      {name} alone\n"),
        None => "route      all, each by its probability\n".to_owned(),
    };
    for (name, probability) in &taken.branches {
        let _ = writeln!(text, "           {probability:.4} {name}");
    }
    text
}

/// Each sample with how probable its tokens were.
fn samples_text(samples: &[Sample]) -> String {
    let mut text = String::new();
    for (number, sample) in samples.iter().enumerate() {
        let how = match (number, sample.repair) {
            (_, true) => "repair",
            (0, false) => "most likely",
            _ => "drawn",
        };
        let _ = writeln!(
            text,
            "--- sample {}, {how}, {} tokens of mean log-probability {:.3}\n{}",
            number + 1,
            sample.tokens,
            sample.mean_logprob,
            sample.text.trim_end()
        );
    }
    text + "---\n"
}

fn vote_text(vote: &Vote) -> String {
    let mut text = format!(
        "vote       {} of {} samples agree, stopped: {}, entropy {:.3}\n",
        vote.agreed,
        vote.samples,
        vote.stopped.name(),
        vote.entropy
    );
    if vote.unusable > 0 {
        let _ = writeln!(text, "           {} samples cannot be used", vote.unusable);
    }
    for alternative in &vote.alternatives {
        let answer = alternative.answer.lines().last().unwrap_or_default();
        let _ = writeln!(text, "           {:.4} {answer}", alternative.share);
    }
    text
}

fn replay_text(replayed: &Replay) -> String {
    let mut text = record_text(&replayed.shown);
    let _ = match (&replayed.verdict, replayed.same_verdict) {
        (Some(_), true) => writeln!(text, "again      the same answer with the same confidence"),
        (Some(now), false) => {
            writeln!(
                text,
                "again      {} ({:.4}): not the same",
                now.answer, now.confidence
            )
        }
        (None, _) => {
            let error = replayed.error.as_deref().unwrap_or("no answer");
            writeln!(text, "again      error: {error}")
        }
    };
    text
}

fn status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Unfinished => "unfinished",
        RunStatus::Interrupted => "interrupted",
        RunStatus::Failed => "failed",
        RunStatus::Finished => "finished",
    }
}

/// A value as JSON text, strings without quotes.
fn json_text(value: &impl Serialize) -> String {
    match serde_json::to_string(value) {
        Ok(json) => serde_json::from_str::<String>(&json).unwrap_or(json),
        Err(error) => error.to_string(),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
