//! A prior for records that come one by one.
//!
//! A run over a file finds its prior on the first 256 records of the file. A record that comes
//! alone cannot wait for 255 others, and those that happen to come with it must not decide about
//! it. A standing prior is found on the records that were answered before, changes only when their
//! number has doubled, and stays as it is from the 256th on.

use std::collections::BTreeSet;

use autoglm_spec::Calibration;

use super::ask::Asker;
use super::{Job, RunReport};
use crate::TaskError;
use crate::judge::{BATCH_RECORDS, Prior};
use crate::row::{Raw, Row};
use crate::store::{RunInfo, RunKey, Store};

/// On how many different records a prior is found. Fewer than the first may well be all of one
/// label; each further one is double the one before, so that few answers fall between two priors.
const COUNTS: [usize; 4] = [32, 64, 128, BATCH_RECORDS];

/// Rows that are read from the store at a time.
const CHUNK_ROWS: usize = 1024;

/// What is divided out of the labels' probabilities of one task, run by one model in one way.
#[derive(Debug, Clone, PartialEq)]
pub struct StandingPrior {
    calibration: Calibration,
    has_examples: bool,
    /// None where runs find it themselves, or need none.
    prior: Option<Prior>,
    /// The scores of different records in the order in which they came; empty once there are
    /// enough.
    scores: Vec<Vec<f32>>,
    /// The hashes of their prompts.
    seen: BTreeSet<String>,
}

impl StandingPrior {
    /// The prior of a job, as far as the runs in the store have come with it: the one of theirs
    /// that was found on most records (of the earliest such run), and else what their records say.
    ///
    /// # Errors
    /// When the task has no prompt or the store cannot be read.
    pub fn open(job: &Job<'_>, store: &dyn Store) -> Result<Self, TaskError> {
        let calibration = job.calibration();
        let mut standing = Self {
            calibration,
            has_examples: !job.spec.examples.is_empty(),
            prior: None,
            scores: Vec::new(),
            seen: BTreeSet::new(),
        };
        if !matches!(calibration, Calibration::Batch | Calibration::Contextual) {
            standing.prior = job.prior();
            return Ok(standing);
        }
        let key = job.key(Asker::new(job)?.task_hash());
        let mut runs = store.runs()?;
        runs.retain(|run| is_like(&run.key, &key));
        // Of several with as many records it is the last here, which is the earliest run's.
        standing.prior = runs
            .iter()
            .filter_map(|run| run.prior.as_ref())
            .filter(|prior| prior.calibration == calibration && standing.is_enough(prior))
            .max_by_key(|prior| prior.records)
            .cloned();
        runs.reverse();
        standing.read(&runs, store)?;
        Ok(standing)
    }

    /// What a run is given; none where it is to find out for itself.
    pub fn prior(&self) -> Option<Prior> {
        match self.calibration {
            Calibration::Batch => Some(self.prior.clone().unwrap_or_else(Prior::none)),
            Calibration::None | Calibration::Contextual | Calibration::Fitted => self.prior.clone(),
        }
    }

    /// Learns from a run that has ended: its rows, and the prior that it found where it was given
    /// none.
    pub fn learn(&mut self, report: &RunReport, rows: &[Row]) {
        if self.calibration == Calibration::Contextual && self.prior.is_none() {
            self.prior.clone_from(&report.prior);
        }
        self.see(rows);
        self.settle();
    }

    fn is_enough(&self, prior: &Prior) -> bool {
        self.calibration != Calibration::Batch || prior.records >= COUNTS[0]
    }

    /// Whether further records can change anything.
    fn is_open(&self) -> bool {
        self.calibration == Calibration::Batch && self.records() < BATCH_RECORDS
    }

    fn records(&self) -> usize {
        self.prior.as_ref().map_or(0, |prior| prior.records)
    }

    fn read(&mut self, runs: &[RunInfo], store: &dyn Store) -> Result<(), TaskError> {
        for run in runs {
            let mut next = 0;
            while self.is_open() && self.scores.len() < BATCH_RECORDS {
                let rows = store.rows(run.id, next, CHUNK_ROWS)?;
                let Some(last) = rows.last() else { break };
                next = last.index + 1;
                self.see(&rows);
            }
        }
        self.settle();
        Ok(())
    }

    fn see(&mut self, rows: &[Row]) {
        for row in rows {
            if !self.is_open() || self.scores.len() >= BATCH_RECORDS {
                return;
            }
            if let (Some(Raw::Scores { logprobs }), Some(hash)) = (&row.raw, &row.prompt_hash)
                && self.seen.insert(hash.clone())
            {
                self.scores.push(logprobs.clone());
            }
        }
    }

    /// Takes the next prior where there are enough records for it.
    fn settle(&mut self) {
        if !self.is_open() {
            return;
        }
        let reached = COUNTS
            .iter()
            .rev()
            .find(|count| **count <= self.scores.len());
        let Some(&reached) = reached.filter(|count| **count > self.records()) else {
            return;
        };
        self.prior = Some(Prior::batch(&self.scores[..reached], self.has_examples));
        if reached == BATCH_RECORDS {
            self.scores = Vec::new();
            self.seen = BTreeSet::new();
        }
    }
}

/// Whether the labels of two runs are scored in the same way.
fn is_like(one: &RunKey, other: &RunKey) -> bool {
    let of = |key: &RunKey| {
        (
            key.task_hash.clone(),
            key.model.clone(),
            key.both_orders,
            key.calibration,
            key.ensemble.clone(),
        )
    };
    of(one) == of(other)
}
