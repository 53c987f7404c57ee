//! A task that is ready to be run in one way.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use autoglm_server::{Means, RunEvent, RunHead, RunOrder, conduct};
use autoglm_spec::{Cancel, Generate};
use autoglm_task::TaskError;
use autoglm_task::records::RecordError;
use autoglm_task::run::{Job, RunReport, RunSettings, StandingPrior};
use autoglm_task::store::{SqliteStore, TaskStamp};

use crate::commands::workbench::Workbench;
use crate::streams::now;

/// Where records come from that a request brings.
const SOURCE: &str = "api";
/// Where their answers go.
const OUTPUT: &str = "-";

/// What answers the records of a task, with the bias that is taken off its labels.
pub(super) struct Ready {
    bench: Workbench,
    prior: Mutex<StandingPrior>,
    /// What the task had been taught when this was made.
    pub(super) stamp: TaskStamp,
}

impl Ready {
    /// # Errors
    /// A task without a prompt, or a store that cannot be read.
    pub(super) fn new(
        bench: Workbench,
        stamp: TaskStamp,
        store: &SqliteStore,
    ) -> Result<Self, TaskError> {
        let job = bench.job(SOURCE.to_owned(), OUTPUT.to_owned());
        let prior = StandingPrior::open(&job, store)?;
        drop(job);
        Ok(Self {
            bench,
            prior: Mutex::new(prior),
            stamp,
        })
    }

    /// Runs an order.
    ///
    /// # Errors
    /// As [`conduct`].
    pub(super) fn run(
        &self,
        order: &RunOrder,
        store: &mut SqliteStore,
        cancel: &Cancel,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<RunReport, TaskError> {
        let prior = self.prior().prior();
        let head = self.head(prior.as_ref().map_or(0, |prior| prior.records));
        let bench = &self.bench;
        let job = Job {
            settings: RunSettings {
                prior,
                min_confidence: order.min_confidence.or(bench.settings.min_confidence),
                ..bench.settings.clone()
            },
            ..bench.job(SOURCE.to_owned(), OUTPUT.to_owned())
        };
        let mut rows = Vec::new();
        let mut tell = |event: RunEvent| {
            if let RunEvent::Answer(answer) = &event {
                rows.push(answer.row.clone());
            }
            on_event(event);
        };
        let mut means = Means {
            store,
            now: &now,
            cancel,
        };
        let report = match &bench.passages {
            Some(passages) => {
                let mut order = order.clone();
                for (line, record) in (1..).zip(&mut order.records) {
                    match passages.add(record, cancel) {
                        // What goes on with the records sees that the work is stopped.
                        Err(_) if cancel.is_cancelled() => break,
                        added => added.map_err(|error| TaskError::Input {
                            source: RecordError::Io {
                                line,
                                source: io::Error::other(error),
                            },
                        })?,
                    }
                }
                conduct(&job, &order, &head, &mut means, &mut tell)?
            }
            None => conduct(&job, order, &head, &mut means, &mut tell)?,
        };
        self.prior().learn(&report, &rows);
        Ok(report)
    }

    fn prior(&self) -> MutexGuard<'_, StandingPrior> {
        // Nothing that is done under the lock leaves a prior half made.
        self.prior.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a run before it has a number.
    fn head(&self, calibration_records: usize) -> RunHead {
        let bench = &self.bench;
        let ensemble = bench.ensemble.as_ref();
        let first = ensemble.and_then(|ensemble| ensemble.sets().first());
        RunHead {
            run: 0,
            model: bench.engine.facts().name.clone(),
            strategy: bench.version.as_ref().map(|version| version.id.0),
            calibration_records,
            taught_by: ensemble.map(|ensemble| ensemble.report().rows),
            examples: first.unwrap_or(&bench.spec.examples).clone(),
        }
    }
}
