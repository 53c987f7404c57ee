//! Tells a learner all rows of feedback in order, and watches what it would have answered before
//! each of them.

use autoglm_spec::FeedbackVersion;

use super::corrector::{Told, blended};
use super::drift::Adwin;
use super::learner::{Learner, Lesson, Observation};
use super::report::{Drift, FeedbackReport, PinnedWrong, Stretch, SuspiciousBatch};
use super::suspicion::Tally;

/// How far answers may follow the learner. Which of these is taken is decided by the logarithmic
/// loss on the rows, each seen before it was told, so that a learner that knows less than the
/// model has no say.
const SHARES: [f32; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// Rows of the curve that are counted together.
const STRETCH_ROWS: u64 = 10;

/// How likely a false alarm of the drift detector may be, as its authors have it.
const DRIFT_DELTA: f64 = 0.002;

/// How often pinned records are told again at most, where they are not right.
const REHEARSALS: usize = 50;

/// Below this share the learner is not worth keeping for pinned records' sake.
const LEAST_SHARE: f32 = 1.0 / 32.0;

/// A learner on its way through the feedback.
pub(super) struct School<'a> {
    labels: &'a [String],
    learner: Learner,
    /// Logarithmic loss of each share so far.
    losses: [f64; SHARES.len()],
    curve: Vec<Stretch>,
    history: Tally,
    suspicious: Vec<SuspiciousBatch>,
    window: Adwin,
    drift: Vec<Drift>,
}

impl<'a> School<'a> {
    pub(super) fn new(learner: Learner, labels: &'a [String]) -> Self {
        Self {
            labels,
            learner,
            losses: [0.0; SHARES.len()],
            curve: Vec::new(),
            history: Tally::default(),
            suspicious: Vec::new(),
            window: Adwin::new(DRIFT_DELTA),
            drift: Vec::new(),
        }
    }

    /// Tells all rows, and returns the learner with what was seen on the way.
    pub(super) fn teach(
        mut self,
        rows: &[Told],
        version: FeedbackVersion,
        withdrawn: u64,
    ) -> (Learner, FeedbackReport) {
        for batch in rows.chunk_by(|one, next| one.batch == next.batch) {
            self.suspect(batch);
            for row in batch {
                self.tell(row);
            }
        }
        let pinned: Vec<&Told> = rows.iter().filter(|row| row.pinned).collect();
        self.rehearse(&pinned);
        let share = self.safe_share(&pinned);
        let report = FeedbackReport {
            version,
            withdrawn,
            share,
            weights: self.learner.weights(),
            pinned: pinned.len() as u64,
            pinned_wrong: self.wrong(&pinned, share),
            curve: self.curve,
            suspicious: self.suspicious,
            drift: self.drift,
        };
        (self.learner, report)
    }

    /// Compares a batch with what is expected before any of it is told, for a wrong batch teaches
    /// what would excuse it.
    fn suspect(&mut self, batch: &[Told]) {
        let share = self.share();
        let disagrees = |row: &&Told| !agrees(row.lesson, top(&self.answer(row, share)));
        let tally = Tally {
            rows: batch.len() as u64,
            disagreed: batch.iter().filter(disagrees).count() as u64,
        };
        let Some(chance) = tally.suspicion(self.history) else {
            self.history.add(tally);
            return;
        };
        // A suspicious batch does not change what is usual.
        self.suspicious.push(SuspiciousBatch {
            batch: batch[0].batch,
            rows: tally.rows,
            disagreed: tally.disagreed,
            usual: self.history.disagreed as f64 / self.history.rows as f64,
            chance,
        });
    }

    fn tell(&mut self, row: &Told) {
        let share = self.share();
        let learnt = fit(&mut self.learner, row);
        let blend = blended(&row.opinion, &learnt, share);
        for (loss, share) in self.losses.iter_mut().zip(SHARES) {
            *loss += surprise(&blended(&row.opinion, &learnt, share), row.lesson);
        }
        let right = agrees(row.lesson, top(&blend));
        if matches!(row.lesson, Lesson::Is(_)) {
            let before = row.is_opinion_known && agrees(row.lesson, top(&row.opinion));
            self.count(Stretch {
                rows: 1,
                right: u64::from(right),
                right_before: u64::from(before),
            });
        }
        if let Some(change) = self.window.push(f64::from(u8::from(right)))
            && change.after < change.before
        {
            self.drift.push(Drift {
                id: row.id,
                before: change.before,
                after: change.after,
                since: change.since,
            });
        }
    }

    fn count(&mut self, row: Stretch) {
        match self.curve.last_mut() {
            Some(last) if last.rows < STRETCH_ROWS => {
                last.rows += row.rows;
                last.right += row.right;
                last.right_before += row.right_before;
            }
            _ => self.curve.push(row),
        }
    }

    /// The share with the least loss so far; the smallest of equal ones.
    fn share(&self) -> f32 {
        let pairs = self.losses.iter().zip(SHARES);
        let best = pairs.min_by(|a, b| a.0.total_cmp(b.0));
        best.map_or(0.0, |(_, share)| share)
    }

    fn answer(&self, row: &Told, share: f32) -> Vec<f32> {
        let opinions = [row.opinion.as_slice()];
        let learnt = self.learner.predict(&seen(row, &opinions));
        blended(&row.opinion, &learnt, share)
    }

    fn is_right(&self, row: &Told, share: f32) -> bool {
        agrees(row.lesson, top(&self.answer(row, share)))
    }

    /// Tells pinned records again that would be answered wrong.
    fn rehearse(&mut self, pinned: &[&Told]) {
        let share = self.share();
        for _ in 0..REHEARSALS {
            let wrong = pinned.iter().filter(|row| !self.is_right(row, share));
            let wrong: Vec<&&Told> = wrong.collect();
            if wrong.is_empty() {
                return;
            }
            for row in wrong {
                fit(&mut self.learner, row);
            }
        }
    }

    /// The share, halved until no pinned record is wrong that the model alone would have right.
    fn safe_share(&self, pinned: &[&Told]) -> f32 {
        let mut share = self.share();
        let spoilt = |share: f32| {
            pinned.iter().any(|row| {
                row.is_opinion_known && self.is_right(row, 0.0) && !self.is_right(row, share)
            })
        };
        while share > 0.0 && spoilt(share) {
            share /= 2.0;
            if share < LEAST_SHARE {
                share = 0.0;
            }
        }
        share
    }

    fn wrong(&self, pinned: &[&Told], share: f32) -> Vec<PinnedWrong> {
        let name = |label: usize| self.labels[label].clone();
        let wrong = pinned.iter().filter(|row| !self.is_right(row, share));
        wrong
            .map(|row| PinnedWrong {
                id: row.id,
                wanted: match row.lesson {
                    Lesson::Is(label) => name(label),
                    Lesson::IsNot(label) => format!("other than {}", name(label)),
                },
                answered: name(top(&self.answer(row, share))),
            })
            .collect()
    }
}

fn fit(learner: &mut Learner, row: &Told) -> Vec<f32> {
    let opinions = [row.opinion.as_slice()];
    learner.fit_partial(&seen(row, &opinions), row.lesson)
}

fn seen<'a>(row: &'a Told, opinions: &'a [&'a [f32]]) -> Observation<'a> {
    Observation {
        buckets: &row.buckets,
        dense: &row.dense,
        opinions,
    }
}

fn agrees(lesson: Lesson, answer: usize) -> bool {
    match lesson {
        Lesson::Is(label) => answer == label,
        Lesson::IsNot(label) => answer != label,
    }
}

/// The negative logarithm of the probability of what the lesson says.
fn surprise(probabilities: &[f32], lesson: Lesson) -> f64 {
    let p = match lesson {
        Lesson::Is(label) => probabilities[label],
        Lesson::IsNot(label) => 1.0 - probabilities[label],
    };
    -f64::from(p.max(f32::EPSILON)).ln()
}

/// The first of the most probable labels.
fn top(probabilities: &[f32]) -> usize {
    let labels = probabilities.iter().enumerate().rev();
    labels
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(0, |(label, _)| label)
}
