//! The errors of this crate.

use std::io;

use autoglm_spec::{Blame, Blamed, EngineError};

use crate::records::RecordError;

/// Why a task could not be run, stored or evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A record is malformed and the caller wants to stop at the first one.
    #[error("stopped at the first bad record, as strict runs do")]
    Malformed {
        /// What is wrong with the record.
        #[source]
        source: RecordError,
    },
    /// A record could not be answered and the caller wants to stop at the first one.
    #[error("line {line}: {message}")]
    Unanswered {
        /// Line of the input on which the record starts.
        line: u64,
        /// Why there is no answer.
        message: String,
    },
    /// The input can be read no further.
    #[error("cannot read the input further")]
    Input {
        /// What happened.
        #[source]
        source: RecordError,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write the output")]
    Write {
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The task cannot be turned into a prompt.
    #[error("the task cannot be turned into a prompt")]
    Compose {
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine stopped working.
    #[error("the model stopped answering at line {line}")]
    Engine {
        /// Line of the record that was being worked on; 0 before the first record.
        line: u64,
        /// What happened.
        #[source]
        source: EngineError,
    },
    /// The engine broke its contract.
    #[error("the engine gave {given} results where {wanted} were asked for")]
    ResultCount {
        /// Results that came back.
        given: usize,
        /// Results that were asked for.
        wanted: usize,
    },
    /// The database of runs failed.
    #[error("the store of runs failed to {action}")]
    Store {
        /// What was being done.
        action: &'static str,
        /// What happened.
        #[source]
        source: rusqlite::Error,
    },
    /// The folder of the database cannot be made.
    #[error("cannot make the folder {path} for the store of runs")]
    StoreFolder {
        /// The folder.
        path: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The database was written by a later version of this program.
    #[error(
        "the store of runs has version {found}, this program knows up to {known}\n\
         hint: use the newer program that wrote it, or name another store"
    )]
    StoreVersion {
        /// The version in the file.
        found: i64,
        /// The latest version that this program knows.
        known: i64,
    },
    /// A stored value does not read back.
    #[error("the store of runs holds an unreadable {column} in run {run}")]
    StoreContent {
        /// The run.
        run: i64,
        /// The column.
        column: &'static str,
        /// What happened.
        #[source]
        source: serde_json::Error,
    },
    /// No run has this number.
    #[error("there is no run {run}\nhint: `autoglm runs` lists them")]
    NoSuchRun {
        /// The number that was asked for.
        run: i64,
    },
    /// A run has no such record.
    #[error("run {run} has no readable record {index}, it holds {records} from 0 on")]
    NoSuchRecord {
        /// The run.
        run: i64,
        /// The record that was asked for.
        index: u64,
        /// How many records the run holds.
        records: u64,
    },
    /// A run cannot be resumed because something is not what it was.
    #[error(
        "cannot resume run {run}: the {what} changed, it was {stored} and is {given}\n\
         hint: put it back, or start again without --resume"
    )]
    ResumeMismatch {
        /// The run.
        run: i64,
        /// What differs: task, model, input or settings.
        what: &'static str,
        /// What the run was started with.
        stored: String,
        /// What was given now.
        given: String,
    },
    /// The input's records are not those that the run has answered.
    #[error(
        "cannot resume run {run}: record {index} of the input is not the one that was answered\n\
         hint: give the same input, or start again without --resume"
    )]
    InputChanged {
        /// The run.
        run: i64,
        /// The first record that differs, counted from 0.
        index: u64,
    },
    /// There are too few rows to evaluate on.
    #[error("none of {rows} rows can be evaluated: {reason}")]
    NothingToEvaluate {
        /// Rows that were read.
        rows: usize,
        /// What they lack.
        reason: String,
    },
    /// The examples file lacks rows of a label.
    #[error("label {label:?} has {found} usable examples, {wanted} were asked for")]
    TooFewExamples {
        /// The label.
        label: String,
        /// Usable rows with this label.
        found: usize,
        /// Rows that were asked for.
        wanted: usize,
    },
    /// A label that was given is none of the task's.
    #[error("{label:?} is no label of the task, it has {}", labels.join(", "))]
    NoSuchLabel {
        /// What was given.
        label: String,
        /// The task's labels.
        labels: Vec<String>,
    },
    /// There is no feedback of this number to withdraw.
    #[error(
        "the task {task:?} has no feedback {noun} {number} that is not withdrawn already\n\
         hint: `autoglm feedback TASK list` lists rows and batches"
    )]
    NoSuchFeedback {
        /// The task's name.
        task: String,
        /// A row or a batch.
        noun: &'static str,
        /// The number that was asked for.
        number: i64,
    },
    /// A line of a file of feedback does not say what is right.
    #[error(
        "there is no right label in it\n\
         hint: want a record with its label, or `run` and `record` with `correct`, `good` or `bad`"
    )]
    NoJudgement,
    /// Feedback on a record of another task's run.
    #[error("run {run} is one of the task {found:?}, not of {wanted:?}")]
    RunOfOtherTask {
        /// The run.
        run: i64,
        /// Its task.
        found: String,
        /// The task that was given.
        wanted: String,
    },
    /// A stored record has no answer that feedback could be about.
    #[error("record {index} of run {run} has no answer: say what is right with --correct LABEL")]
    NoAnswer {
        /// The run.
        run: i64,
        /// The record.
        index: u64,
    },
    /// The task has no closed set of labels, which the operation needs.
    #[error("{operation} needs a task with labels, {task:?} has open answers")]
    NoLabels {
        /// What was asked for.
        operation: &'static str,
        /// The task's name.
        task: String,
    },
}

impl Blamed for TaskError {
    fn blame(&self) -> Blame {
        match self {
            Self::Malformed { .. }
            | Self::Unanswered { .. }
            | Self::Input { .. }
            | Self::Read { .. }
            | Self::StoreVersion { .. }
            | Self::StoreContent { .. }
            | Self::InputChanged { .. }
            | Self::NothingToEvaluate { .. }
            | Self::NoJudgement
            | Self::TooFewExamples { .. } => Blame::Data,
            Self::Write { .. } | Self::Store { .. } | Self::StoreFolder { .. } => Blame::Capacity,
            Self::Compose { .. }
            | Self::NoSuchRun { .. }
            | Self::NoSuchRecord { .. }
            | Self::NoSuchLabel { .. }
            | Self::NoSuchFeedback { .. }
            | Self::NoAnswer { .. }
            | Self::RunOfOtherTask { .. }
            | Self::ResumeMismatch { .. }
            | Self::NoLabels { .. } => Blame::Caller,
            Self::Engine { source, .. } => source.blame(),
            Self::ResultCount { .. } => Blame::Bug,
        }
    }
}
