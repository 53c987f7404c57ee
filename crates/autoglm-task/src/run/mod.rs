//! The loop over records: compose, ask the engine, judge, store, write, in the input's order.
//!
//! Rows of a window are committed to the store before they are written, so that a run which ends
//! in any way, `kill -9` included, goes on from the store and ends with the same output.

mod answer;
pub(crate) mod ask;
mod choose;
#[cfg(test)]
mod choose_tests;
mod correct;
#[cfg(test)]
mod correct_tests;
mod job;
mod progress;
mod repair;
mod replay;
mod resume;
mod routed;
#[cfg(test)]
mod routed_tests;
pub(crate) mod sample;
#[cfg(test)]
mod sampled_tests;
mod standing;
#[cfg(test)]
mod standing_tests;
mod survey;
mod taught;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use autoglm_spec::{Calibration, Cancel, Generate, Score, Usage, Verdict};
use serde::Serialize;

use crate::TaskError;
use crate::judge::{BATCH_RECORDS, Judge, Prior};
use crate::records::{NumberedRecord, RecordError, RowSink};
use crate::row::{Raw, Row};
use crate::store::{RunId, RunInfo, RunStatus, Store};
pub(crate) use answer::without_line;
use answer::{Answerer, Numbered, Stop};

pub(crate) use ask::{LOGPROB_FLOOR, cannot_compose};
pub use choose::Choosing;
pub use correct::Correction;
pub(crate) use job::agreement_of;
use job::plan_of;
pub use job::{Job, RunSettings};
pub use progress::{Progress, Step};
pub use replay::{Again, Replay, Shown, replay, show};
pub use resume::Resume;
pub use standing::StandingPrior;
pub(crate) use survey::hexadecimal;
pub use survey::{Survey, survey};
pub use taught::Taught;

/// Rows that are read from the store at a time.
const STORED_CHUNK_ROWS: usize = 1024;

/// An engine that can do everything that tasks ask for.
pub trait Engine: Generate + Score {}

impl<T: Generate + Score + ?Sized> Engine for T {}

/// What the records of an input look like to [`run`].
pub type RecordItems<'a> = dyn Iterator<Item = Result<NumberedRecord, RecordError>> + 'a;

/// What a run tells its surroundings and asks of them.
pub struct Hooks<'a> {
    /// The time.
    pub now: &'a dyn Fn() -> SystemTime,
    /// Raised to end the run early.
    pub cancel: &'a Cancel,
    /// Called behind every window.
    pub progress: &'a dyn Fn(&Progress),
    /// Called before every stage.
    pub step: &'a dyn Fn(Step),
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// The run's number in the store.
    pub run: RunId,
    /// Finished or interrupted.
    pub status: RunStatus,
    /// Rows that were written, those of earlier parts of a resumed run included.
    pub written: u64,
    /// Rows that are stored and not written, because their calibration waits for more records.
    pub waiting: u64,
    /// Rows that the store had already when this part began.
    pub resumed: u64,
    /// Of the written, rows with an error.
    pub errors: u64,
    /// Of the written, rows whose answer is withheld because it is not sure enough.
    pub abstained: u64,
    /// Samples of the written rows that were taken, where answers are sampled.
    pub samples: u64,
    /// Of the written, open answers that reached the token limit.
    pub cut: u64,
    /// What was divided out of labels' probabilities; none where it is not known yet.
    pub prior: Option<Prior>,
    /// What the records of this part cost the engine.
    #[serde(skip)]
    pub usage: Usage,
    /// How long this part took.
    #[serde(skip)]
    pub elapsed: Duration,
}

/// Runs a job to its end, to the raised flag, or to the first error that is not a record's own.
///
/// With batch calibration the first 256 rows (all, where there are fewer) are written when the
/// last of them is scored, for until then the prior is not known.
///
/// # Errors
/// When the task has no prompt, the run cannot be resumed, the input cannot be read on, the store
/// or the output cannot be written, the engine fails for other reasons than the record's, or a
/// record fails in a strict run. What was done until then is stored and written.
pub fn run(
    job: &Job<'_>,
    records: &mut RecordItems<'_>,
    store: &mut dyn Store,
    sink: &mut dyn RowSink,
    hooks: Hooks<'_>,
) -> Result<RunReport, TaskError> {
    let answerer = Answerer::new(job)?;
    let key = job.key(answerer.task_hash());
    let info = resume::open(job, &key, store, (hooks.now)())?;
    (hooks.step)(Step::Begun(info.id));
    sink.start().map_err(|source| TaskError::Write { source })?;
    let mut runner = Runner::new(job, answerer, &info, Parts { store, sink, hooks });
    let ended = runner.work(&info, records);
    runner.close(ended)
}

/// What a run works with.
struct Parts<'a> {
    store: &'a mut dyn Store,
    sink: &'a mut dyn RowSink,
    hooks: Hooks<'a>,
}

struct Runner<'a> {
    job: &'a Job<'a>,
    answerer: Answerer<'a>,
    parts: Parts<'a>,
    run: RunId,
    /// Known from the start, or once the prior is.
    judge: Option<Judge>,
    /// Rows that are stored, but not judged before the prior is known.
    waiting: Vec<Row>,
    next_index: u64,
    report: RunReport,
    started: SystemTime,
}

impl<'a> Runner<'a> {
    fn new(job: &'a Job<'a>, answerer: Answerer<'a>, info: &RunInfo, parts: Parts<'a>) -> Self {
        let started = (parts.hooks.now)();
        Self {
            job,
            answerer,
            parts,
            run: info.id,
            judge: None,
            waiting: Vec::new(),
            next_index: 0,
            report: RunReport {
                run: info.id,
                status: RunStatus::Unfinished,
                written: 0,
                waiting: 0,
                resumed: 0,
                errors: 0,
                abstained: 0,
                samples: 0,
                cut: 0,
                prior: None,
                usage: Usage::default(),
                elapsed: Duration::ZERO,
            },
            started,
        }
    }

    fn work(&mut self, info: &RunInfo, records: &mut RecordItems<'_>) -> Result<(), Stop> {
        self.find_judge(info.prior.clone())?;
        self.take_stored(info, records)?;
        loop {
            if self.judge.is_none() && self.waiting.len() >= BATCH_RECORDS {
                self.settle()?;
            }
            let (window, stop) = self.read_window(records);
            let ended = window.is_empty();
            self.answer_window(window)?;
            if let Some(error) = stop {
                return Err(Stop::Failed(error));
            }
            if ended {
                break;
            }
        }
        if self.judge.is_none() {
            self.settle()?;
        }
        Ok(())
    }

    /// Finds the judge, unless its prior waits for records.
    fn find_judge(&mut self, stored: Option<Prior>) -> Result<(), Stop> {
        let known = stored.or_else(|| self.job.prior());
        let prior = match (known, self.job.calibration()) {
            (Some(prior), _) => prior,
            (None, Calibration::Batch) => return Ok(()),
            (None, Calibration::None | Calibration::Fitted) => Prior::none(),
            (None, Calibration::Contextual) => {
                Prior::contextual(&self.answerer.content_free(self.parts.hooks.cancel)?)
            }
        };
        self.freeze(prior)
    }

    fn freeze(&mut self, prior: Prior) -> Result<(), Stop> {
        self.parts.store.put_prior(self.run, &prior)?;
        self.report.prior = Some(prior.clone());
        self.judge = Some(self.job.judge(prior));
        Ok(())
    }

    /// Hands on the rows that an earlier part of the run has stored, and passes over their
    /// records in the input.
    fn take_stored(&mut self, info: &RunInfo, records: &mut RecordItems<'_>) -> Result<(), Stop> {
        loop {
            let rows = self
                .parts
                .store
                .rows(self.run, self.next_index, STORED_CHUNK_ROWS)?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in &rows {
                let item = records.next();
                if !item.is_some_and(|item| resume::is_same(row, &item)) {
                    return Err(Stop::Failed(TaskError::InputChanged {
                        run: info.id.0,
                        index: row.index,
                    }));
                }
            }
            self.next_index += rows.len() as u64;
            self.report.resumed += rows.len() as u64;
            self.take_rows(rows)?;
        }
    }

    /// Takes rows that an earlier part of the run has stored.
    fn take_rows(&mut self, rows: Vec<Row>) -> Result<(), Stop> {
        if self.judge.is_none() {
            self.waiting.extend(rows);
            return Ok(());
        }
        let is_done = |row: &Row| row.is_final() && !self.awaits_correction(row);
        if rows.iter().all(is_done) {
            return self.write(&rows);
        }
        self.judge_and_write(rows)
    }

    /// Whether a row was judged, and feedback has not taken part though it shall.
    fn awaits_correction(&self, row: &Row) -> bool {
        let verdict = row.verdict.as_ref();
        self.job.correction.is_some() && verdict.is_some_and(|verdict| verdict.learnt.is_none())
    }

    /// Judges rows, stores them, and then writes them.
    fn judge_and_write(&mut self, rows: Vec<Row>) -> Result<(), Stop> {
        let step = self.parts.hooks.step;
        step(Step::Judge);
        let (mut rows, failed) = self.judged(rows);
        if let Some(correction) = &self.job.correction {
            step(Step::Correct);
            let corrected = correction.apply(&mut rows, self.parts.hooks.cancel);
            if let Err(stop) = corrected {
                // What was answered is kept, and corrected when the run goes on.
                self.parts.store.put_rows(self.run, &rows)?;
                return Err(stop);
            }
        }
        for row in &mut rows {
            row.abstained = row.verdict.as_ref().and_then(|v| self.doubt(v));
        }
        step(Step::Record);
        self.parts.store.put_rows(self.run, &rows)?;
        self.write(&rows)?;
        failed.map_or(Ok(()), |error| Err(Stop::Failed(error)))
    }

    /// Reads the next window; an error with it ends the run once the window is done.
    fn read_window(&mut self, records: &mut RecordItems<'_>) -> (Vec<Numbered>, Option<TaskError>) {
        let mut window = Vec::new();
        while window.len() < self.window_room() {
            let index = self.next_index;
            if self.job.settings.limit.is_some_and(|limit| index >= limit) {
                break;
            }
            match records.next() {
                None => break,
                Some(Err(source)) if source.is_fatal() => {
                    return (window, Some(TaskError::Input { source }));
                }
                Some(Err(source)) if self.job.settings.strict => {
                    return (window, Some(TaskError::Malformed { source }));
                }
                Some(item) => window.push(Numbered { index, item }),
            }
            self.next_index += 1;
        }
        (window, None)
    }

    /// How many records the next window may have: none beyond those that the prior needs while
    /// it is unknown, so that it does not depend on where an earlier part of the run stopped.
    fn window_room(&self) -> usize {
        let window = self.job.window_records();
        match self.judge {
            Some(_) => window,
            None => window.min(BATCH_RECORDS - self.waiting.len()),
        }
    }

    fn answer_window(&mut self, window: Vec<Numbered>) -> Result<(), Stop> {
        if window.is_empty() {
            return Ok(());
        }
        let (rows, stop) = self.answerer.answer(window, &self.parts.hooks);
        for row in &rows {
            self.report.usage += row.usage;
        }
        if self.judge.is_some() {
            self.judge_and_write(rows)?;
        } else {
            self.parts.store.put_rows(self.run, &rows)?;
            self.waiting.extend(rows);
        }
        self.tell_progress();
        stop.map_or(Ok(()), Err)
    }

    /// Estimates the prior on the rows that wait for it, judges and writes them.
    fn settle(&mut self) -> Result<(), Stop> {
        let scores: Vec<Vec<f32>> = self.waiting.iter().filter_map(scores_of).collect();
        let has_examples = !self.job.spec.examples.is_empty() || self.job.choosing.is_some();
        self.freeze(Prior::batch(&scores, has_examples))?;
        let rows = std::mem::take(&mut self.waiting);
        self.judge_and_write(rows)
    }

    /// Rows with their verdicts; in a strict run, those before the first that has none.
    fn judged(&self, mut rows: Vec<Row>) -> (Vec<Row>, Option<TaskError>) {
        let Some(judge) = &self.judge else {
            return (rows, None);
        };
        for place in 0..rows.len() {
            let row = &mut rows[place];
            if let (false, Some(raw)) = (row.is_final(), &row.raw) {
                match judge.verdict(raw) {
                    Ok(verdict) => row.verdict = Some(verdict),
                    Err(message) => row.error = Some(message),
                }
            }
            if let (true, Some(message)) = (self.job.settings.strict, &row.error) {
                let error = TaskError::Unanswered {
                    line: row.line,
                    message: message.clone(),
                };
                rows.truncate(place);
                return (rows, Some(error));
            }
        }
        (rows, None)
    }

    /// Why an answer is withheld.
    fn doubt(&self, verdict: &Verdict) -> Option<String> {
        let least = self.job.settings.min_confidence?;
        let confidence = verdict.confidence;
        let doubted = confidence < least;
        doubted.then(|| format!("the confidence {confidence:.4} is below {least}"))
    }

    fn write(&mut self, rows: &[Row]) -> Result<(), Stop> {
        self.report.written += rows.len() as u64;
        self.report.errors += count(rows, |row| row.error.is_some());
        self.report.cut += count(rows, is_cut);
        self.report.abstained += count(rows, |row| row.abstained.is_some());
        self.report.samples += rows.iter().map(samples_of).sum::<u64>();
        let written = self.parts.sink.write_rows(rows);
        written.map_err(|source| Stop::Failed(TaskError::Write { source }))
    }

    fn tell_progress(&mut self) {
        let progress = Progress {
            done: self.next_index,
            resumed: self.report.resumed,
            total: self.total(),
            errors: self.report.errors,
            elapsed: self.elapsed(),
        };
        (self.parts.hooks.progress)(&progress);
    }

    fn total(&self) -> Option<u64> {
        let known = self.job.survey.as_ref().map(|survey| survey.records);
        match (known, self.job.settings.limit) {
            (Some(total), Some(limit)) => Some(total.min(limit)),
            (total, _) => total,
        }
    }

    fn elapsed(&self) -> Duration {
        let since = (self.parts.hooks.now)().duration_since(self.started);
        since.unwrap_or_default()
    }

    /// Notes in store and output how the work ended.
    fn close(mut self, ended: Result<(), Stop>) -> Result<RunReport, TaskError> {
        let status = match &ended {
            Ok(()) => RunStatus::Finished,
            Err(Stop::Cancelled) => RunStatus::Interrupted,
            Err(Stop::Failed(_)) => RunStatus::Failed,
        };
        let finished = match status {
            RunStatus::Finished => self.parts.sink.finish(),
            // What is held back comes when the run goes on; whole rows have been written.
            RunStatus::Unfinished | RunStatus::Interrupted | RunStatus::Failed => Ok(()),
        };
        let now = (self.parts.hooks.now)();
        let noted = self.parts.store.put_status(self.run, status, now);
        if let Err(Stop::Failed(error)) = ended {
            // The first error is the one to tell; closing after it is done as far as it goes.
            return Err(error);
        }
        finished.map_err(|source| TaskError::Write { source })?;
        noted?;
        self.report.status = status;
        self.report.waiting = self.waiting.len() as u64;
        self.report.elapsed = self.elapsed();
        Ok(self.report)
    }
}

fn count(rows: &[Row], is_one: impl Fn(&Row) -> bool) -> u64 {
    rows.iter().filter(|row| is_one(row)).count() as u64
}

fn scores_of(row: &Row) -> Option<Vec<f32>> {
    match &row.raw {
        Some(Raw::Scores { logprobs }) => Some(logprobs.clone()),
        Some(Raw::Text { .. }) | None => None,
    }
}

/// Samples that voted on a row.
fn samples_of(row: &Row) -> u64 {
    let vote = row
        .verdict
        .as_ref()
        .and_then(|verdict| verdict.vote.as_ref());
    vote.map_or(0, |vote| vote.samples as u64)
}

fn is_cut(row: &Row) -> bool {
    matches!(
        row.raw,
        Some(Raw::Text {
            finish: autoglm_spec::FinishReason::Length,
            ..
        })
    )
}
