//! A report as text for a terminal, with columns that stay aligned under Chinese labels.

use std::fmt::{self, Write as _};

use autoglm_spec::Calibration;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::report::{
    ClosedQuality, ConfidenceQuality, MeanScores, OpenQuality, Quality, Report, SamplesQuality,
    Scores,
};

/// Up to how many labels the whole confusion table is shown; above, the most frequent confusions.
const TABLE_LABELS: usize = 12;
/// How many confusions are listed where the table is not shown.
const LISTED_CONFUSIONS: usize = 10;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match &self.quality {
            Quality::Closed(closed) if closed.calibration == Calibration::Fitted => {
                "taught by labelled records".to_owned()
            }
            Quality::Closed(_) | Quality::Open(_) => format!("{} examples", self.examples),
        };
        writeln!(
            f,
            "{}: {} rows, {shown}, model {}, {:.1} s, {:.1} records/s",
            self.task, self.rows, self.model, self.seconds, self.records_per_second
        )?;
        if self.errors > 0 {
            writeln!(f, "{} rows without an answer count as wrong", self.errors)?;
        }
        if self.without_gold > 0 {
            writeln!(
                f,
                "{} rows without a right answer left out",
                self.without_gold
            )?;
        }
        for unknown in &self.unknown_gold {
            writeln!(
                f,
                "{} rows left out: {:?} (first on line {}) is no label of the task",
                unknown.rows, unknown.answer, unknown.first_line
            )?;
        }
        match &self.quality {
            Quality::Closed(closed) => write_closed(f, closed)?,
            Quality::Open(open) => write_open(f, open)?,
        }
        write_confidence(f, &self.confidence)
    }
}

fn write_closed(f: &mut fmt::Formatter<'_>, closed: &ClosedQuality) -> fmt::Result {
    let [low, high] = closed.accuracy_interval;
    let calibration = serde_json::to_string(&closed.calibration).map_err(|_| fmt::Error)?;
    let row = |name: &str, of: fn(&Scores) -> f64, majority: String| {
        vec![
            name.to_owned(),
            number(of(&closed.scores)),
            number(of(&closed.uncalibrated)),
            majority,
        ]
    };
    let head = [
        String::new(),
        format!("calibrated ({})", calibration.trim_matches('"')),
        "uncalibrated".to_owned(),
        format!("always {}", closed.majority.label),
    ];
    let rows = [
        head.to_vec(),
        row("accuracy", |s| s.accuracy, number(closed.majority.accuracy)),
        row("macro-F1", |s| s.macro_f1, String::new()),
        row("calibration error", |s| s.calibration_error, String::new()),
        row("Brier score", |s| s.brier, String::new()),
    ];
    writeln!(f, "\n{}", table(&rows))?;
    writeln!(f, "accuracy, 95 % interval: {low:.4} to {high:.4}\n")?;
    writeln!(f, "{}", label_table(closed))?;
    f.write_str(&confusion(closed))
}

impl fmt::Display for MeanScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |name: &str, of: fn(&Scores) -> f64| {
            vec![
                name.to_owned(),
                number(of(&self.scores)),
                number(of(&self.uncalibrated)),
            ]
        };
        let head = format!("mean of {} reports", self.reports);
        let rows = [
            vec![head, "calibrated".to_owned(), "uncalibrated".to_owned()],
            row("accuracy", |s| s.accuracy),
            row("macro-F1", |s| s.macro_f1),
            row("calibration error", |s| s.calibration_error),
            row("Brier score", |s| s.brier),
        ];
        f.write_str(&table(&rows))?;
        write!(f, "least accuracy: {:.4}", self.least_accuracy)
    }
}

fn label_table(closed: &ClosedQuality) -> String {
    let head = ["label", "rows", "given", "precision", "recall", "F1"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(closed.labels.iter().map(|label| {
        vec![
            label.label.clone(),
            label.rows.to_string(),
            label.given.to_string(),
            number(label.precision),
            number(label.recall),
            number(label.f1),
        ]
    }));
    table(&rows)
}

fn confusion(closed: &ClosedQuality) -> String {
    let names: Vec<&str> = closed.labels.iter().map(|l| l.label.as_str()).collect();
    if names.len() > TABLE_LABELS {
        return confusion_list(closed, &names);
    }
    let mut head = vec!["right answer \\ given".to_owned()];
    head.extend(names.iter().map(|&name| name.to_owned()));
    head.push("no answer".to_owned());
    let mut rows = vec![head];
    for (name, counts) in names.iter().zip(&closed.confusion) {
        let mut row = vec![(*name).to_owned()];
        row.extend(counts.iter().map(usize::to_string));
        rows.push(row);
    }
    table(&rows)
}

fn confusion_list(closed: &ClosedQuality, names: &[&str]) -> String {
    let head = ["right answer", "given", "rows"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let most = closed.confusions().into_iter().take(LISTED_CONFUSIONS);
    rows.extend(most.map(|confusion| {
        let given = confusion.given.map_or("no answer", |given| names[given]);
        vec![
            names[confusion.right].to_owned(),
            given.to_owned(),
            confusion.rows.to_string(),
        ]
    }));
    table(&rows)
}

fn write_open(f: &mut fmt::Formatter<'_>, open: &OpenQuality) -> fmt::Result {
    let [low, high] = open.exact_match_interval;
    let row = |name: &str, value: f64| vec![name.to_owned(), number(value)];
    let rows = [
        row("exact match", open.exact_match),
        row(&format!("same {}", name_of(&open.compare)), open.same_value),
        row("token F1", open.token_f1),
        row("ROUGE-L", open.rouge_l),
        row("mean confidence", open.mean_confidence),
    ];
    write!(f, "\n{}", table(&rows))?;
    writeln!(f, "exact match, 95 % interval: {low:.4} to {high:.4}")?;
    let [low, high] = open.same_value_interval;
    let same = name_of(&open.compare);
    writeln!(f, "same {same}, 95 % interval: {low:.4} to {high:.4}")?;
    match &open.samples {
        Some(samples) => write_samples(f, samples),
        None => Ok(()),
    }
}

/// What several samples bring, and what each rule of stopping would have.
fn write_samples(f: &mut fmt::Formatter<'_>, samples: &SamplesQuality) -> fmt::Result {
    let with = |mean: f64, deviation: f64| format!("{mean:.4} ± {deviation:.4}");
    let head = ["samples", "right", "samples a record"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.push(vec![
        "the first alone".to_owned(),
        number(samples.first_accuracy),
        "1".to_owned(),
    ]);
    for rule in &samples.rules {
        rows.push(vec![
            name_of(&rule.rule),
            with(rule.accuracy, rule.accuracy_deviation),
            with(rule.mean_samples, rule.samples_deviation),
        ]);
    }
    write!(f, "\n{}", table(&rows))?;
    let (taken, limit) = (samples.mean_samples, samples.limit);
    writeln!(f, "{taken:.2} samples a record were taken, {limit} at most")
}

/// How the error falls when the least sure answers are withheld.
fn write_confidence(f: &mut fmt::Formatter<'_>, confidence: &ConfidenceQuality) -> fmt::Result {
    let share = |of: f64| format!("{:.0} %", of * 100.0);
    let mut head = vec!["surest rows".to_owned()];
    let mut errors = vec!["error".to_owned()];
    for point in &confidence.risks {
        head.push(share(point.coverage));
        errors.push(number(point.error));
    }
    head.push("AURC".to_owned());
    errors.push(number(confidence.aurc));
    write!(f, "\n{}", table(&[head, errors]))?;
    write!(f, "calibration error {:.4}", confidence.calibration_error)?;
    if let Some(fitted) = confidence.fitted_calibration_error {
        write!(f, ", {fitted:.4} once fitted on the other half of the rows")?;
    }
    if confidence.coverage < 1.0 {
        let (coverage, accuracy) = (share(confidence.coverage), confidence.answered_accuracy);
        write!(
            f,
            "\n{coverage} of the rows answered, {accuracy:.4} of them right"
        )?;
    }
    writeln!(f)
}

/// The name of a plain choice, as files and command lines have it.
fn name_of(choice: &impl Serialize) -> String {
    let name = serde_json::to_string(choice).unwrap_or_default();
    name.trim_matches('"').to_owned()
}

fn number(value: f64) -> String {
    format!("{value:.4}")
}

/// Rows of cells as lines with aligned columns, the first to the left, the others to the right;
/// characters that are two columns wide count as two.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let widths: Vec<usize> = (0..columns)
        .map(|column| cells(column).map(|cell| cell.width()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let blanks = " ".repeat(widths[column] - cell.width());
            let _ = match column {
                0 => write!(line, "{cell}{blanks}"),
                _ => write!(line, "  {blanks}{cell}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
