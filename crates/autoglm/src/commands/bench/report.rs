//! What was measured, as a table and as JSON.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::machine::{Limit, Machine};
use super::work::Work;
use crate::commands::model::write_table;

/// Everything that one run has found.
pub(super) struct Report {
    pub(super) model: PathBuf,
    pub(super) threads: NonZeroUsize,
    pub(super) decode_tokens: NonZeroUsize,
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
}

/// One kind of work with its samples.
pub(super) struct Row {
    work: Work,
    samples: Vec<f64>,
    quartiles: [f64; 3],
    limit: Option<Limit>,
}

impl Row {
    pub(super) fn new(work: &Work, samples: Vec<f64>, limit: Option<Limit>) -> Self {
        Self {
            work: *work,
            quartiles: quartiles(&samples),
            samples,
            limit,
        }
    }

    /// The part of the machine's limit that the median reaches.
    fn share(&self) -> Option<f64> {
        let limit = self.limit?;
        Some(self.quartiles[1] / limit.tokens_per_second)
    }

    fn json(&self) -> Value {
        let [lower, median, upper] = self.quartiles;
        let mut row = self.work.json();
        let limit = self.limit.map(|limit| {
            json!({
                "tokens_per_second": limit.tokens_per_second,
                "bound": limit.bound,
                "share": self.share(),
            })
        });
        row["unit"] = json!(self.work.unit());
        row["median"] = json!(median);
        row["quartiles"] = json!([lower, upper]);
        row["samples"] = json!(self.samples);
        row["limit"] = json!(limit);
        row
    }

    fn cells(&self) -> [String; 6] {
        let [lower, median, upper] = self.quartiles;
        let limit = self.limit;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            self.work.title(),
            format!("{} {}", number(median), self.work.unit()),
            format!("{} to {}", number(lower), number(upper)),
            or_dash(limit.map(|limit| number(limit.tokens_per_second))),
            or_dash(self.share().map(|share| format!("{:.0} %", 100.0 * share))),
            or_dash(limit.map(|limit| limit.bound.to_owned())),
        ]
    }
}

impl Report {
    pub(super) fn json(&self) -> Value {
        json!({
            "model": self.model,
            "threads": self.threads,
            "decode_tokens": self.decode_tokens,
            "machine": {
                "instructions": self.machine.instructions,
                "read_bytes_per_second": self.machine.read_bytes,
                "integer_operations_per_second": self.machine.integer_operations,
            },
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{}: {} threads, {}; at most {:.1} GB/s read, {:.0} billion integer operations a second",
            self.model.display(),
            self.threads,
            self.machine.instructions,
            self.machine.read_bytes / 1e9,
            self.machine.integer_operations / 1e9,
        )?;
        let header = ["WORK", "MEDIAN", "QUARTILES", "LIMIT", "SHARE", "BOUND"].map(str::to_owned);
        let rows = self.rows.iter().map(Row::cells);
        write_table(
            &std::iter::once(header).chain(rows).collect::<Vec<_>>(),
            out,
        )
    }
}

/// Three figures, the first of them never rounded away.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Lower quartile, median and upper quartile, between samples by proportion.
fn quartiles(samples: &[f64]) -> [f64; 3] {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    [0.25, 0.5, 0.75].map(|part| {
        let place = part * last as f64;
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_samples_by_proportion() {
        assert_eq!(quartiles(&[7.0]), [7.0; 3]);
        assert_eq!(quartiles(&[4.0, 1.0, 3.0, 2.0]), [1.75, 2.5, 3.25]);
        assert_eq!(quartiles(&[5.0, 1.0, 2.0, 4.0, 3.0]), [2.0, 3.0, 4.0]);
    }

    #[test]
    fn numbers_keep_three_figures() {
        let numbers = [0.034, 6.417, 41.26, 2_495.4].map(number);
        assert_eq!(numbers, ["0.03", "6.42", "41.3", "2495"]);
    }
}
