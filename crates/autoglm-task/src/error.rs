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
    /// A task has no labelled record with a number.
    #[error(
        "the task {task:?} has no example {id}\nhint: `autoglm examples list` shows their numbers"
    )]
    NoSuchExample {
        /// The task's name.
        task: String,
        /// The number that was asked for.
        id: i64,
    },
    /// A stored judge or labelled record does not read back.
    #[error("the store holds an unreadable {what}")]
    StoredExample {
        /// What it is.
        what: &'static str,
        /// What happened.
        #[source]
        source: serde_json::Error,
    },
    /// No strategy has this number.
    #[error("there is no strategy {id}\nhint: `autoglm strategy list` shows them")]
    NoSuchStrategy {
        /// The number that was asked for.
        id: i64,
    },
    /// A strategy belongs to another task, or to this one with other labels or fields.
    #[error("strategy {id} was made for the task {task:?} with other labels or fields")]
    StrategyOfOther {
        /// The strategy.
        id: i64,
        /// The task that it was made for.
        task: String,
    },
    /// No strategy of a task was ever promoted.
    #[error("no strategy of the task {task:?} was promoted")]
    NothingPromoted {
        /// The task's name.
        task: String,
    },
    /// A strategy's soft prompt is not what it was.
    #[error("the soft prompt in {folder} changed: its hash was {stored} and is {found}")]
    SoftPromptChanged {
        /// The folder.
        folder: String,
        /// The hash when the strategy was made.
        stored: String,
        /// The hash now.
        found: String,
    },
    /// There are too few labelled records to search with.
    #[error(
        "{found} records of the data can be used, a search needs {wanted}\n\
         hint: with fewer, put them into the task as examples"
    )]
    TooFewRecords {
        /// Usable records.
        found: usize,
        /// Records that are needed.
        wanted: usize,
    },
    /// The budget does not suffice for the least that a search does.
    #[error("the budget of {given} does not suffice, want {wanted}")]
    BudgetTooSmall {
        /// What was given.
        given: String,
        /// What is needed.
        wanted: String,
    },
    /// The cost of a search was asked for in time.
    #[error(
        "what a search costs within {given} cannot be told without asking the model\n\
         hint: give the budget in calls or tokens to estimate it"
    )]
    TimeNotEstimated {
        /// The budget.
        given: String,
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
    /// Feedback on a stored record does not say what is right.
    #[error(
        "it does not say what is right: want `correct` with a label, or `good` or `bad` as true"
    )]
    NoJudgement,
    /// A record of one's own that feedback cannot be made of.
    #[error(
        "the record cannot be used: {reason}\n\
         hint: want a record with its label, or `run` and `record` with `correct`, `good` or `bad`"
    )]
    UnusableFeedback {
        /// Why not, as a sentence's end.
        reason: String,
    },
    /// A reference to a stored record that is no number.
    #[error("{field} is {given}, want a whole number from 0 on")]
    BadReference {
        /// `run` or `record`.
        field: &'static str,
        /// What is there, as JSON.
        given: String,
    },
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
    /// Records cannot be routed to a strategy.
    #[error("records cannot be routed to {strategy}: {why}")]
    NotRouted {
        /// The strategy.
        strategy: String,
        /// What stands against it.
        why: &'static str,
    },
    /// A route has too few ways.
    #[error("a route wants at least 2 strategies, not {given}")]
    TooFewBranches {
        /// Strategies that were given.
        given: usize,
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
            | Self::UnusableFeedback { .. }
            | Self::BadReference { .. }
            | Self::StoredExample { .. }
            | Self::TooFewExamples { .. }
            | Self::SoftPromptChanged { .. }
            | Self::TooFewRecords { .. } => Blame::Data,
            Self::Write { .. } | Self::Store { .. } | Self::StoreFolder { .. } => Blame::Capacity,
            Self::Compose { .. }
            | Self::NoSuchRun { .. }
            | Self::NoSuchRecord { .. }
            | Self::NoSuchExample { .. }
            | Self::NoSuchLabel { .. }
            | Self::NoSuchFeedback { .. }
            | Self::NoAnswer { .. }
            | Self::RunOfOtherTask { .. }
            | Self::ResumeMismatch { .. }
            | Self::NoSuchStrategy { .. }
            | Self::StrategyOfOther { .. }
            | Self::NothingPromoted { .. }
            | Self::BudgetTooSmall { .. }
            | Self::TimeNotEstimated { .. }
            | Self::NotRouted { .. }
            | Self::TooFewBranches { .. }
            | Self::NoLabels { .. } => Blame::Caller,
            Self::Engine { source, .. } => source.blame(),
            Self::ResultCount { .. } => Blame::Bug,
        }
    }
}
