//! `autoglm key`: the keys that a server's clients show.

use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use autoglm_server::{
    Credential, KeyEntry, KeyLimits, NewKey, Scope, add_key, parse_keys, remove_key,
};
use clap::{Args, Subcommand, ValueEnum};

use crate::streams::now;

/// Make, list and revoke the keys that clients of `autoglm serve --api-keys FILE` show.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    New(NewArgs),
    List(FileArgs),
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The file of keys; it keeps their hashes, not the keys.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

/// Make a key and show it once.
#[derive(Debug, Args)]
struct NewArgs {
    #[command(flatten)]
    file: FileArgs,
    /// What the client is called in logs and metrics.
    #[arg(long, value_name = "NAME")]
    id: String,
    /// What the key is for; may be given several times.
    #[arg(long, value_name = "SCOPE", value_enum, default_values_t = [ScopeName::Models, ScopeName::Tasks])]
    scope: Vec<ScopeName>,
    /// A model that may be used; all when not given. May be given several times.
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// A collection of documents that may be used; all when not given. May be given several times.
    #[arg(long, value_name = "NAME")]
    collection: Vec<String>,
    /// Requests a minute at most.
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute at most, of prompts and answers.
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<NonZeroU32>,
    /// Requests at once at most.
    #[arg(long, value_name = "N")]
    concurrent_requests: Option<NonZeroU32>,
    /// Days until the key ends; it does not end when not given.
    #[arg(long, value_name = "N")]
    days: Option<u64>,
}

/// Take a key out of the file; servers refuse it some seconds later.
#[derive(Debug, Args)]
struct RevokeArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The client's name.
    #[arg(long, value_name = "NAME")]
    id: String,
}

/// [`Scope`] by the names of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeName {
    /// OpenAI's endpoints.
    Models,
    /// Running tasks, their feedback and reports.
    Tasks,
    /// Collections of documents.
    Knowledge,
    /// Reading the metrics.
    Metrics,
    /// Loading, promoting and rolling back versions.
    Admin,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Models => Self::Models,
            ScopeName::Tasks => Self::Tasks,
            ScopeName::Knowledge => Self::Knowledge,
            ScopeName::Metrics => Self::Metrics,
            ScopeName::Admin => Self::Admin,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read or written or is no file of keys, a name that is there already or is
/// not there.
pub fn run(args: &KeyArgs) -> anyhow::Result<()> {
    match &args.command {
        KeyCommand::New(args) => new(args),
        KeyCommand::List(args) => list(&args.file),
        KeyCommand::Revoke(args) => revoke(args),
    }
}

fn new(args: &NewArgs) -> anyhow::Result<()> {
    let path = &args.file.file;
    let before = if path.exists() {
        read(path)?
    } else {
        String::new()
    };
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system gives no random numbers")?;
    let key = NewKey::of(random);
    let entry = KeyEntry {
        id: args.id.clone(),
        credential: Credential::Key(key.hash()),
        scopes: args.scope.iter().copied().map(Scope::from).collect(),
        models: Some(args.model.clone()).filter(|models| !models.is_empty()),
        collections: Some(args.collection.clone()).filter(|names| !names.is_empty()),
        limits: KeyLimits {
            requests_per_minute: args.requests_per_minute,
            tokens_per_minute: args.tokens_per_minute,
            concurrent_requests: args.concurrent_requests,
        },
        expires: args
            .days
            .map(|days| now() + Duration::from_hours(24 * days)),
    };
    write(path, &add_key(&before, &entry)?)?;
    writeln!(io::stdout(), "{}", key.reveal())?;
    talk("this is the only time that the key is shown");
    Ok(())
}

fn list(path: &Path) -> anyhow::Result<()> {
    let mut out = io::stdout();
    for entry in parse_keys(&read(path)?)? {
        let scopes: Vec<String> = entry.scopes.iter().map(ToString::to_string).collect();
        let models = entry
            .models
            .map_or("all models".to_owned(), |m| m.join(", "));
        let ends = match entry.expires {
            Some(end) if end <= now() => ", ended",
            Some(_) => ", ends",
            None => "",
        };
        writeln!(out, "{}  {}  {models}{ends}", entry.id, scopes.join(", "))?;
    }
    Ok(())
}

fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    let path = &args.file.file;
    write(path, &remove_key(&read(path)?, &args.id)?)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the file of keys {}", path.display()))
}

/// Writes the file beside its place first: a server that reads it meanwhile finds it whole.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.with_context(|| format!("cannot write the file of keys {}", path.display()))
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn talk(text: &str) {
    eprintln!("{text}");
}
