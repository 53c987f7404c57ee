//! What the task is, and how good its latest evaluation says that it is.

use maud::{Markup, html};

use super::super::records::cut;
use super::words::{counted, minute, percent, share, shell, span};
use super::{Context, nothing};
use crate::eval::{ConfidenceQuality, Quality};
use crate::store::StoredEvaluation;
use crate::words::file_name;

/// Labels that are seen without a click.
const OPEN_LABELS: usize = 24;

pub(super) fn section(context: Context<'_>) -> Markup {
    let report = context.report;
    html! {
        p.instruction lang=(context.language) dir="auto" { (report.task.instruction) }
        (labels(context))
        p {
            @match &report.live {
                Some(live) if !live.is_stale => {
                    "Runs on " (live.model) " use " strong { "strategy " (live.id.0) } "."
                }
                Some(live) => {
                    "Runs use " strong { "the task as it is written" } "; strategy " (live.id.0)
                    " was made for another instruction."
                }
                None => { "Runs use " strong { "the task as it is written" } "." }
            }
            @if report.task.examples > 0 {
                " The task has " (counted(report.task.examples as u64, "example")) "."
            }
        }
        @match &report.newest {
            Some(evaluation) => (figures(context, evaluation)),
            None => (nothing(
                "There is no evaluation yet. With records whose right answers are known, this command makes one:",
                &format!("autoglm eval {} --data labelled.jsonl", shell(context.task)),
            )),
        }
    }
}

fn labels(context: Context<'_>) -> Markup {
    let task = &context.report.task;
    let all = html! {
        ul.labels lang=(context.language) {
            @for label in &task.labels { li { bdi { (label) } } }
            @if task.label_count > task.labels.len() {
                li.more lang="en" { "and " (task.label_count - task.labels.len()) " more" }
            }
        }
    };
    html! {
        @if task.label_count == 0 {
            p { "Answers are open: text, code or JSON." }
        } @else if task.label_count > OPEN_LABELS {
            details { summary { (task.label_count) " labels" } (all) }
        } @else {
            (all)
        }
    }
}

fn figures(context: Context<'_>, evaluation: &StoredEvaluation) -> Markup {
    let found = &evaluation.report;
    let headline = found.quality.headline();
    let confidence = &found.confidence;
    html! {
        div.figures {
            (figure(&headline.measure.to_string(), &share(headline.value), &html! { "95 % interval " (span(headline.interval)) (floor(context, &found.quality)) }))
            (figure("calibration error", &share(confidence.calibration_error), &html! {
                "how far confidences are from the share of right answers"
            }))
            (at_80(confidence))
            (figure("rows", &found.rows.to_string(), &html! {
                @if found.errors > 0 { (found.errors) " without an answer, " }
                @if confidence.coverage < 1.0 { (percent(confidence.coverage)) " answered, " }
                @if found.seconds > 0.0 { (format!("{:.1}", found.records_per_second)) " a second" }
            }))
        }
        p.small {
            "Evaluation " (evaluation.id) " at " (minute(evaluation.at_ms)) " UTC on "
            bdi { (file_name(&evaluation.source)) } ", run " (evaluation.run.0) ", model "
            bdi { (evaluation.model) } "."
        }
    }
}

fn figure(name: &str, value: &str, more: &Markup) -> Markup {
    html! {
        div.figure {
            div.name { (name) }
            div.value { (value) }
            div.more { (more) }
        }
    }
}

fn floor(context: Context<'_>, quality: &Quality) -> Markup {
    html! {
        @if let Quality::Closed(closed) = quality {
            "; always " bdi lang=(context.language) { (cut(&closed.majority.label)) } " reaches "
            (share(closed.majority.accuracy))
        }
    }
}

/// What withholding a fifth of the answers brings.
fn at_80(confidence: &ConfidenceQuality) -> Markup {
    let at = |coverage: f64| {
        let mut points = confidence.risks.iter();
        points.find(|point| (point.coverage - coverage).abs() < 1e-9)
    };
    html! {
        @if let (Some(all), Some(surest)) = (at(1.0), at(0.8)) {
            (figure("error of the surest 80 %", &share(surest.error), &html! {
                "of all rows " (share(all.error))
            }))
        }
    }
}
