//! What the server asks of tasks. The binary puts the task loop behind it; tests a scripted one.

use std::sync::Arc;
use std::time::Duration;

use autoglm_spec::{Cancel, Example, Record, TaskSpec};
use autoglm_task::Row;
use autoglm_task::library::{Added, Entry};
use autoglm_task::report::{RunList, RunPage, TaskReport};
use autoglm_task::run::RunReport;
use autoglm_task::store::Judgement;
use autoglm_task::strategy::StrategyVersion;

use crate::ServerError;

/// Where tasks are worked on. Calls block; each has a thread of its own. Names of tasks are those
/// of [`TaskDesk::tasks`].
pub trait TaskDesk: Send + Sync {
    /// The tasks in the order in which they were given, each with a name of its own.
    fn tasks(&self) -> Vec<Arc<TaskSpec>>;

    /// What can change about a task.
    ///
    /// # Errors
    /// A store that cannot be read.
    fn state(&self, task: &str) -> Result<TaskState, ServerError>;

    /// Answers records. Tells first that the run has begun, and then each answer in the order of
    /// the records. An answer depends on its record and on what is told of the run, never on the
    /// other records.
    ///
    /// # Errors
    /// A strategy that is not there, a model that cannot be used or stops answering, a store that
    /// fails. A record that cannot be answered is told in its answer.
    fn run(
        &self,
        order: &RunOrder,
        cancel: &Cancel,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<RunReport, ServerError>;

    /// Takes feedback on answers, all of it or none.
    ///
    /// # Errors
    /// A run, record or label that is not there, which is named by its place in the list; a store
    /// that fails.
    fn give_feedback(&self, task: &str, said: &[Said]) -> Result<FeedbackTaken, ServerError>;

    /// The labelled records in the order in which they came.
    ///
    /// # Errors
    /// A store that cannot be read.
    fn examples(&self, task: &str) -> Result<Vec<Entry>, ServerError>;

    /// Adds labelled records, all or none. They have the task's fields.
    ///
    /// # Errors
    /// An answer that the task does not know, which is named by its place in the list; a store that
    /// fails.
    fn add_examples(&self, task: &str, examples: &[Example]) -> Result<Added, ServerError>;

    /// Removes a labelled record.
    ///
    /// # Errors
    /// A number that none has, a store that fails.
    fn remove_example(&self, task: &str, id: i64) -> Result<(), ServerError>;

    /// The strategies that suit the task's labels and fields, the latest first.
    ///
    /// # Errors
    /// A store that cannot be read.
    fn strategies(&self, task: &str) -> Result<Vec<StrategyVersion>, ServerError>;

    /// One strategy of the task.
    ///
    /// # Errors
    /// A number that none of them has, a store that cannot be read.
    fn strategy(&self, task: &str, id: i64) -> Result<StrategyVersion, ServerError>;

    /// Makes a strategy live. Runs that have begun end with the one that they began with.
    ///
    /// # Errors
    /// As for [`TaskDesk::strategy`], and one that cannot be run, which then is not live.
    fn promote(&self, task: &str, id: i64) -> Result<StrategyVersion, ServerError>;

    /// Takes the last promotion back; gives what is live then, none for the task as it is written.
    ///
    /// # Errors
    /// A task without a promotion, a store that fails.
    fn roll_back(&self, task: &str) -> Result<Option<i64>, ServerError>;

    /// At most so many of the task's runs, the latest first.
    ///
    /// # Errors
    /// A store that cannot be read.
    fn runs(&self, task: &str, count: usize) -> Result<RunList, ServerError>;

    /// One of the task's runs, with at most so many of its records from one on.
    ///
    /// # Errors
    /// A run that is not there, a store that cannot be read.
    fn open_run(
        &self,
        task: &str,
        run: i64,
        first: u64,
        count: usize,
    ) -> Result<RunPage, ServerError>;

    /// How the task is doing, with the records of a run, or of its latest.
    ///
    /// # Errors
    /// A run that is not there, a store that cannot be read.
    fn report(&self, task: &str, run: Option<i64>) -> Result<TaskReport, ServerError>;
}

/// What can change about a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskState {
    /// The strategy that runs; none where the task runs as it is written.
    pub live_strategy: Option<i64>,
    /// Labelled records that teach it.
    pub examples: usize,
    /// Rows of feedback that are not withdrawn.
    pub feedback: usize,
}

/// Which strategy a run follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrategyChoice {
    /// The task as it is written.
    None,
    /// The one with this number.
    Number(i64),
}

/// Records that shall be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOrder {
    /// The task's name.
    pub task: String,
    /// The records; each has the task's fields.
    pub records: Vec<Record>,
    /// Answers that are less sure are withheld; as the task says where nothing is given.
    pub min_confidence: Option<f32>,
    /// The strategy; the live one where nothing is given.
    pub strategy: Option<StrategyChoice>,
    /// Whether answers come with their prompts.
    pub explain: bool,
}

/// What becomes known of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// It has begun.
    Begun(RunHead),
    /// A record is done.
    Answer(Box<TaskAnswer>),
}

/// What all answers of a run have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunHead {
    /// The run's number, by which feedback refers to it.
    pub run: i64,
    /// The model that answers.
    pub model: String,
    /// The strategy; none for the task as it is written.
    pub strategy: Option<i64>,
    /// On how many earlier records the bias was measured that is taken off labels' probabilities;
    /// 0 where none is.
    pub calibration_records: usize,
    /// By how many labelled records the judge was taught, where there is one.
    pub taught_by: Option<usize>,
    /// The examples in the prompt; in the first of them where a taught judge asks several.
    pub examples: Vec<Example>,
}

/// A record that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskAnswer {
    /// All that became of it; its index is the record's place in the order.
    pub row: Row,
    /// How long its stages took.
    pub stages: StageTimes,
    /// The prompt, where it was asked for and the record has one.
    pub prompt: Option<String>,
}

/// How long the stages of a record took. Records that are worked on together share them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Until the prompts were there.
    pub compose: Duration,
    /// Until the model had answered.
    pub model: Duration,
    /// Until the answers were judged.
    pub judge: Duration,
    /// Until what feedback has taught had been applied.
    pub correct: Duration,
    /// Until the rows were stored.
    pub record: Duration,
}

/// What a user says of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The run.
    pub run: i64,
    /// The record's place in it.
    pub record: u64,
    /// What is said.
    pub judgement: Judgement,
    /// Why.
    pub note: Option<String>,
}

/// Feedback that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbackTaken {
    /// The number of what was given together.
    pub batch: i64,
    /// Rows of it.
    pub rows: usize,
    /// Rows that the task has now and that are not withdrawn.
    pub total: usize,
}
