//! `autoglm index`: brings a collection up to date with files and folders.

use std::collections::HashMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use autoglm_engine::LocalEngine;
use autoglm_retrieve::chunk::{ChunkSettings, CountTokens};
use autoglm_retrieve::index::{Indexer, Outcome};
use autoglm_retrieve::read::Limits;
use autoglm_retrieve::store::Store;
use autoglm_spec::{Cancel, Embed};
use autoglm_token::Specials;
use clap::Args;
use serde_json::json;

use super::git::{Commit, Repository};
use super::progress::Shown;
use super::{CollectionArgs, EmbedderArgs, as_embed, knows_chinese, path_of};
use crate::exit;
use crate::interrupt::cancel_on_interrupt;
use crate::streams::now;

/// Tokens of a passage where no model says how many it reads.
const PASSAGE_TOKENS: usize = 256;
/// Tokens of a passage at most, however many the model reads: a citation of a whole chapter says
/// little.
const MOST_PASSAGE_TOKENS: usize = 512;
/// Tokens that stand around every text that a model reads.
const AROUND_TOKENS: usize = 2;
/// Bytes of a token of English, for collections that no model reads.
const TOKEN_BYTES: usize = 4;
/// Time between two looks at the files.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Bring a collection up to date with files and folders.
///
/// Markdown, HTML, plain text, PDF, DOCX, CSV, JSON lines and source code are read; hidden files and
/// what .gitignore leaves out are not. Files that have not changed are not read again, and what is
/// gone is removed.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of a command line that do not depend on each other"
)]
pub struct IndexArgs {
    /// Files, folders and Git repositories: a bare one, `path@revision`, or an address
    /// (`https://…`, `ssh://…`, `user@host:path`).
    #[arg(required_unless_present = "list")]
    paths: Vec<PathBuf>,
    /// Read repositories at a branch, tag or commit, from their objects and not from the working tree.
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    #[command(flatten)]
    collection: CollectionArgs,
    #[command(flatten)]
    embedder: EmbedderArgs,
    /// Compute threads; all processors when not given.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Tokens of a passage at most; what the model of the vectors reads, and 512 at most, when not
    /// given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(16..))]
    passage_tokens: Option<u16>,
    /// Make all vectors anew where they are of another model.
    #[arg(long)]
    reembed: bool,
    /// Keep running, and index whenever files change.
    #[arg(long)]
    watch: bool,
    /// List the documents of the collection instead.
    #[arg(long, conflicts_with_all = ["paths", "watch", "reembed"])]
    list: bool,
    /// Print a JSON object about what was done; with --list, a document a line.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A path that does not exist, a model or collection that cannot be used.
pub fn run(args: &IndexArgs, home: &Path) -> anyhow::Result<ExitCode> {
    if args.list {
        return list(args, home);
    }
    let mut store = args.collection.open(home)?;
    let _lock = args.collection.lock(home)?;
    let engine = args.embedder.open(args.threads, home)?;
    if args.reembed {
        store.set_space(as_embed(engine.as_ref()).map(Embed::space))?;
    }
    let mut sources = Sources::default();
    for path in &args.paths {
        match Repository::named(path, args.revision.as_deref())? {
            Some(repository) => sources.repositories.push(repository),
            None => sources.folders.push(absolute(path)?),
        }
    }
    anyhow::ensure!(
        !args.watch || !sources.repositories.iter().any(Repository::is_remote),
        "--watch looks at what is on this machine; index an address again whenever it shall be fetched"
    );
    let cancel = cancel_on_interrupt();
    loop {
        let outcome = update(
            args,
            &mut *store,
            engine.as_ref(),
            (&mut sources, &cancel, home),
        )?;
        if !args.watch || outcome.cancelled {
            return Ok(if outcome.cancelled {
                exit::interrupted()
            } else {
                ExitCode::SUCCESS
            });
        }
        std::thread::sleep(WATCH_EVERY);
        if cancel.is_cancelled() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// What is indexed.
#[derive(Default)]
struct Sources {
    folders: Vec<PathBuf>,
    repositories: Vec<Repository>,
    /// The commits that the repositories were indexed at, where they were.
    commits: HashMap<Repository, Commit>,
}

/// A path as it is kept: documents are found again from every folder.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let absolute = path.canonicalize().or_else(|_| std::path::absolute(path));
    absolute.with_context(|| format!("cannot find {}", path.display()))
}

/// Brings the collection up to date once.
fn update(
    args: &IndexArgs,
    store: &mut dyn Store,
    engine: Option<&LocalEngine>,
    (sources, cancel, home): (&mut Sources, &Cancel, &Path),
) -> anyhow::Result<Outcome> {
    let space = engine.map(Embed::space);
    let max_tokens = match (args.passage_tokens, space) {
        (Some(tokens), _) => usize::from(tokens),
        (None, Some(space)) => (space.max_tokens - AROUND_TOKENS).min(MOST_PASSAGE_TOKENS),
        (None, None) => PASSAGE_TOKENS,
    };
    let by_model = |text: &str| match engine {
        Some(engine) => engine.tokenizer().encode(text, Specials::AsText).len(),
        None => text.len().div_ceil(TOKEN_BYTES),
    };
    let tokens: &dyn CountTokens = &by_model;
    let now = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut indexer = Indexer {
        store,
        embed: as_embed(engine),
        vectors_know_chinese: knows_chinese(space),
        tokens,
        chunks: ChunkSettings { max_tokens },
        limits: Limits::default(),
        now_ns: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
        cancel,
    };
    let mut shown = Shown::new();
    let folders: Vec<&Path> = sources.folders.iter().map(PathBuf::as_path).collect();
    let mut outcome = indexer.run(&folders, &mut |event| shown.take(event))?;
    for repository in &sources.repositories {
        let copies = path_of(home, &args.collection.collection, "git");
        let commit = repository.commit(&copies)?;
        if sources.commits.get(repository) == Some(&commit) {
            continue;
        }
        let (kept, mut read) = repository.open(&commit)?.split();
        outcome += indexer.run_kept(&kept, &mut read, &mut |event| shown.take(event))?;
        if !outcome.cancelled {
            sources.commits.insert(repository.clone(), commit);
        }
    }
    let is_quiet = args.watch && outcome.added + outcome.changed + outcome.removed == 0;
    if args.json && !is_quiet {
        writeln!(std::io::stdout(), "{}", json!(outcome))?;
    }
    if !is_quiet {
        shown.finish(&outcome);
    }
    Ok(outcome)
}

fn list(args: &IndexArgs, home: &Path) -> anyhow::Result<ExitCode> {
    let store = args.collection.open_filled(home)?;
    let mut out = std::io::stdout().lock();
    for document in store.documents()? {
        if args.json {
            writeln!(out, "{}", json!(document))?;
        } else {
            writeln!(
                out,
                "{:>7}  {:<10}  {}",
                document.passages, document.format, document.path
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
