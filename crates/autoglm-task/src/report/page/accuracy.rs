//! How good each version of the task was, on the same records side by side.

use maud::{Markup, html};

use super::super::{DataGroup, StrategyFacts, VersionScore};
use super::plot::{Axis, Frame, Plot};
use super::words::{counted, minute, share, shell, span, version};
use super::{Context, nothing, scrolling};
use crate::strategy::StrategyState;
use crate::words::file_name;

pub(super) fn section(context: Context<'_>) -> Markup {
    let report = context.report;
    html! {
        @if report.groups.is_empty() {
            (nothing(
                "Every evaluation adds a version here. Those of the same records are compared:",
                &format!("autoglm eval {} --data labelled.jsonl", shell(context.task)),
            ))
        }
        @for (place, group) in report.groups.iter().enumerate() {
            (of_group(context, place, group))
        }
        (strategies(context))
    }
}

fn of_group(context: Context<'_>, place: usize, group: &DataGroup) -> Markup {
    let several = group.versions.len() > 1;
    html! {
        h3 { bdi { (file_name(&group.source)) } ", " (counted(group.rows as u64, "row")) }
        @if let Some(majority) = &group.majority {
            p.small {
                "Always answering " bdi lang=(context.language) { (majority.label) } " reaches "
                (share(majority.accuracy)) "."
            }
        }
        div.beside {
            @if several { figure { (drawn(place, group)) } }
            (table(group))
        }
    }
}

fn drawn(place: usize, group: &DataGroup) -> Markup {
    let low = group.versions.iter().map(|v| v.interval[0]);
    let high = group.versions.iter().map(|v| v.interval[1]);
    let (low, high) = (low.fold(1.0, f64::min), high.fold(0.0, f64::max));
    let floor = group.majority.as_ref().map(|majority| majority.accuracy);
    // A floor that lies far off would press everything else together.
    let floor = floor.filter(|floor| (low - 0.15..=high + 0.15).contains(floor));
    let frame = Frame {
        width: 360.0,
        height: 230.0,
        x: Axis::numbers("evaluation, as numbered in the table", group.versions.len()),
        y: Axis::between(
            "share of right answers",
            low.min(floor.unwrap_or(1.0)),
            high.max(floor.unwrap_or(0.0)),
        ),
    };
    let last = group.versions.len();
    let plot = Plot {
        id: &format!("versions-{place}"),
        title: "Accuracy by version",
        description: format!(
            "{last} evaluations on the same records with their 95 % intervals; the table has the numbers"
        ),
        frame: &frame,
    };
    plot.draw(&html! {
        @if let Some(floor) = floor {
            (frame.line("floor", &[(frame.x.from, floor), (frame.x.to, floor)]))
        }
        @for (n, score) in (1..).zip(&group.versions) {
            (frame.whisker(f64::from(n), score.interval))
            circle.dot.newest[n as usize == last] cx=(frame.x(f64::from(n))) cy=(frame.y(score.accuracy)) r="4.5" {}
        }
    })
}

fn table(group: &DataGroup) -> Markup {
    scrolling(
        "Accuracy by version",
        &html! {
            table {
                thead {
                    tr {
                        th.number scope="col" { "no." }
                        th scope="col" { "version" }
                        th.number scope="col" { (group.measure) div.small { "95 % interval" } }
                        th.number scope="col" { abbr title="expected calibration error" { "ECE" } }
                    }
                }
                tbody {
                    @for (n, score) in (1..).zip(&group.versions) { (row(n, score)) }
                }
            }
        },
    )
}

fn row(number: usize, score: &VersionScore) -> Markup {
    html! {
        tr {
            td.number { (number) }
            th.wide scope="row" {
                (version(score))
                div.small {
                    bdi { (score.model) } ", prompt " (score.task_hash.get(..6).unwrap_or_default())
                    ", run " (score.run.0) ", " (minute(score.at_ms))
                }
            }
            td.number {
                strong { (share(score.accuracy)) }
                div.small.together { (span(score.interval)) }
            }
            td.number { (share(score.calibration_error)) }
        }
    }
}

fn strategies(context: Context<'_>) -> Markup {
    html! {
        h3 { "Strategies" }
        @if context.report.strategies.is_empty() {
            (nothing(
                "There is none yet. This command looks for better wordings, examples and settings:",
                &format!("autoglm optimize {} --data labelled.jsonl --budget 1000", shell(context.task)),
            ))
        } @else {
            (scrolling("Strategies", &html! {
                table {
                    thead {
                        tr {
                            th.number scope="col" { "no." }
                            th scope="col" { "state" }
                            th scope="col" { "what it changes" }
                            th scope="col" { "on untouched records" }
                        }
                    }
                    tbody {
                        @for strategy in &context.report.strategies { (strategy_row(context, strategy)) }
                    }
                }
            }))
        }
    }
}

fn strategy_row(context: Context<'_>, strategy: &StrategyFacts) -> Markup {
    let scores = strategy.scores.as_ref();
    let untouched = scores.and_then(|scores| scores.untouched).map(|u| u.worth);
    let state = match strategy.state {
        StrategyState::Candidate => "candidate",
        StrategyState::Live => "live",
        StrategyState::Retired => "retired",
    };
    html! {
        tr {
            th.number scope="row" { (strategy.id.0) }
            td { (state) }
            td lang=(context.language) {
                @for change in &strategy.changes { div dir="auto" { (change) } }
                @if strategy.changes.is_empty() { "nothing" }
            }
            td.together {
                @match untouched {
                    Some(paired) => {
                        (share(paired.first)) " → " (share(paired.second))
                        div.small { "difference " (difference(paired.interval)) ", " (counted(paired.rows as u64, "row")) }
                    }
                    None => { "not measured" }
                }
            }
        }
    }
}

/// The interval of a difference, which may be below 0.
fn difference([low, high]: [f64; 2]) -> String {
    format!("{low:+.3} to {high:+.3}").replace('-', "−")
}
