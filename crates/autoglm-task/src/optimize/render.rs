//! What a search came to, as text for a terminal.

use std::fmt::{self, Write as _};

use super::{Decision, Ended, Estimate, Found, LEAST_UNTOUCHED, RouteReport, SearchReport};
use crate::eval::table;
use crate::strategy::{StrategyScores, branch_name};

impl fmt::Display for SearchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [propose, select, untouched] = self.parts;
        writeln!(
            f,
            "{}: {propose} records to propose from, {select} to choose by, {untouched} untouched; \
             model {}",
            self.task, self.model
        )?;
        f.write_str(&self.rung_table())?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        match (&self.found, self.ended) {
            (Some(found), _) => write!(f, "{found}")?,
            (None, Ended::Finished) => writeln!(f, "nothing was better than the start")?,
            (None, Ended::BudgetSpent) => {
                writeln!(f, "the budget was spent before a winner was found")?;
            }
            (None, Ended::Interrupted) => writeln!(f, "stopped before a winner was found")?,
        }
        writeln!(
            f,
            "cost: {} calls ({} of them from the store), {} tokens, {:.1} s; budget {}",
            self.spent.calls,
            self.spent.stored,
            self.spent.tokens(),
            self.spent.elapsed.as_secs_f64(),
            self.budget
        )
    }
}

impl SearchReport {
    fn rung_table(&self) -> String {
        if self.rungs.is_empty() {
            return String::new();
        }
        let measure = self.measure.to_string();
        let head = ["rung", "strategies", "records", "start", "best", "which"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.rungs.iter().enumerate().map(|(place, rung)| {
            vec![
                (place + 1).to_string(),
                rung.strategies.to_string(),
                rung.records.to_string(),
                format!("{:.3}", rung.start_value),
                format!("{:.3}", rung.best_value),
                rung.best.clone(),
            ]
        }));
        format!("\n{measure}\n{}\n", table(&rows))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "strategy {}:", self.version.0)?;
        for change in &self.changes {
            writeln!(f, "  {change}")?;
        }
        f.write_str(&scores_text(&self.scores))?;
        match self.decision {
            Decision::Promoted => writeln!(f, "it is better, and live from now on"),
            Decision::Held => writeln!(
                f,
                "it is better in the search, but runs answer with more than that: kept as a \
                 candidate, the start stays\nhint: `autoglm strategy promote {}` makes it live on \
                 your own judgement",
                self.version.0
            ),
            Decision::NotCompared => {
                let live = self.live.map_or(0, |live| live.0);
                writeln!(
                    f,
                    "it is better than the start, but strategy {live} is live, which it was not \
                     compared with: kept as a candidate\nhint: `autoglm eval TASK --data FILE \
                     --compare {live} {}` tells which is better",
                    self.version.0
                )
            }
            Decision::NotBetter => writeln!(
                f,
                "it is not surely better on untouched records: kept as a candidate, the start \
                 stays\nhint: a larger budget or more records tell smaller differences"
            ),
            Decision::TooFewRecords => writeln!(
                f,
                "with fewer than {LEAST_UNTOUCHED} untouched records compared nobody can tell: \
                 kept as a candidate, the start stays\nhint: `autoglm strategy promote {}` makes \
                 it live on your own judgement",
                self.version.0
            ),
        }
    }
}

impl fmt::Display for RouteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [lessons, told] = self.lessons;
        writeln!(
            f,
            "{}: learnt from {lessons} records, {told} of them of feedback; {} untouched; model {}",
            self.task, self.untouched.worth.rows, self.model
        )?;
        let head = ["branch", "accuracy", "mean probability", "alone for"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.branches.iter().map(|branch| {
            vec![
                branch_name(branch.version),
                format!("{:.4}", branch.accuracy),
                format!("{:.2}", branch.share),
                format!("{:.0} %", 100.0 * branch.only),
            ]
        }));
        f.write_str(&table(&rows))?;
        writeln!(
            f,
            "a record is asked of {:.2} branches on average",
            self.asked
        )?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let live = branch_name(self.live);
        writeln!(
            f,
            "the route against {live}, which is live, on untouched records: {}",
            self.untouched
        )?;
        let id = self.version.0;
        match self.decision {
            Decision::Promoted => writeln!(f, "strategy {id} is better, and live from now on"),
            Decision::Held => writeln!(
                f,
                "strategy {id} is better here, but runs answer with more than that: kept as a \
                 candidate\nhint: `autoglm strategy promote {id}` makes it live on your own judgement"
            ),
            Decision::NotBetter | Decision::NotCompared => writeln!(
                f,
                "strategy {id} is not surely better: kept as a candidate, what is live stays"
            ),
            Decision::TooFewRecords => writeln!(
                f,
                "with fewer than {LEAST_UNTOUCHED} untouched records nobody can tell: strategy \
                 {id} is kept as a candidate"
            ),
        }?;
        writeln!(
            f,
            "cost: {} calls ({} of them from the store), {} tokens, {:.1} s",
            self.spent.calls,
            self.spent.stored,
            self.spent.tokens(),
            self.spent.elapsed.as_secs_f64()
        )
    }
}

/// Scores of a version, a line a part of the records.
pub(crate) fn scores_text(scores: &StrategyScores) -> String {
    let mut text = String::new();
    if let (Some(version), Some(start)) = (scores.chosen_on, scores.start_on) {
        let [low, high] = version.interval;
        let _ = writeln!(
            text,
            "{} on the {} records it was chosen by: {:.4} ({low:.4} to {high:.4}), the start {:.4}",
            scores.measure, version.rows, version.value, start.value
        );
    }
    if let Some(compared) = &scores.untouched {
        let _ = writeln!(text, "{} on untouched records: {compared}", scores.measure);
    }
    text
}

impl fmt::Display for StrategyScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&scores_text(self))
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [propose, select, untouched] = self.parts;
        let [least, most] = self.tokens_between;
        writeln!(
            f,
            "{propose} records to propose from, {select} to choose by, {untouched} untouched"
        )?;
        for (place, [strategies, records]) in self.rungs.iter().enumerate() {
            writeln!(
                f,
                "rung {}: {strategies} strategies on {records} records",
                place + 1
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        writeln!(
            f,
            "about {} calls and {} tokens ({least} where short prompts win, {most} where long ones \
             do); nothing was asked",
            self.calls, self.tokens
        )
    }
}
