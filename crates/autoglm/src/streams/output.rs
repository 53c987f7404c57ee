//! Where rows go: a file, standard output, or a table for a person at a terminal.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, IsTerminal, Seek, Write};
use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use autoglm_spec::{Output, TaskSpec, Verdict};
use autoglm_task::Row;
use autoglm_task::records::{OutputFormat, RowSink, RowWriter};
use clap::{Args, ValueEnum};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Meter;

/// Columns of a text in the terminal's table.
const TEXT_COLUMNS: usize = 64;
/// Columns of an open answer in the terminal's table.
const ANSWER_COLUMNS: usize = 48;

/// Where rows go.
#[derive(Debug, Clone, Args)]
pub(crate) struct OutputArgs {
    /// Where the answers go: a file, or - for standard output.
    #[arg(long, short = 'o', value_name = "FILE", default_value = "-")]
    pub(crate) output: String,
    /// How answers are laid out; told from the extension when not given, else JSON lines. On a
    /// terminal a table to read.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<OutputLayout>,
    /// Write every label's probability too, or how the samples of an open answer voted.
    #[arg(long)]
    pub(crate) distribution: bool,
}

/// How answers are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputLayout {
    /// A JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
}

impl From<OutputLayout> for OutputFormat {
    fn from(layout: OutputLayout) -> Self {
        match layout {
            OutputLayout::Jsonl => Self::Jsonl,
            OutputLayout::Csv => Self::Csv,
        }
    }
}

/// What rows are of.
#[derive(Clone, Copy)]
pub(crate) struct RowsOf<'a> {
    /// The task.
    pub(crate) spec: &'a TaskSpec,
    /// Whether answers may be withheld.
    pub(crate) abstaining: bool,
    /// Whether a program reads them, even on a terminal.
    pub(crate) for_machines: bool,
}

/// Opens the place that rows go to, and names it: an absolute path, or `-`.
///
/// # Errors
/// When the file cannot be written, is the input, or another run is writing it.
pub(crate) fn open_output(
    args: &OutputArgs,
    rows: RowsOf<'_>,
    source: &str,
    meter: &Rc<Meter>,
) -> anyhow::Result<(Box<dyn RowSink>, String)> {
    let format = args.format.map(OutputFormat::from);
    if args.output != "-" {
        let path = Path::new(&args.output);
        let format = format.or_else(|| OutputFormat::from_path(path));
        let format = format.unwrap_or(OutputFormat::Jsonl);
        let writer = |file| {
            RowWriter::new(file, format, &rows.spec.output, args.distribution)
                .with_abstentions(rows.abstaining)
        };
        let rows = FileRows::open(path, source, writer)?;
        let name = path.canonicalize().context("cannot name the output")?;
        return Ok((Box::new(rows), name.display().to_string()));
    }
    let is_table = format.is_none() && !rows.for_machines && io::stdout().is_terminal();
    let rows: Box<dyn RowSink> = if is_table {
        Box::new(TableRows::new(rows.spec))
    } else {
        let format = format.unwrap_or(OutputFormat::Jsonl);
        let out = BufWriter::new(io::stdout());
        let writer = RowWriter::new(out, format, &rows.spec.output, args.distribution);
        Box::new(writer.with_abstentions(rows.abstaining))
    };
    let meter = Rc::clone(meter);
    Ok((Box::new(BesideMeter { rows, meter }), "-".to_owned()))
}

/// Rows in a file that nobody else writes meanwhile.
pub(crate) struct FileRows {
    file: File,
    writer: RowWriter<BufWriter<File>>,
}

impl FileRows {
    /// Opens a file and leaves it as it is until the run starts.
    ///
    /// # Errors
    /// When it cannot be written, is the input, or another run is writing it.
    pub(crate) fn open(
        path: &Path,
        source: &str,
        writer: impl FnOnce(BufWriter<File>) -> RowWriter<BufWriter<File>>,
    ) -> anyhow::Result<Self> {
        let context = || format!("cannot write {}", path.display());
        let is_input = path
            .canonicalize()
            .is_ok_and(|p| p.display().to_string() == source);
        anyhow::ensure!(!is_input, "{} is the input, too", path.display());
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(path);
        let file = file.with_context(context)?;
        // Not every file can be locked, a device for example; that is no reason to refuse it.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            anyhow::bail!("another run is writing {}", path.display());
        }
        let writer = writer(BufWriter::new(file.try_clone().with_context(context)?));
        Ok(Self { file, writer })
    }
}

impl RowSink for FileRows {
    fn start(&mut self) -> io::Result<()> {
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
            self.file.rewind()?;
        }
        Ok(())
    }

    fn write_rows(&mut self, rows: &[Row]) -> io::Result<()> {
        self.writer.write_rows(rows)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.finish()
    }
}

/// Rows on the terminal on which the progress line may stand.
struct BesideMeter {
    rows: Box<dyn RowSink>,
    meter: Rc<Meter>,
}

impl RowSink for BesideMeter {
    fn write_rows(&mut self, rows: &[Row]) -> io::Result<()> {
        self.meter.beside(|| self.rows.write_rows(rows))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.meter.beside(|| self.rows.finish())
    }
}

/// Rows to read: answer, confidence, and the beginning of the first field.
struct TableRows {
    field: String,
    answer_columns: usize,
}

impl TableRows {
    fn new(spec: &TaskSpec) -> Self {
        let answer_columns = match &spec.output {
            Output::Labels { labels } => labels.iter().map(|l| l.name.width()).max().unwrap_or(0),
            Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => ANSWER_COLUMNS,
        };
        let field = spec.fields.first().map(|field| field.name.clone());
        Self {
            field: field.unwrap_or_default(),
            answer_columns,
        }
    }

    fn line(&self, row: &Row) -> String {
        let text = row
            .input
            .as_ref()
            .and_then(|record| record.get(&self.field));
        let text = match text {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        match (&row.verdict, &row.error) {
            (Some(verdict), _) => format!(
                "{}  {:.2}  {}",
                padded(shown_answer(row, verdict), self.answer_columns),
                verdict.confidence,
                clipped(&text, TEXT_COLUMNS)
            ),
            (None, error) => {
                let error = error.as_deref().unwrap_or("no answer");
                format!(
                    "line {}: error: {error}  {}",
                    row.line,
                    clipped(&text, TEXT_COLUMNS)
                )
            }
        }
    }
}

impl RowSink for TableRows {
    fn write_rows(&mut self, rows: &[Row]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for row in rows {
            writeln!(out, "{}", self.line(row))?;
        }
        out.flush()
    }
}

/// The answer; a mark where it is withheld.
fn shown_answer<'a>(row: &Row, verdict: &'a Verdict) -> &'a str {
    match row.abstained {
        Some(_) => "?",
        None => &verdict.answer,
    }
}

/// A text on one line, clipped and filled to a number of terminal columns.
fn padded(text: &str, columns: usize) -> String {
    let clipped = clipped(text, columns);
    let blanks = columns.saturating_sub(clipped.width());
    clipped + &" ".repeat(blanks)
}

/// A text on one line, clipped to a number of terminal columns. Characters that would move the
/// cursor become blanks.
fn clipped(text: &str, columns: usize) -> String {
    let mut line = String::new();
    let mut used = 0;
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        used += c.width().unwrap_or(0);
        if used > columns {
            // Room for the ellipsis.
            while line.width() >= columns {
                line.pop();
            }
            line.push('…');
            break;
        }
        line.push(c);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(clipped("你好世界", 8), "你好世界");
        assert_eq!(clipped("你好世界", 7), "你好世…");
        assert_eq!(clipped("a\x1b[1m\nb", 9), "a [1m b");
        assert_eq!(padded("好", 4), "好  ");
    }

    #[test]
    fn a_file_that_another_run_writes_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        std::fs::write(&path, "old\n").unwrap();
        let output = Output::Text { max_tokens: 1 };
        let open = || {
            FileRows::open(&path, "-", |file| {
                RowWriter::new(file, OutputFormat::Jsonl, &output, false)
            })
        };
        let mut first = open().unwrap();
        let error = open().err().unwrap().to_string();
        assert!(error.starts_with("another run is writing"), "{error}");
        // Opening alone loses nothing; starting makes room.
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\n");
        first.start().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn the_input_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("in.jsonl");
        std::fs::write(&path, "{}\n").unwrap();
        let output = Output::Text { max_tokens: 1 };
        let ended = FileRows::open(&path, &path.display().to_string(), |file| {
            RowWriter::new(file, OutputFormat::Jsonl, &output, false)
        });
        assert!(
            ended
                .err()
                .unwrap()
                .to_string()
                .ends_with("is the input, too")
        );
    }
}
