//! What feedback came to, for people and machines.

use std::fmt;

use autoglm_spec::FeedbackVersion;
use serde::Serialize;

use super::Overruled;

/// What the feedback of a task came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeedbackReport {
    /// The state of the feedback.
    pub version: FeedbackVersion,
    /// Rows that are withdrawn.
    pub withdrawn: u64,
    /// Rows that speak of labels which the task does not have.
    pub unusable: u64,
    /// Rows that teach, and of which it is not known what the model says.
    pub without_opinion: u64,
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
    /// Pinned rows that hold.
    pub pinned: u64,
    /// Pinned rows that later ones on the same record contradict.
    pub overruled: Vec<Overruled>,
}

/// Test-before-train results over some consecutive rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// Rows whose right label is known, and what the model says of them.
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
        self.fmt_left_out(f)?;
        self.fmt_curve(f)?;
        for batch in &self.suspicious {
            writeln!(f, "{batch}")?;
        }
        // Earlier falls are history, which JSON tells.
        if let Some(drift) = self.drift.last() {
            writeln!(f, "{drift}")?;
        }
        let pins = self.pinned + self.overruled.len() as u64;
        if pins > 0 {
            writeln!(f, "{} of {pins} pinned rows hold", self.pinned)?;
        }
        for Overruled { id, by } in &self.overruled {
            writeln!(
                f,
                "warning: pinned row {id} no longer holds, row {by} on the same record says otherwise"
            )?;
        }
        Ok(())
    }
}

impl FeedbackReport {
    fn fmt_left_out(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unusable > 0 {
            writeln!(
                f,
                "warning: {} rows speak of labels that the task does not have, and teach nothing",
                self.unusable
            )?;
        }
        if self.without_opinion > 0 {
            writeln!(
                f,
                "{} rows without the model's opinion teach, and do not count for the learner's say",
                self.without_opinion
            )?;
        }
        Ok(())
    }

    fn fmt_curve(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.curve.is_empty() {
            return Ok(());
        }
        let mut line = |cells: [&str; 4]| {
            let [span, rows, with, without] = cells;
            writeln!(f, "{span:>24}  {rows:>4}  {with:>13}  {without:>7}")
        };
        line([
            "right before it was told",
            "rows",
            "with feedback",
            "without",
        ])?;
        let mut last = 0;
        for stretch in &self.curve {
            let span = format!("{}-{}", last + 1, last + stretch.rows);
            last += stretch.rows;
            let share = |part: u64| format!("{:.2}", part as f64 / stretch.rows as f64);
            line([
                &span,
                &stretch.rows.to_string(),
                &share(stretch.right),
                &share(stretch.right_before),
            ])?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> FeedbackReport {
        let stretch = |rows, right, right_before| Stretch {
            rows,
            right,
            right_before,
        };
        let drift = |id| Drift {
            id,
            before: 0.9,
            after: 0.5,
            since: 12,
        };
        FeedbackReport {
            version: FeedbackVersion { last: 17, rows: 15 },
            withdrawn: 2,
            unusable: 1,
            without_opinion: 1,
            share: 0.125,
            weights: 99,
            curve: vec![stretch(10, 8, 6), stretch(3, 3, 2)],
            suspicious: vec![SuspiciousBatch {
                batch: 4,
                rows: 20,
                disagreed: 19,
                usual: 0.25,
                chance: 1e-4,
            }],
            drift: vec![drift(5), drift(11)],
            pinned: 1,
            overruled: vec![Overruled { id: 2, by: 3 }],
        }
    }

    #[test]
    fn a_report_reads_well_and_tells_the_last_fall_alone() {
        assert_eq!(
            report().to_string(),
            "\
15 rows of feedback, 2 withdrawn; the learner has 12 % of the say
warning: 1 rows speak of labels that the task does not have, and teach nothing
1 rows without the model's opinion teach, and do not count for the learner's say
right before it was told  rows  with feedback  without
                    1-10    10           0.80     0.60
                   11-13     3           1.00     0.67
warning: batch 4 contradicts what was expected in 19 of 20 rows, 25 % is usual; one honest batch of 10000 does
hint: where it is wrong, take it back with `autoglm feedback TASK withdraw --batch 4`
warning: answers became worse: 0.90 right before, 0.50 over the last 12 rows, noticed at row 11
1 of 2 pinned rows hold
warning: pinned row 2 no longer holds, row 3 on the same record says otherwise
"
        );
    }
}
