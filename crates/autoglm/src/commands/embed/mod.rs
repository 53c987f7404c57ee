//! `autoglm embed`: vectors of texts, or the texts that are nearest to another one.

mod ranking;
mod source;

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use autoglm_engine::Pooling;
use autoglm_spec::{Cancel, Embed, Embedding, EngineError};
use autoglm_task::run::Progress;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::engine::LocalArgs;
use crate::exit;
use crate::interrupt::cancel_on_interrupt;
use crate::models::Need;
use crate::streams::{InputArgs, Meter, now, span};
use ranking::Ranking;
use source::{Entry, Texts};

/// Texts that go to the engine at once at most, and bytes of them: enough that all but the last of
/// the engine's passes are full.
const BATCH_TEXTS: usize = 256;
const BATCH_BYTES: usize = 4 << 20;

/// Make vectors of texts, or rank texts by how near they are to another one.
///
/// Texts come from the command line, else from a file or standard input: JSON lines, CSV or a text
/// a line. Vectors go to standard output as JSON lines.
#[derive(Debug, Args)]
pub struct EmbedArgs {
    /// The texts; read from --input when none is given.
    #[arg(conflicts_with = "input")]
    texts: Vec<String>,
    #[command(flatten)]
    input: InputArgs,
    /// The field of a record that holds the text.
    #[arg(long, value_name = "NAME", default_value = "text")]
    field: String,
    /// Show the texts that are nearest to this one, the nearest first, instead of vectors.
    #[arg(long, short = 's', value_name = "TEXT", allow_hyphen_values = true)]
    similar: Option<String>,
    /// How many of the nearest texts are shown.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "similar")]
    top: usize,
    /// Which hidden states make the vector; as the model was trained when not given, and the mean
    /// for models that were not trained for vectors.
    #[arg(long, value_name = "HOW")]
    pooling: Option<PoolingName>,
    /// Print JSON lines where a table is shown otherwise, and a JSON object about the run on
    /// standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: LocalArgs,
}

/// [`Pooling`] by the names of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PoolingName {
    /// The mean over all tokens.
    Mean,
    /// The first token's.
    First,
    /// The last token's.
    Last,
}

impl From<PoolingName> for Pooling {
    fn from(name: PoolingName) -> Self {
        match name {
            PoolingName::Mean => Self::Mean,
            PoolingName::First => Self::First,
            PoolingName::Last => Self::Last,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A model, an input or an output that cannot be used. A record that is malformed is a row of the
/// output.
pub fn run(args: &EmbedArgs, home: &Path) -> anyhow::Result<ExitCode> {
    let texts = Texts::open(args)?;
    let mut engine = args.engine.open(home, Need::Embeddings)?;
    if let Some(pooling) = args.pooling {
        engine = engine.with_pooling(pooling.into());
    }
    let cancel = cancel_on_interrupt();
    let sink = match &args.similar {
        None => Sink::Vectors(BufWriter::new(io::stdout())),
        Some(query) => {
            let embedded = engine.embed(&[query.as_str()], &cancel);
            let query = embedded.into_iter().next().context("no result")??;
            let similarity = engine.space().similarity;
            Sink::Ranking(Ranking::new(query.vector, similarity, args.top))
        }
    };
    let mut work = Work {
        meter: Meter::new(texts.total()),
        started: now(),
        progress: Progress {
            done: 0,
            resumed: 0,
            total: texts.total(),
            errors: 0,
            elapsed: Duration::ZERO,
        },
        cut: 0,
        sink,
    };
    let ended = work.all(&engine, texts, &cancel);
    work.meter.clear();
    let finished = ended?;
    work.finish(args, &engine)?;
    Ok(if finished {
        ExitCode::SUCCESS
    } else {
        exit::interrupted()
    })
}

/// Where vectors go.
enum Sink {
    Vectors(BufWriter<io::Stdout>),
    Ranking(Ranking),
}

/// The work and how far it is.
struct Work {
    meter: Meter,
    started: SystemTime,
    progress: Progress,
    /// Texts that were cut at the end.
    cut: u64,
    sink: Sink,
}

impl Work {
    /// Embeds all texts, some at a time; `false` where that was interrupted.
    fn all(
        &mut self,
        engine: &dyn Embed,
        mut texts: Texts,
        cancel: &Cancel,
    ) -> anyhow::Result<bool> {
        loop {
            let entries = texts.next_batch(BATCH_TEXTS, BATCH_BYTES)?;
            if entries.is_empty() {
                return Ok(true);
            }
            if !self.batch(engine, entries, cancel)? {
                return Ok(false);
            }
            self.progress.elapsed = elapsed(self.started);
            self.meter.show(&self.progress);
        }
    }

    fn batch(
        &mut self,
        engine: &dyn Embed,
        entries: Vec<Entry>,
        cancel: &Cancel,
    ) -> anyhow::Result<bool> {
        let good: Vec<&str> = entries
            .iter()
            .filter_map(|e| e.text.as_deref().ok())
            .collect();
        let mut embedded = engine.embed(&good, cancel).into_iter();
        for entry in entries {
            let result = match &entry.text {
                Ok(_) => embedded.next().context("the engine gave too few results")?,
                Err(_) => Err(EngineError::Cancelled),
            };
            if entry.text.is_ok() && matches!(result, Err(EngineError::Cancelled)) {
                return Ok(false);
            }
            self.take(entry, result)?;
        }
        Ok(true)
    }

    /// Takes a text and what became of it.
    fn take(&mut self, entry: Entry, result: Result<Embedding, EngineError>) -> anyhow::Result<()> {
        let (text, embedding) = match (entry.text, result) {
            (Ok(text), Ok(embedding)) => (text, Ok(embedding)),
            (Ok(text), Err(error)) => (text, Err(told(&error.into()))),
            (Err(error), _) => (String::new(), Err(error)),
        };
        self.progress.done += 1;
        self.progress.errors += u64::from(embedding.is_err());
        self.cut += u64::from(embedding.as_ref().is_ok_and(|e| e.cut_tokens > 0));
        match (&mut self.sink, embedding) {
            (Sink::Vectors(out), embedding) => {
                let row = row(entry.line, &text, embedding);
                self.meter.beside(|| writeln!(out, "{row}"))?;
            }
            (Sink::Ranking(ranking), Ok(embedding)) => {
                ranking.add(entry.line, text, &embedding.vector);
            }
            (Sink::Ranking(_), Err(error)) => {
                self.meter.beside(|| say(&format!("warning: {error}")));
            }
        }
        Ok(())
    }

    fn finish(mut self, args: &EmbedArgs, engine: &dyn Embed) -> anyhow::Result<()> {
        self.progress.elapsed = elapsed(self.started);
        match &mut self.sink {
            Sink::Vectors(out) => out.flush()?,
            Sink::Ranking(ranking) => ranking.write(&mut io::stdout().lock(), args.json)?,
        }
        if args.json {
            say(&self.report(engine).to_string());
        } else if self.progress.done > 1 || self.progress.errors > 0 || self.cut > 0 {
            say(&self.summary(engine));
        }
        Ok(())
    }

    fn report(&self, engine: &dyn Embed) -> Value {
        json!({
            "space": engine.space(),
            "texts": self.progress.done,
            "errors": self.progress.errors,
            "cut": self.cut,
            "seconds": self.progress.elapsed.as_secs_f64(),
        })
    }

    fn summary(&self, engine: &dyn Embed) -> String {
        let Progress {
            done,
            errors,
            elapsed,
            ..
        } = self.progress;
        let space = engine.space();
        let mut text = format!(
            "{done} texts, {} ({:.1} texts/s), vectors of {} numbers in the space {}",
            span(elapsed),
            self.progress.records_per_second(),
            space.dimensions,
            space.name,
        );
        if errors > 0 {
            let _ = write!(text, ", {errors} with errors");
        }
        if self.cut > 0 {
            let _ = write!(text, ", {} cut at {} tokens", self.cut, space.max_tokens);
        }
        text
    }
}

/// A text's row of the output.
fn row(line: Option<u64>, text: &str, embedding: Result<Embedding, String>) -> Value {
    let mut row = serde_json::Map::new();
    if let Some(line) = line {
        row.insert("line".to_owned(), line.into());
    }
    match embedding {
        Ok(embedding) => {
            row.insert("text".to_owned(), text.into());
            row.insert("tokens".to_owned(), embedding.tokens.into());
            if embedding.cut_tokens > 0 {
                row.insert("cut_tokens".to_owned(), embedding.cut_tokens.into());
            }
            row.insert("vector".to_owned(), json!(embedding.vector));
        }
        Err(error) => {
            row.insert("error".to_owned(), error.into());
        }
    }
    Value::Object(row)
}

/// An error with its causes on one line.
fn told(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

fn elapsed(since: SystemTime) -> Duration {
    now().duration_since(since).unwrap_or_default()
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn say(text: &str) {
    eprintln!("{text}");
}
