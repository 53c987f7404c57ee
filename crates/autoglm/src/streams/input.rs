//! Opening the records that a command works on.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use autoglm_spec::Field;
use autoglm_task::records::{InputFormat, Records};
use autoglm_task::run::{Survey, survey};
use clap::{Args, ValueEnum};

/// Bytes that are read at a time: enough for the first lines to tell their format.
const BUFFER_BYTES: usize = 1 << 16;

/// Where records come from.
#[derive(Debug, Clone, Args)]
pub(crate) struct InputArgs {
    /// The records: a file, or - for standard input.
    #[arg(long, short = 'i', value_name = "FILE", default_value = "-")]
    pub(crate) input: String,
    /// How the records are laid out; told from the extension or the first bytes when not given.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) input_format: Option<InputLayout>,
}

/// How records are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputLayout {
    /// A JSON object or string a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// A text a line.
    Lines,
}

impl From<InputLayout> for InputFormat {
    fn from(layout: InputLayout) -> Self {
        match layout {
            InputLayout::Jsonl => Self::Jsonl,
            InputLayout::Csv => Self::Csv,
            InputLayout::Tsv => Self::Tsv,
            InputLayout::Lines => Self::Lines,
        }
    }
}

/// An input that is open.
pub(crate) struct OpenInput {
    /// Its records.
    pub(crate) records: Records<Box<dyn BufRead>>,
    /// Its absolute path, or `-`.
    pub(crate) source: String,
    /// What is known of it beforehand, where it can be read twice.
    pub(crate) survey: Option<Survey>,
}

impl InputArgs {
    /// Opens the input for a task with these fields.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn open(&self, fields: &[Field]) -> anyhow::Result<OpenInput> {
        let format = self.input_format.map(InputFormat::from);
        if self.input == "-" {
            let stdin = Box::new(BufReader::with_capacity(BUFFER_BYTES, std::io::stdin()));
            return OpenInput::of_stream("-".to_owned(), stdin, format, fields);
        }
        open_file(Path::new(&self.input), format, fields)
    }
}

/// Opens a file of records.
fn open_file(
    path: &Path,
    format: Option<InputFormat>,
    fields: &[Field],
) -> anyhow::Result<OpenInput> {
    let context = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(context)?;
    let metadata = file.metadata().with_context(context)?;
    anyhow::ensure!(
        !metadata.is_dir(),
        "{} is a folder, want a file",
        path.display()
    );
    let format = format.or_else(|| InputFormat::from_path(path));
    let source = path
        .canonicalize()
        .with_context(context)?
        .display()
        .to_string();
    let reader = Box::new(BufReader::with_capacity(BUFFER_BYTES, file));
    let mut open = OpenInput::of_stream(source, reader, format, fields)?;
    if metadata.is_file() {
        let again = File::open(path).with_context(context)?;
        open.survey = Some(survey(again, open.records.format())?);
    }
    Ok(open)
}

impl OpenInput {
    /// Opens a file by its path alone.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn of_file(path: &Path, fields: &[Field]) -> anyhow::Result<Self> {
        open_file(path, None, fields)
    }

    /// How many records there are to work on, where it is known.
    pub(crate) fn total(&self, limit: Option<u64>) -> Option<u64> {
        let known = self.survey.as_ref().map(|survey| survey.records)?;
        Some(limit.map_or(known, |limit| limit.min(known)))
    }

    fn of_stream(
        source: String,
        mut reader: Box<dyn BufRead>,
        format: Option<InputFormat>,
        fields: &[Field],
    ) -> anyhow::Result<Self> {
        let format = if let Some(format) = format {
            format
        } else {
            let head = reader
                .fill_buf()
                .with_context(|| format!("cannot read {source}"))?;
            InputFormat::sniff(head, fields)
        };
        let first = fields.first().map_or("text", |field| field.name.as_str());
        Ok(Self {
            records: Records::new(reader, format, first),
            source,
            survey: None,
        })
    }
}
