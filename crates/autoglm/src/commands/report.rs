//! `autoglm report`: how a task is doing, on one page.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use autoglm_task::report::{Wanted, collect, page};
use autoglm_task::store::{RunId, SqliteStore};
use clap::Args;

use super::task::{TaskArgs, store_path};
use crate::streams::now;

/// Write a page that shows how a task is doing: accuracy by version, what confidences are worth,
/// confusions, what feedback has taught, and the costliest and least sure records.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// Where the page goes: an HTML file, or - for standard output.
    #[arg(
        long,
        short = 'o',
        visible_alias = "output",
        value_name = "FILE",
        default_value = "report.html"
    )]
    out: String,
    /// Show the records of this run; of the task's latest when not given.
    #[arg(long, value_name = "ID")]
    run: Option<i64>,
    /// Print the same as JSON, and write no page.
    #[arg(long, conflicts_with = "out")]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A task or run that cannot be used, a store that cannot be read, a page that cannot be written.
pub(crate) fn run(args: &ReportArgs, home: &Path) -> anyhow::Result<()> {
    let spec = args.task.load()?.spec;
    let store = SqliteStore::open(&store_path(home))?;
    let wanted = Wanted {
        spec: &spec,
        run: args.run.map(RunId),
        now: now(),
    };
    let report = collect(&store, &wanted)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report)?;
        return Ok(writeln!(std::io::stdout().lock(), "{json}")?);
    }
    let html = page(&report, &args.task.task);
    if args.out == "-" {
        return Ok(std::io::stdout().lock().write_all(html.as_bytes())?);
    }
    std::fs::write(&args.out, html).with_context(|| format!("cannot write {}", args.out))?;
    say(&args.out);
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn say(path: &str) {
    eprintln!("{path} is written; any browser shows it");
}
