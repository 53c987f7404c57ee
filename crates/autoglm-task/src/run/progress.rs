//! How far a run has come.

use std::time::Duration;

use crate::store::RunId;

/// What a run does next, told to whoever measures how long its stages take. A window of records
/// goes through all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The run has its number in the store.
    Begun(RunId),
    /// Prompts are composed.
    Compose,
    /// The engine is asked.
    Ask,
    /// Answers are judged.
    Judge,
    /// What feedback has taught corrects the verdicts.
    Correct,
    /// Rows are stored, and then handed on.
    Record,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Records that are done, those of earlier parts of a resumed run included.
    pub done: u64,
    /// Of these, records that the store had already.
    pub resumed: u64,
    /// All records, where their number is known.
    pub total: Option<u64>,
    /// Of those done, records with an error.
    pub errors: u64,
    /// Time since this part of the run began.
    pub elapsed: Duration,
}

impl Progress {
    /// Records per second of this part of the run; 0 before the first.
    pub fn records_per_second(&self) -> f64 {
        let computed = self.done.saturating_sub(self.resumed);
        if self.elapsed.is_zero() {
            return 0.0;
        }
        computed as f64 / self.elapsed.as_secs_f64()
    }

    /// Time left at the rate so far, where total and rate are known.
    pub fn time_left(&self) -> Option<Duration> {
        let rate = self.records_per_second();
        let left = self.total?.saturating_sub(self.done);
        (rate > 0.0).then(|| Duration::from_secs_f64(left as f64 / rate))
    }
}
