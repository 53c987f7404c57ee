//! `autoglm search`: passages of a collection, with where each is from.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use autoglm_retrieve::eval::{Benchmark, RankingReport, measure_rankings};
use autoglm_retrieve::search::{Ranked, Rerank, SearchSettings, Searcher, Turn, rewrite};
use autoglm_retrieve::store::Store;
use autoglm_spec::{Cancel, Generate, Score};
use clap::{Args, FromArgMatches};
use serde_json::json;

use super::progress::say;
use super::ranking::RankingArgs;
use super::{CollectionArgs, EmbedderArgs, as_embed, show};
use crate::engine::{EngineArgs, OpenEngine, available_threads};
use crate::interrupt::cancel_on_interrupt;
use crate::models::Need;
use crate::streams::now;

/// Passages of documents that are measured: a document may have several.
const EVALUATED_PASSAGES: usize = 200;

/// Find passages of a collection, with where each is from.
///
/// Passages are looked for by their words and by their meaning, and the two lists are put together.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// What is looked for.
    #[arg(required_unless_present = "eval", conflicts_with = "eval")]
    query: Option<String>,
    #[command(flatten)]
    collection: CollectionArgs,
    /// Passages that are shown.
    #[arg(long, short = 'k', value_name = "K", default_value_t = 10)]
    top: usize,
    #[command(flatten)]
    ranking: RankingArgs,
    /// A question that was asked before, on which this one leans; the oldest first.
    #[arg(long, value_name = "QUESTION")]
    after: Vec<String>,
    /// Measure the collection on a folder with queries.jsonl and qrels, as BEIR has them. Documents
    /// are named by the ids of their records.
    #[arg(long, value_name = "FOLDER")]
    eval: Option<PathBuf>,
    /// Measure on this many queries at most.
    #[arg(long, value_name = "N", requires = "eval")]
    limit: Option<usize>,
    /// Show what each list says of a passage.
    #[arg(long)]
    explain: bool,
    /// Print a JSON object a passage; with --eval one object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embedder: EmbedderArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

impl SearchArgs {
    /// The arguments as the command line has them, without the command's name.
    ///
    /// # Errors
    /// What the command line refuses.
    pub(crate) fn of(words: Vec<OsString>) -> Result<Self, clap::Error> {
        let command = Self::augment_args(clap::Command::new("search").no_binary_name(true));
        Self::from_arg_matches(&command.try_get_matches_from(words)?)
    }
}

/// Runs the command.
///
/// # Errors
/// A collection without documents, a model that cannot be used or is of another space.
pub fn run(args: &SearchArgs, home: &Path) -> anyhow::Result<()> {
    let store = args.collection.open_filled(home)?;
    let embedder = args
        .embedder
        .open_for(&*store, args.engine.local.threads, home)?;
    let space = store.space()?;
    let settings = args.ranking.settings(args.top, space.as_ref())?;
    let rerank = args.ranking.rerank();
    let model = match rerank {
        Some(_) => Some(args.engine.open(home, Need::Closed)?),
        None if !args.after.is_empty() => Some(args.engine.open(home, Need::Open)?),
        None => None,
    };
    let cancel = cancel_on_interrupt();
    let search = Search {
        searcher: Searcher {
            store: &*store,
            embed: as_embed(embedder.as_ref()),
        },
        settings,
        rerank,
        model: model.as_ref(),
        cancel: &cancel,
    };
    match &args.eval {
        Some(folder) => evaluate(args, &search, (folder, home)),
        None => show(args, &search),
    }
}

/// A search with all that it needs.
struct Search<'a> {
    searcher: Searcher<'a>,
    settings: SearchSettings,
    rerank: Option<Rerank>,
    model: Option<&'a OpenEngine>,
    cancel: &'a Cancel,
}

impl Search<'_> {
    fn find(&self, query: &str, settings: &SearchSettings) -> anyhow::Result<Vec<Ranked>> {
        let found = self.searcher.search(query, settings, self.cancel)?;
        self.rank_anew(query, found)
    }

    fn rank_anew(&self, query: &str, found: Vec<Ranked>) -> anyhow::Result<Vec<Ranked>> {
        Ok(match (self.rerank, self.model) {
            (Some(rerank), Some(model)) => {
                rerank.apply(model as &dyn Score, query, found, self.cancel)?
            }
            _ => found,
        })
    }
}

fn show(args: &SearchArgs, search: &Search<'_>) -> anyhow::Result<()> {
    let query = args.query.as_deref().context("no query is given")?;
    let turns: Vec<Turn> = args
        .after
        .iter()
        .map(|question| Turn {
            question: question.clone(),
            answer: String::new(),
        })
        .collect();
    let model = search.model.map(|model| model as &dyn Generate);
    let query = rewrite(
        model.filter(|_| !turns.is_empty()),
        &turns,
        query,
        search.cancel,
    )?;
    if !turns.is_empty() {
        say(&format!("looking for: {query}"));
    }
    let mut settings = search.settings.clone();
    if let Some(rerank) = search.rerank {
        settings.limit = settings.limit.max(rerank.depth);
    }
    let mut found = search.find(&query, &settings)?;
    found.truncate(args.top);
    let mut out = std::io::stdout().lock();
    for (number, ranked) in (1..).zip(&found) {
        if args.json {
            writeln!(out, "{}", json!(ranked))?;
        } else {
            show::passage(&mut out, (number, ranked), &query, args.explain)?;
        }
    }
    Ok(())
}

fn evaluate(
    args: &SearchArgs,
    search: &Search<'_>,
    (folder, home): (&Path, &Path),
) -> anyhow::Result<()> {
    let mut benchmark = Benchmark::read(folder)?;
    benchmark.queries.truncate(args.limit.unwrap_or(usize::MAX));
    let settings = SearchSettings {
        limit: EVALUATED_PASSAGES,
        depth: search.settings.depth.max(EVALUATED_PASSAGES),
        ..search.settings.clone()
    };
    let queries: Vec<&str> = benchmark
        .queries
        .iter()
        .map(|query| query.text.as_str())
        .collect();
    let threads = args.engine.local.threads.unwrap_or_else(available_threads);
    let others = (1..threads.get()).map(|_| args.collection.open_filled(home));
    let mut others: Vec<Box<dyn Store>> = others.collect::<anyhow::Result<_>>()?;
    let started = now();
    let found = search
        .searcher
        .search_all_on(&mut others, &queries, &settings, search.cancel)?;
    let mut rankings = Vec::new();
    for (query, found) in benchmark.queries.iter().zip(found) {
        let found = search.rank_anew(&query.text, found)?;
        rankings.push((documents(found), &query.grades));
    }
    let seconds = now()
        .duration_since(started)
        .unwrap_or_default()
        .as_secs_f64();
    let report = measure_rankings(&rankings);
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!({"report": report, "seconds": seconds}))?;
    } else {
        write!(out, "{}", table(&report, seconds))?;
    }
    Ok(())
}

/// The documents of passages, each where its best passage is.
fn documents(found: Vec<Ranked>) -> Vec<String> {
    let mut seen = HashSet::new();
    let names = found.into_iter().map(|ranked| {
        let passage = ranked.passage;
        passage.record.unwrap_or(passage.document)
    });
    names.filter(|name| seen.insert(name.clone())).collect()
}

fn table(report: &RankingReport, seconds: f64) -> String {
    let mut rows = vec![
        ("nDCG@10".to_owned(), report.ndcg_10),
        ("MRR@10".to_owned(), report.mrr_10),
    ];
    rows.extend(
        report
            .recall
            .iter()
            .map(|(ranks, recall)| (format!("recall@{ranks}"), *recall)),
    );
    let mut text = format!("{} queries, {seconds:.2} s\n", report.queries);
    for (name, estimate) in rows {
        let _ = writeln!(
            text,
            "{name:<11} {:.4}  95 % from {:.4} to {:.4}",
            estimate.mean, estimate.low, estimate.high
        );
    }
    text
}
