//! What feedback has taught: how often answers were right before the right one was told.

use maud::{Markup, html};

use super::plot::{Axis, Frame, Plot};
use super::words::{counted, part, percent, share, shell};
use super::{Context, nothing, scrolling};
use crate::learn::{FeedbackReport, Stretch};

/// Warnings of batches that are told.
const WARNINGS: usize = 10;

pub(super) fn section(context: Context<'_>) -> Markup {
    let Some(report) = &context.report.learning else {
        return none(context);
    };
    html! {
        p {
            (counted(report.version.rows, "row")) " of feedback"
            @if report.withdrawn > 0 { ", " (report.withdrawn) " withdrawn" }
            "; the learner has " (percent(f64::from(report.share))) " of the say."
            @if report.unusable > 0 {
                " " (counted(report.unusable, "row")) " of labels that the task does not have teach nothing."
            }
            (pins(report))
        }
        @for batch in report.suspicious.iter().take(WARNINGS) { p.warning { (batch) } }
        @if let Some(drift) = report.drift.last() { p.warning { (drift) } }
        @if report.curve.is_empty() {
            p { "No row says both what the right label is and what the model said; the curve needs such rows." }
        } @else {
            div.beside { figure { (drawn(report)) (legend()) } (table(report)) }
        }
    }
}

fn pins(report: &FeedbackReport) -> Markup {
    let pins = report.pinned + report.overruled.len() as u64;
    html! {
        @if pins > 0 { " " (report.pinned) " of " (counted(pins, "pinned row")) " hold." }
    }
}

fn none(context: Context<'_>) -> Markup {
    if context.report.task.label_count == 0 {
        return html! { p { "Feedback is learnt from where answers are labels." } };
    }
    let run = context
        .report
        .run
        .as_ref()
        .map_or("RUN".to_owned(), |run| run.id.0.to_string());
    let command = format!(
        "autoglm feedback {} --run {run} --record 0 --correct LABEL",
        shell(context.task)
    );
    nothing(
        "There is no feedback yet. Say which answers were wrong, and later runs learn from it:",
        &command,
    )
}

/// The shares of right answers up to the end of each stretch: rows, with and without feedback.
fn totals(curve: &[Stretch]) -> Vec<(u64, f64, f64)> {
    let (mut rows, mut right, mut before) = (0, 0, 0);
    let add = |stretch: &Stretch| {
        rows += stretch.rows;
        right += stretch.right;
        before += stretch.right_before;
        (rows, part(right, rows), part(before, rows))
    };
    curve.iter().map(add).collect()
}

fn drawn(report: &FeedbackReport) -> Markup {
    let totals = totals(&report.curve);
    let (rows, with, without) = totals.last().copied().unwrap_or_default();
    let shares = || totals.iter().flat_map(|point| [point.1, point.2]);
    let (least, most) = (shares().fold(1.0, f64::min), shares().fold(0.0, f64::max));
    let frame = Frame {
        width: 360.0,
        height: 250.0,
        x: Axis::counts("rows of feedback", rows),
        y: Axis::between("right so far", least, most),
    };
    let plot = Plot {
        id: "learning-curve",
        title: "Learning curve",
        description: format!(
            "The share of rows answered right before their label was told: after {rows} rows {} with \
             the feedback before them, {} without",
            share(with),
            share(without)
        ),
        frame: &frame,
    };
    let line = |of: fn(&(u64, f64, f64)) -> f64| -> Vec<(f64, f64)> {
        totals
            .iter()
            .map(|point| (point.0 as f64, of(point)))
            .collect()
    };
    plot.draw(&html! {
        (frame.line("before", &line(|point| point.2)))
        (frame.line("curve", &line(|point| point.1)))
        @if let Some((rows, with, _)) = totals.last() {
            circle.dot cx=(frame.x(*rows as f64)) cy=(frame.y(*with)) r="3.5" {}
        }
    })
}

fn legend() -> Markup {
    html! {
        p.small {
            span.key.with {} " with the feedback given before, "
            span.key.without {} " by the model alone. Every row was answered before its label was told; \
            users correct what is wrong more often than they confirm what is right."
        }
    }
}

fn table(report: &FeedbackReport) -> Markup {
    let ends = totals(&report.curve);
    scrolling(
        "Learning curve",
        &html! {
            table {
                thead {
                    tr {
                        th scope="col" { "rows" }
                        th.number scope="col" { "with feedback" }
                        th.number scope="col" { "without" }
                    }
                }
                tbody {
                    @for (stretch, end) in report.curve.iter().zip(&ends) {
                        tr {
                            th.together scope="row" { (end.0 - stretch.rows + 1) "–" (end.0) }
                            td.number { (share(part(stretch.right, stretch.rows))) }
                            td.number { (share(part(stretch.right_before, stretch.rows))) }
                        }
                    }
                }
            }
        },
    )
}
