//! Writes rows as JSON Lines or CSV.

use std::io::{self, Write};

use autoglm_spec::{Alternative, Output, Record, Verdict, Vote};
use serde_json::{Map, Value, json};

use super::OutputFormat;
use crate::row::Row;

/// Where rows go as they become final, in the input's order.
pub trait RowSink {
    /// Makes room for the rows of a run from its first on; what an earlier run left goes.
    ///
    /// # Errors
    /// When that is not possible.
    fn start(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Takes rows and hands them on as far as it can.
    ///
    /// # Errors
    /// When they cannot be written.
    fn write_rows(&mut self, rows: &[Row]) -> io::Result<()>;

    /// Writes what was held back; no rows come after it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RowSink for Vec<Row> {
    fn write_rows(&mut self, rows: &[Row]) -> io::Result<()> {
        self.extend_from_slice(rows);
        Ok(())
    }
}

/// The names that AutoGLM writes beside a record's own fields.
const OWN_NAMES: [&str; 8] = [
    "answer",
    "confidence",
    "distribution",
    "vote",
    "abstained",
    "abstain_reason",
    "line",
    "error",
];
/// How many malformed rows wait for the first good one before CSV does without its fields.
const WAITING_ROWS: usize = 1000;
/// What a record's own field of such a name is prefixed with.
const CLASH_PREFIX: &str = "input_";

/// Writes rows to a file or stream; each call of `write_rows` ends with a flush.
///
/// A JSON line holds the record's fields, then `answer` and `confidence` (and `distribution` or
/// `vote` where it is asked for), or `line` and `error`; where the answer is withheld, `abstained`
/// and `abstain_reason` stand in its place. A record's own field with one of these names is
/// written as `input_NAME`. CSV has one set of columns: the fields of the first readable record,
/// then `answer`, `confidence`, (`distribution`, `vote`,) (`abstained`, `abstain_reason`,) `line`,
/// `error`; fields that only later records have are left out and counted.
pub struct RowWriter<W> {
    out: W,
    format: OutputFormat,
    with_distribution: bool,
    with_abstentions: bool,
    json_answers: bool,
    columns: Option<Vec<String>>,
    waiting: Vec<Row>,
    left_out: u64,
}

impl<W: Write> RowWriter<W> {
    /// A writer for answers of the given kind.
    pub fn new(out: W, format: OutputFormat, output: &Output, with_distribution: bool) -> Self {
        Self {
            out,
            format,
            with_distribution,
            with_abstentions: false,
            json_answers: matches!(output, Output::Json { .. }),
            columns: None,
            waiting: Vec::new(),
            left_out: 0,
        }
    }

    /// The same with columns of CSV for answers that are withheld.
    #[must_use]
    pub fn with_abstentions(self, yes: bool) -> Self {
        Self {
            with_abstentions: yes,
            ..self
        }
    }

    /// How many fields had no column in CSV.
    pub fn fields_left_out(&self) -> u64 {
        self.left_out
    }

    fn write_row(&mut self, row: &Row) -> io::Result<()> {
        match self.format {
            OutputFormat::Jsonl => self.write_json(row),
            OutputFormat::Csv => self.write_csv(row),
        }
    }

    fn write_json(&mut self, row: &Row) -> io::Result<()> {
        let mut object = row.input.as_ref().map(renamed).unwrap_or_default();
        if let Some(verdict) = &row.verdict {
            match &row.abstained {
                None => {
                    object.insert("answer".to_owned(), self.answer_value(verdict));
                }
                Some(reason) => {
                    object.insert("abstained".to_owned(), json!(true));
                    object.insert("abstain_reason".to_owned(), json!(reason));
                }
            }
            object.insert("confidence".to_owned(), json!(rounded(verdict.confidence)));
            if self.with_distribution && !verdict.distribution.is_empty() {
                object.insert("distribution".to_owned(), distribution(verdict));
            }
            if let (true, Some(vote)) = (self.with_distribution, &verdict.vote) {
                object.insert("vote".to_owned(), vote_value(vote));
            }
        } else if let Some(error) = &row.error {
            object.insert("line".to_owned(), json!(row.line));
            object.insert("error".to_owned(), json!(error));
        }
        serde_json::to_writer(&mut self.out, &object)?;
        self.out.write_all(b"\n")
    }

    /// The answer as a JSON value where the task gives JSON, as a string otherwise.
    fn answer_value(&self, verdict: &Verdict) -> Value {
        let parsed = self
            .json_answers
            .then(|| serde_json::from_str(&verdict.answer).ok());
        parsed.flatten().unwrap_or_else(|| json!(verdict.answer))
    }

    /// Rows before the first with fields wait for it, so that the columns are known.
    fn write_csv(&mut self, row: &Row) -> io::Result<()> {
        if self.columns.is_some() {
            return self.write_cells(row);
        }
        if row.input.is_none() && self.waiting.len() < WAITING_ROWS {
            self.waiting.push(row.clone());
            return Ok(());
        }
        self.write_header(row.input.as_ref())?;
        self.write_cells(row)
    }

    /// Writes the header for records like the one given, and the rows that waited for it.
    fn write_header(&mut self, record: Option<&Record>) -> io::Result<()> {
        let names: Vec<String> = match record {
            Some(record) => renamed(record).into_iter().map(|(name, _)| name).collect(),
            None => Vec::new(),
        };
        let own = self.own_columns().map(str::to_owned);
        let header: Vec<String> = names.iter().cloned().chain(own).collect();
        let line = csv_line(&header)?;
        self.out.write_all(&line)?;
        self.columns = Some(names);
        for row in std::mem::take(&mut self.waiting) {
            self.write_cells(&row)?;
        }
        Ok(())
    }

    fn write_cells(&mut self, row: &Row) -> io::Result<()> {
        let columns = self.columns.as_deref().unwrap_or_default();
        let record = row.input.as_ref().map(renamed).unwrap_or_default();
        let known = columns.iter().filter(|c| record.contains_key(*c)).count();
        self.left_out += (record.len() - known) as u64;
        let mut cells: Vec<String> = columns.iter().map(|c| cell(record.get(c))).collect();
        cells.extend(self.own_cells(row));
        let line = csv_line(&cells)?;
        self.out.write_all(&line)
    }

    fn own_columns(&self) -> impl Iterator<Item = &'static str> + use<W> {
        let (distribution, abstentions) = (self.with_distribution, self.with_abstentions);
        let wanted = move |name: &&str| match *name {
            "distribution" | "vote" => distribution,
            "abstained" | "abstain_reason" => abstentions,
            _ => true,
        };
        OWN_NAMES.into_iter().filter(wanted)
    }

    fn own_cells(&self, row: &Row) -> Vec<String> {
        let verdict = row.verdict.as_ref();
        let of_verdict = |cell: fn(&Verdict) -> String| verdict.map(cell).unwrap_or_default();
        let mut cells = vec![
            match row.abstained {
                None => of_verdict(|v| v.answer.clone()),
                Some(_) => String::new(),
            },
            of_verdict(|v| rounded(v.confidence).to_string()),
        ];
        if self.with_distribution {
            cells.push(of_verdict(|v| distribution(v).to_string()));
            let vote = verdict.and_then(|v| v.vote.as_ref());
            cells.push(
                vote.map(|vote| vote_value(vote).to_string())
                    .unwrap_or_default(),
            );
        }
        if self.with_abstentions {
            let reason = row.abstained.clone();
            cells.push(
                reason
                    .as_ref()
                    .map(|_| "true".to_owned())
                    .unwrap_or_default(),
            );
            cells.push(reason.unwrap_or_default());
        }
        let error = row.error.as_ref().filter(|_| verdict.is_none());
        cells.push(error.map(|_| row.line.to_string()).unwrap_or_default());
        cells.push(error.cloned().unwrap_or_default());
        cells
    }
}

impl<W: Write> RowSink for RowWriter<W> {
    fn write_rows(&mut self, rows: &[Row]) -> io::Result<()> {
        for row in rows {
            self.write_row(row)?;
        }
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.format == OutputFormat::Csv && self.columns.is_none() {
            self.write_header(None)?;
        }
        self.out.flush()
    }
}

/// The record with its fields out of the way of ours.
fn renamed(record: &Record) -> Record {
    let mut out = Record::with_capacity(record.len() + 3);
    for (name, value) in record {
        let mut name = name.clone();
        while OWN_NAMES.contains(&name.as_str())
            || (name.starts_with(CLASH_PREFIX) && out.contains_key(&name))
        {
            name.insert_str(0, CLASH_PREFIX);
        }
        out.insert(name, value.clone());
    }
    out
}

fn distribution(verdict: &Verdict) -> Value {
    let pairs = verdict.distribution.iter();
    let object: Map<String, Value> = pairs
        .map(|(label, p)| (label.clone(), json!(rounded(*p))))
        .collect();
    Value::Object(object)
}

/// A vote with shares that are short enough to read.
fn vote_value(vote: &Vote) -> Value {
    let alternative = |a: &Alternative| json!({"answer": a.answer, "share": rounded(a.share)});
    json!({
        "samples": vote.samples,
        "agreed": vote.agreed,
        "stopped": vote.stopped.name(),
        "entropy": rounded(vote.entropy),
        "alternatives": vote.alternatives.iter().map(alternative).collect::<Vec<_>>(),
    })
}

/// Four decimals: finer steps of a confidence mean nothing.
fn rounded(probability: f32) -> f64 {
    (f64::from(probability) * 1e4).round() / 1e4
}

/// A value as the text of a CSV cell: strings as they are, everything else as JSON.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

fn csv_line(cells: &[String]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells)?;
    writer
        .into_inner()
        .map_err(|e| io::Error::other(e.to_string()))
}
