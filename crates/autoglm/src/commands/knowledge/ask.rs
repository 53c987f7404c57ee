//! `autoglm ask`: answers from the user's own documents.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use autoglm_engine::LocalEngine;
use autoglm_retrieve::answer::{Answer, AnswerSettings, Asker, Citation, Refusal, Sentence};
use autoglm_retrieve::chunk::CountTokens;
use autoglm_retrieve::search::{Ranked, SearchSettings, Searcher, Turn, rewrite};
use autoglm_retrieve::store::{SqliteStore, Store};
use autoglm_spec::{Cancel, Generate, Prompt, Score};
use clap::Args;
use serde_json::json;

use super::progress::say;
use super::quality::evaluate;
use super::ranking::RankingArgs;
use super::{CollectionArgs, EmbedderArgs, as_embed, show};
use crate::engine::{EngineArgs, OpenEngine};
use crate::interrupt::cancel_on_interrupt;
use crate::models::Need;

/// Bytes of a token of English, for engines that do not count.
const TOKEN_BYTES: usize = 4;
/// Characters of a quotation that are shown.
const QUOTED_CHARS: usize = 400;

/// Answer a question from a collection, and say what each sentence rests on.
///
/// Passages are found as `autoglm search` finds them, the model answers from them, and each sentence
/// is checked against its source. What the documents do not say is not answered.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The question.
    #[arg(required_unless_present = "eval", conflicts_with = "eval")]
    question: Option<String>,
    #[command(flatten)]
    collection: CollectionArgs,
    /// Passages that the model is given at most.
    #[arg(long, short = 'k', value_name = "K", default_value_t = 3)]
    top: usize,
    /// Tokens of the passages together at most.
    #[arg(long, value_name = "N", default_value_t = 1_200)]
    source_tokens: usize,
    /// Tokens of the answer at most.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 96)]
    max_tokens: usize,
    /// How much of the question a passage must cover for it to be answered, from 0 to 1; 0.56 when
    /// not given, and 0.3 for questions in Chinese.
    #[arg(long, value_name = "C")]
    min_coverage: Option<f64>,
    /// The share of a sentence's words, beyond those of the question, that its source must have for it to
    /// be shown, from 0 to 1. Where nothing is left the source itself is quoted.
    #[arg(long, value_name = "S", default_value_t = AnswerSettings::default().min_overlap)]
    min_support: f64,
    #[command(flatten)]
    ranking: RankingArgs,
    /// A question that was asked before, on which this one leans; the oldest first.
    #[arg(long, value_name = "QUESTION")]
    after: Vec<String>,
    /// Measure answers on a file of passages with questions, as `SQuAD` has them; no collection is
    /// used.
    #[arg(long, value_name = "FILE")]
    eval: Option<PathBuf>,
    /// Questions that are measured at most, at equal steps through the file.
    #[arg(long, value_name = "N", requires = "eval")]
    limit: Option<usize>,
    /// Show what was found, and what bears out each sentence.
    #[arg(long)]
    explain: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embedder: EmbedderArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
///
/// # Errors
/// A collection without documents, a model that cannot be used.
pub fn run(args: &AskArgs, home: &Path) -> anyhow::Result<()> {
    let mut bench = Bench::open(args, home)?;
    match &args.eval {
        Some(file) => {
            let report = evaluate(&mut bench, file, args.limit)?;
            let mut out = std::io::stdout().lock();
            if args.json {
                writeln!(out, "{}", json!(report))?;
            } else {
                write!(out, "{report}")?;
            }
            Ok(())
        }
        None => ask(args, &bench),
    }
}

/// Everything that answers.
pub(super) struct Bench {
    pub(super) store: Box<dyn Store>,
    pub(super) embedder: Option<LocalEngine>,
    pub(super) engine: OpenEngine,
    pub(super) search: SearchSettings,
    pub(super) answer: AnswerSettings,
    pub(super) cancel: Cancel,
}

impl Bench {
    fn open(args: &AskArgs, home: &Path) -> anyhow::Result<Self> {
        let threads = args.engine.local.threads;
        let (store, embedder): (Box<dyn Store>, _) = if args.eval.is_some() {
            let embedder = args.embedder.open(threads, home)?;
            (Box::new(SqliteStore::in_memory()?), embedder)
        } else {
            let store = args.collection.open_filled(home)?;
            let embedder = args.embedder.open_for(&*store, threads, home)?;
            (store, embedder)
        };
        let space = embedder.as_ref().map(autoglm_spec::Embed::space);
        let search = args.ranking.settings(args.top, space)?;
        let defaults = AnswerSettings::default();
        Ok(Self {
            store,
            search,
            engine: args.engine.open(home, Need::Open)?,
            answer: AnswerSettings {
                context_tokens: args.source_tokens,
                passages: args.top,
                answer_tokens: args.max_tokens,
                min_coverage: args.min_coverage.unwrap_or(defaults.min_coverage),
                min_coverage_chinese: args.min_coverage.unwrap_or(defaults.min_coverage_chinese),
                min_overlap: args.min_support,
                ..defaults
            },
            cancel: cancel_on_interrupt(),
            embedder,
        })
    }

    /// The passages for a question.
    pub(super) fn find(&self, question: &str) -> anyhow::Result<Vec<Ranked>> {
        let searcher = Searcher {
            store: &*self.store,
            embed: as_embed(self.embedder.as_ref()),
        };
        Ok(searcher.search(question, &self.search, &self.cancel)?)
    }

    /// The answer to a question from passages.
    pub(super) fn answer(
        &self,
        question: &str,
        found: Vec<Ranked>,
        settings: &AnswerSettings,
    ) -> anyhow::Result<Answer> {
        let tokens = |text: &str| self.count_tokens(text);
        let asker = self.asker(&tokens);
        Ok(asker.answer(question, found, settings, &self.cancel)?)
    }

    /// What the model says to a question without any document.
    pub(super) fn closed_book(&self, question: &str) -> anyhow::Result<String> {
        let tokens = |text: &str| self.count_tokens(text);
        let asker = self.asker(&tokens);
        Ok(asker.closed_book(question, &self.answer, &self.cancel)?)
    }

    fn asker<'a>(&'a self, tokens: &'a dyn CountTokens) -> Asker<'a> {
        Asker {
            store: &*self.store,
            generate: &self.engine as &dyn Generate,
            score: Some(&self.engine as &dyn Score),
            tokens,
        }
    }

    fn count_tokens(&self, text: &str) -> usize {
        let counted = self.engine.count_tokens(&Prompt::Plain(text.to_owned()));
        counted.unwrap_or(text.len().div_ceil(TOKEN_BYTES))
    }
}

fn ask(args: &AskArgs, bench: &Bench) -> anyhow::Result<()> {
    let question = args.question.as_deref().context("no question is given")?;
    let turns: Vec<Turn> = args
        .after
        .iter()
        .map(|question| Turn {
            question: question.clone(),
            answer: String::new(),
        })
        .collect();
    let model = (!turns.is_empty()).then_some(&bench.engine as &dyn Generate);
    let whole = rewrite(model, &turns, question, &bench.cancel)?;
    if whole != question {
        say(&format!("understood as: {whole}"));
    }
    let answer = bench.answer(&whole, bench.find(&whole)?, &bench.answer)?;
    bench.engine.tell_notes();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!(answer))?;
        return Ok(());
    }
    writeln!(out, "{}", answer.text)?;
    write!(out, "{}", citations(&answer))?;
    if args.explain {
        explain(&mut out, &answer, &whole)?;
    }
    Ok(())
}

/// Where the sentences of an answer are from: each place once, with all that is quoted of it.
fn citations(answer: &Answer) -> String {
    let mut text = String::new();
    if answer.refused.is_some() {
        return text;
    }
    let supported = answer.sentences.iter().filter(|s| s.supported);
    let cited: Vec<&Citation> = supported.filter_map(|s| s.citation.as_ref()).collect();
    for (number, source) in (1..).zip(&answer.sources) {
        let mut quotes: Vec<&str> = Vec::new();
        for citation in cited.iter().filter(|citation| citation.number == number) {
            if !quotes.contains(&citation.quote.as_str()) {
                quotes.push(&citation.quote);
            }
        }
        if !quotes.is_empty() {
            let _ = writeln!(text, "\n[{number}] {}", show::source(&source.passage));
        }
        for quote in quotes {
            let _ = writeln!(text, "    {}", show::one_line(quote, QUOTED_CHARS));
        }
    }
    text
}

fn explain(out: &mut dyn Write, answer: &Answer, question: &str) -> anyhow::Result<()> {
    writeln!(
        out,
        "\nthe passages cover {:.2} of the question",
        answer.coverage
    )?;
    if let Some(refused) = answer.refused {
        let reason = match refused {
            Refusal::NothingFound => "no passage was found",
            Refusal::NotCovered => "that is too little to answer it",
            Refusal::ModelSays => "the model says that they do not answer it",
            Refusal::NotSupported => "they do not bear out what the model wrote",
        };
        writeln!(out, "refused: {reason}")?;
    }
    if answer.quoted {
        writeln!(out, "quoted: they do not bear out what the model wrote")?;
    }
    for Sentence {
        text,
        support,
        supported,
        ..
    } in &answer.sentences
    {
        let word = if *supported {
            "supported"
        } else {
            "not supported"
        };
        let gain = support
            .gain
            .map(|gain| format!(", {gain:+.2} a token with it"));
        writeln!(
            out,
            "{word}: {text:?}: its source has {:.2} of its words{}",
            support.overlap,
            gain.unwrap_or_default()
        )?;
    }
    writeln!(out, "\nthe model was given")?;
    for (number, ranked) in (1..).zip(&answer.sources) {
        show::passage(out, (number, ranked), question, true)?;
    }
    Ok(())
}
