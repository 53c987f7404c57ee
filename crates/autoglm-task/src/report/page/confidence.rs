//! What confidences are worth: the reliability diagram, and the error among the surest.

use maud::{Markup, html};

use super::plot::{Axis, Frame, Plot};
use super::words::{counted, percent, share, shell};
use super::{Context, nothing, scrolling};
use crate::eval::{ConfidenceBin, ConfidenceQuality, wilson_interval};

/// Radius of the bin that has most answers.
const LARGEST_DOT: f64 = 9.0;

pub(super) fn section(context: Context<'_>) -> Markup {
    let Some(evaluation) = &context.report.newest else {
        let command = format!("autoglm eval {} --data labelled.jsonl", shell(context.task));
        return nothing("An evaluation shows what confidences are worth:", &command);
    };
    let quality = &evaluation.report.confidence;
    html! {
        p.small { "Of evaluation " (evaluation.id) ", " (counted(evaluation.report.rows as u64, "row")) "." }
        div.pair {
            (reliability(quality))
            (coverage(quality))
        }
    }
}

fn reliability(quality: &ConfidenceQuality) -> Markup {
    let frame = Frame {
        width: 360.0,
        height: 320.0,
        x: Axis::shares("confidence"),
        y: Axis::shares("share of right answers"),
    };
    let error = share(quality.calibration_error);
    let plot = Plot {
        id: "reliability",
        title: "Reliability diagram",
        description: format!(
            "The share of right answers by confidence, in {} of 15 bins; on the diagonal confidences \
             are honest. The calibration error is {error}",
            quality.bins.len()
        ),
        frame: &frame,
    };
    let most = quality.bins.iter().map(|bin| bin.rows).max().unwrap_or(1) as f64;
    let drawn = plot.draw(&html! {
        (frame.line("ideal", &[(0.0, 0.0), (1.0, 1.0)]))
        @for bin in &quality.bins {
            (frame.whisker(bin.confidence, wilson_interval(bin.right, bin.rows)))
        }
        @for bin in &quality.bins {
            circle.dot cx=(frame.x(bin.confidence)) cy=(frame.y(right(bin)))
                r=(radius(bin.rows as f64 / most)) {}
        }
    });
    html! {
        figure {
            figcaption { "Reliability" }
            (drawn)
            p.small {
                "Calibration error " strong { (error) }
                @if let Some(fitted) = quality.fitted_calibration_error {
                    ", " (share(fitted)) " once fitted on the other half of the rows"
                }
                ". A dot is a bin of answers, larger where there are more, with the 95 % interval of its \
                 share of right ones; on the dashed line confidences are honest, below it they promise too much."
            }
            details { summary { "Numbers" } (bins_table(quality)) }
        }
    }
}

fn right(bin: &ConfidenceBin) -> f64 {
    bin.right as f64 / bin.rows as f64
}

/// Areas are as the numbers of answers are, but for the smallest, which must be seen.
fn radius(share_of_most: f64) -> String {
    format!("{:.1}", (LARGEST_DOT * share_of_most.sqrt()).max(2.5))
}

fn bins_table(quality: &ConfidenceQuality) -> Markup {
    scrolling(
        "Reliability",
        &html! {
            table {
                thead {
                    tr {
                        th.number scope="col" { "mean confidence" }
                        th.number scope="col" { "right" }
                        th.number scope="col" { "answers" }
                    }
                }
                tbody {
                    @for bin in &quality.bins {
                        tr {
                            th.number scope="row" { (share(bin.confidence)) }
                            td.number { (share(right(bin))) }
                            td.number { (bin.rows) }
                        }
                    }
                }
            }
        },
    )
}

fn coverage(quality: &ConfidenceQuality) -> Markup {
    let most = quality
        .curve
        .iter()
        .map(|point| point.error)
        .fold(0.0, f64::max);
    let frame = Frame {
        width: 360.0,
        height: 320.0,
        x: Axis::shares("coverage: share of rows that are answered"),
        y: Axis::between("share of wrong answers", 0.0, most.max(0.01)),
    };
    let plot = Plot {
        id: "coverage",
        title: "Risk–coverage curve",
        description: format!(
            "The share of wrong answers among the surest rows; its mean over all coverages is {}",
            share(quality.aurc)
        ),
        frame: &frame,
    };
    let points: Vec<(f64, f64)> = quality
        .curve
        .iter()
        .map(|p| (p.coverage, p.error))
        .collect();
    let drawn = plot.draw(&html! {
        (frame.line("curve", &points))
        @for point in &quality.risks {
            circle.dot cx=(frame.x(point.coverage)) cy=(frame.y(point.error)) r="3.5" {}
        }
    });
    html! {
        figure {
            figcaption { "Risk and coverage" }
            (drawn)
            p.small {
                "How often answers are wrong when only the surest are given (" code { "--min-confidence" }
                "). The mean over all coverages (AURC) is " strong { (share(quality.aurc)) } "."
            }
            details { summary { "Numbers" } (risks_table(quality)) }
        }
    }
}

fn risks_table(quality: &ConfidenceQuality) -> Markup {
    scrolling(
        "Risk and coverage",
        &html! {
            table {
                thead {
                    tr {
                        th.number scope="col" { "surest rows" }
                        th.number scope="col" { "wrong" }
                    }
                }
                tbody {
                    @for point in &quality.risks {
                        tr {
                            th.number scope="row" { (percent(point.coverage)) }
                            td.number { (share(point.error)) }
                        }
                    }
                }
            }
        },
    )
}
