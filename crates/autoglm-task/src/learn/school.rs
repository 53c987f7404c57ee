//! Tells a learner all rows of feedback in order, and watches what it would have answered before
//! each of them.

use super::corrector::blended;
use super::drift::Adwin;
use super::learner::{Learner, Lesson};
use super::reader::Told;
use super::report::{Drift, Stretch, SuspiciousBatch};
use super::suspicion::Tally;

/// How far answers may follow the learner. Which of these did best is decided by the logarithmic
/// loss on the rows, each seen before it was told, so that a learner that knows less than the
/// model has no say.
const SHARES: [f32; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// Loss of a row on average that is no more than rounding.
const ROUNDING: f64 = 1e-4;

/// Rows that the model's word is worth before any feedback: five rows give the learner a fifth of
/// what did best on them, 200 give it nine tenths. Among 0, 10, 20, 30, 50 and 100, with rows of
/// Banking77, tnews, TREC and SST-2 and opinions made up as right as models are, 20 takes less than
/// 0.01 from what 50 rows teach.
const PRIOR_ROWS: f32 = 20.0;

/// Rows of the curve that are counted together.
const STRETCH_ROWS: u64 = 10;

/// How likely a false alarm of the drift detector may be, as its authors have it.
const DRIFT_DELTA: f64 = 0.002;

/// A learner on its way through the feedback.
///
/// Rows of which the model's opinion is not known are learnt and no more: nothing can be told of
/// how the learner does beside the model there.
pub(super) struct School {
    pub(super) learner: Learner,
    /// Logarithmic loss of each share so far, over as many rows.
    losses: [f64; SHARES.len()],
    rows: u64,
    /// Of these, rows on which the model is right.
    right_before: u64,
    pub(super) curve: Vec<Stretch>,
    history: Tally,
    pub(super) suspicious: Vec<SuspiciousBatch>,
    window: Adwin,
    pub(super) drift: Vec<Drift>,
}

impl School {
    pub(super) fn new(learner: Learner) -> Self {
        Self {
            learner,
            losses: [0.0; SHARES.len()],
            rows: 0,
            right_before: 0,
            curve: Vec::new(),
            history: Tally::default(),
            suspicious: Vec::new(),
            window: Adwin::new(DRIFT_DELTA),
            drift: Vec::new(),
        }
    }

    /// Tells rows.
    pub(super) fn teach(&mut self, rows: &[Told]) {
        for batch in rows.chunk_by(|one, next| one.batch == next.batch) {
            self.suspect(batch);
            for row in batch {
                self.tell(row);
            }
        }
    }

    /// How far answers follow the learner: the share with the least loss (the smallest of those that
    /// are equal but for rounding), times `n / (n + n₀ + h)`. This is its mean over the `n` rows told and the rows that
    /// speak for the model alone: `n₀` of the prior, and `h` that it has right and nobody told.
    pub(super) fn share(&self) -> f32 {
        let pairs = self.losses.iter().zip(SHARES);
        let rows = self.rows as f32;
        let better = |best: (f64, f32), (&loss, share): (&f64, f32)| {
            if loss < best.0 - ROUNDING * f64::from(rows) {
                (loss, share)
            } else {
                best
            }
        };
        let (_, best) = pairs.fold((f64::INFINITY, 0.0), better);
        best * rows / (rows + PRIOR_ROWS + self.untold())
    }

    /// Rows that the model must have right besides those told, if it is no worse than chance,
    /// `1/k` of all. Users tell mistakes rather than what is right, and nothing else would keep a
    /// learner from answering the contrary of whatever the model says.
    fn untold(&self) -> f32 {
        let wrong = (self.rows - self.right_before) as f32;
        let others = self.learner.labels() as f32 - 1.0;
        (wrong / others - self.right_before as f32).max(0.0)
    }

    /// Compares a batch with what is expected before any of it is told, for a wrong batch teaches
    /// what would excuse it.
    fn suspect(&mut self, batch: &[Told]) {
        let share = self.share();
        let mut tally = Tally::default();
        for row in batch {
            if let Some(opinion) = &row.opinion {
                let answer = blended(opinion, &self.learner.predict(&row.seen()), share);
                tally.rows += 1;
                tally.disagreed += u64::from(!row.lesson.allows(top(&answer)));
            }
        }
        let Some(chance) = tally.suspicion(self.history) else {
            self.history.add(tally);
            return;
        };
        // A suspicious batch does not change what is usual.
        self.suspicious.push(SuspiciousBatch {
            batch: batch[0].batch,
            rows: tally.rows,
            disagreed: tally.disagreed,
            usual: self.history.rate(),
            chance,
        });
    }

    fn tell(&mut self, row: &Told) {
        let learnt = self.learner.fit_partial(&row.seen(), row.lesson);
        if let Some(opinion) = &row.opinion {
            let is_right = |answer: &[f32]| row.lesson.allows(top(answer));
            let right = is_right(&blended(opinion, &learnt, self.share()));
            if matches!(row.lesson, Lesson::Is(_)) {
                self.count(Stretch {
                    rows: 1,
                    right: u64::from(right),
                    right_before: u64::from(is_right(opinion)),
                });
            }
            self.watch(row.id, right);
            self.weigh(opinion, &learnt, row.lesson);
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

    fn watch(&mut self, id: i64, right: bool) {
        if let Some(change) = self.window.push(f64::from(u8::from(right)))
            && change.after < change.before
        {
            self.drift.push(Drift {
                id,
                before: change.before,
                after: change.after,
                since: change.since,
            });
        }
    }

    fn weigh(&mut self, opinion: &[f32], learnt: &[f32], lesson: Lesson) {
        self.rows += 1;
        self.right_before += u64::from(lesson.allows(top(opinion)));
        for (loss, share) in self.losses.iter_mut().zip(SHARES) {
            *loss += surprise(&blended(opinion, learnt, share), lesson);
        }
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
