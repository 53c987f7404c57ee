//! `autoglm learn`: how well the online learner does alone on a file of labelled records.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use autoglm_spec::Record;
use autoglm_task::learn::{Validation, ValidationReport};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::streams::{OpenInput, now};

/// Learn a file of labelled records row by row, and tell how often the label was right before it
/// was learnt. No model takes part: this is what words alone can do.
#[derive(Debug, Args)]
pub(crate) struct LearnArgs {
    /// Labelled records: JSON lines, CSV or TSV.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The field that holds the label.
    #[arg(long, value_name = "FIELD")]
    label: String,
    /// A field to learn from; all others of the first record when not given.
    #[arg(long, value_name = "FIELD")]
    field: Vec<String>,
    /// Learn this many rows at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// More labels are no labels, but texts or numbers; each costs every word a weight.
const MOST_LABELS: usize = 1_000;

/// What is printed.
#[derive(Debug, Serialize)]
struct Told {
    labels: Vec<String>,
    #[serde(flatten)]
    report: ValidationReport,
    /// Without reading the file; hashing included.
    seconds: f64,
    rows_per_second: f64,
    /// Rows that could not be read or have no label.
    left_out: usize,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read, or has fewer than two labels or more than 1,000.
pub(crate) fn run(args: &LearnArgs) -> anyhow::Result<()> {
    let table = Table::read(args)?;
    anyhow::ensure!(
        table.labels.len() >= 2,
        "the field {:?} has {} labels over {} rows, want at least 2",
        args.label,
        table.labels.len(),
        table.rows.len()
    );
    let mut validation = Validation::new(table.labels.len());
    let begun = now();
    for (texts, label) in &table.rows {
        validation.push(texts.iter().map(String::as_str), *label);
    }
    let seconds = now()
        .duration_since(begun)
        .unwrap_or_default()
        .as_secs_f64();
    let told = Told {
        report: validation.report(),
        seconds,
        rows_per_second: table.rows.len() as f64 / seconds.max(1e-9),
        labels: table.labels,
        left_out: table.left_out,
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&told)?)?;
    } else {
        write!(out, "{}", text(&told))?;
    }
    Ok(())
}

/// The rows of a file, in memory, so that the time of learning is told without that of reading.
#[derive(Default)]
struct Table {
    labels: Vec<String>,
    rows: Vec<(Vec<String>, usize)>,
    left_out: usize,
}

impl Table {
    fn read(args: &LearnArgs) -> anyhow::Result<Self> {
        let mut table = Self::default();
        let mut fields = args.field.clone();
        for item in OpenInput::of_file(&args.file, &[])?.records {
            if args.limit.is_some_and(|limit| table.rows.len() >= limit) {
                break;
            }
            let record = match item {
                Ok(numbered) => numbered.record,
                Err(error) if error.is_fatal() => {
                    let path = args.file.display();
                    return Err(error).with_context(|| format!("cannot read {path}"));
                }
                Err(_) => {
                    table.left_out += 1;
                    continue;
                }
            };
            if fields.is_empty() {
                let names = record.keys().filter(|name| **name != args.label);
                fields = names.cloned().collect();
            }
            table.add(&record, &fields, &args.label);
            anyhow::ensure!(
                table.labels.len() <= MOST_LABELS,
                "the field {:?} has more than {MOST_LABELS} labels within {} rows\n\
                 hint: --label names the field that holds the label",
                args.label,
                table.rows.len()
            );
        }
        Ok(table)
    }

    fn add(&mut self, record: &Record, fields: &[String], label: &str) {
        let Some(label) = record.get(label).filter(|label| !label.is_null()) else {
            self.left_out += 1;
            return;
        };
        let label = plain(label);
        let place = self.labels.iter().position(|known| *known == label);
        let place = place.unwrap_or_else(|| {
            self.labels.push(label);
            self.labels.len() - 1
        });
        let texts = fields
            .iter()
            .map(|field| record.get(field).map_or(String::new(), plain));
        self.rows.push((texts.collect(), place));
    }
}

/// A value as text: strings without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn text(told: &Told) -> String {
    let report = &told.report;
    let mut text = format!(
        "{} rows, {} labels, each answered before it was learnt\n\
         accuracy {:.4}, log loss {:.4}, {} weights\n\
         {:.3} s, {:.0} rows/s with hashing, on one thread\n\n    rows  accuracy  log loss\n",
        report.rows,
        told.labels.len(),
        report.accuracy,
        report.log_loss,
        report.weights,
        told.seconds,
        told.rows_per_second
    );
    for point in &report.curve {
        let _ = writeln!(
            text,
            "{:>8}  {:>8.4}  {:>8.4}",
            point.rows, point.accuracy, point.log_loss
        );
    }
    if told.left_out > 0 {
        let _ = writeln!(
            text,
            "\n{} rows were left out: unreadable or without a label",
            told.left_out
        );
    }
    text
}
