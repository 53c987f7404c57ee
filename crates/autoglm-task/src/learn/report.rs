//! What feedback came to, for people and machines.

use std::fmt;

use autoglm_spec::FeedbackVersion;
use serde::Serialize;

/// What the feedback of a task came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeedbackReport {
    /// The state of the feedback.
    pub version: FeedbackVersion,
    /// Rows that are withdrawn.
    pub withdrawn: u64,
    /// How far answers follow the learner rather than the model alone, from 0 to 1.
    pub share: f32,
    /// Weights that are not 0.
    pub weights: usize,
    /// How often the right label was answered before it was told, row by row.
    pub curve: Vec<Stretch>,
    /// Batches that contradict what was expected far more often than those before them.
    pub suspicious: Vec<SuspiciousBatch>,
    /// Where answers became worse.
    pub drift: Vec<Drift>,
    /// Pinned records.
    pub pinned: u64,
    /// Pinned records that would be answered wrong now.
    pub pinned_wrong: Vec<PinnedWrong>,
}

/// Test-before-train results over some consecutive rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// Rows whose right label is known.
    pub rows: u64,
    /// Of these, rows that the blend answered right.
    pub right: u64,
    /// Of these, rows that the model alone answered right.
    pub right_before: u64,
}

/// A batch that contradicts what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SuspiciousBatch {
    /// The batch.
    pub batch: i64,
    /// Its rows.
    pub rows: u64,
    /// Of these, rows that disagree with what would have been answered.
    pub disagreed: u64,
    /// The share of rows that disagreed in batches before.
    pub usual: f64,
    /// How likely that is for a batch like those before.
    pub chance: f64,
}

/// Where answers became worse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// The row at which it was noticed.
    pub id: i64,
    /// The share of right answers before.
    pub before: f64,
    /// The share of right answers since.
    pub after: f64,
    /// Rows that are of the new sort.
    pub since: u64,
}

/// A pinned record that would be answered wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PinnedWrong {
    /// The row.
    pub id: i64,
    /// The label that it must have.
    pub wanted: String,
    /// The label that it would get.
    pub answered: String,
}

impl fmt::Display for FeedbackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows of feedback", self.version.rows)?;
        if self.withdrawn > 0 {
            write!(f, ", {} withdrawn", self.withdrawn)?;
        }
        writeln!(
            f,
            "; the learner has {:.0} % of the say",
            self.share * 100.0
        )?;
        self.fmt_curve(f)?;
        for batch in &self.suspicious {
            writeln!(f, "{batch}")?;
        }
        for drift in &self.drift {
            writeln!(f, "{drift}")?;
        }
        if self.pinned > 0 {
            let right = self.pinned - self.pinned_wrong.len() as u64;
            writeln!(
                f,
                "{right} of {} pinned records are answered right",
                self.pinned
            )?;
        }
        for wrong in &self.pinned_wrong {
            writeln!(
                f,
                "warning: pinned row {} must be {} and would be {}",
                wrong.id, wrong.wanted, wrong.answered
            )?;
        }
        Ok(())
    }
}

impl FeedbackReport {
    fn fmt_curve(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.curve.is_empty() {
            return Ok(());
        }
        writeln!(f, "right before it was told   rows  with feedback  without")?;
        let mut last = 0;
        for stretch in &self.curve {
            let span = format!("{}-{}", last + 1, last + stretch.rows);
            last += stretch.rows;
            writeln!(
                f,
                "{span:>25}  {:>5}  {:>13.2}  {:>7.2}",
                stretch.rows,
                share(stretch.right, stretch.rows),
                share(stretch.right_before, stretch.rows)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for SuspiciousBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "warning: batch {} contradicts what was expected in {} of {} rows, {:.0} % is usual; \
             one honest batch of {:.0} does\n\
             hint: where it is wrong, take it back with `autoglm feedback TASK withdraw --batch {}`",
            self.batch,
            self.disagreed,
            self.rows,
            self.usual * 100.0,
            1.0 / self.chance.max(1e-12),
            self.batch
        )
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "warning: answers became worse: {:.2} right before, {:.2} over the last {} rows, \
             noticed at row {}",
            self.before, self.after, self.since, self.id
        )
    }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
