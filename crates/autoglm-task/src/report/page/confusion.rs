//! Which labels are taken for which.

use maud::{Markup, html};

use super::super::records::cut;
use super::words::{share, shell};
use super::{Context, nothing, scrolling};
use crate::eval::{ClosedQuality, Confusion, Quality};

/// Up to how many labels the whole table is shown; above, the most frequent confusions.
const TABLE_LABELS: usize = 12;
/// How many confusions are listed where the table is not shown.
const LISTED: usize = 30;
/// How many labels are listed with their measures.
const LABELS: usize = 200;

pub(super) fn section(context: Context<'_>) -> Markup {
    let command = format!("autoglm eval {} --data labelled.jsonl", shell(context.task));
    let Some(evaluation) = &context.report.newest else {
        return nothing(
            "An evaluation shows which labels are taken for which:",
            &command,
        );
    };
    let Quality::Closed(closed) = &evaluation.report.quality else {
        return html! { p { "Open answers have no labels that could be confused." } };
    };
    html! {
        @if closed.labels.len() <= TABLE_LABELS {
            p.small {
                "Of evaluation " (evaluation.id) ": rows by right answer (down) and given answer (across)."
            }
            (table(context, closed))
        } @else {
            p.small { "Of evaluation " (evaluation.id) ": the most frequent confusions." }
            (list(context, closed))
        }
        details { summary { "Precision and recall of each label" } (labels(context, closed)) }
    }
}

fn table(context: Context<'_>, closed: &ClosedQuality) -> Markup {
    scrolling(
        "Confusion table",
        &html! {
            table.confusion {
                thead {
                    tr {
                        td {}
                        @for label in &closed.labels {
                            th.number scope="col" lang=(context.language) { bdi { (cut(&label.label)) } }
                        }
                        th.number scope="col" { "no answer" }
                    }
                }
                tbody {
                    @for (gold, counts) in closed.confusion.iter().enumerate() {
                        tr {
                            th scope="row" lang=(context.language) { bdi { (cut(&closed.labels[gold].label)) } }
                            @for (given, count) in counts.iter().enumerate() {
                                (cell(*count, closed.labels[gold].rows, gold == given))
                            }
                        }
                    }
                }
            }
        },
    )
}

/// A count, the darker the larger its share of the row's right answer.
fn cell(count: usize, rows: usize, is_right: bool) -> Markup {
    let heat = 60.0 * count as f64 / rows.max(1) as f64;
    html! {
        td.number.heat.right[is_right] style={"--heat:" (format!("{heat:.0}")) "%"} {
            @if count == 0 { span.none { "0" } } @else { (count) }
        }
    }
}

fn list(context: Context<'_>, closed: &ClosedQuality) -> Markup {
    let confusions = closed.confusions();
    let more = confusions.len().saturating_sub(LISTED);
    html! {
        (scrolling("Most frequent confusions", &html! {
            table {
                thead {
                    tr {
                        th scope="col" { "right answer" }
                        th scope="col" { "given" }
                        th.number scope="col" { "rows" }
                        th.number scope="col" { "of its rows" }
                    }
                }
                tbody {
                    @for confusion in confusions.iter().take(LISTED) {
                        (confused(context, closed, confusion))
                    }
                }
            }
        }))
        @if more > 0 { p.small { (more) " rarer ones are not shown." } }
    }
}

fn confused(context: Context<'_>, closed: &ClosedQuality, confusion: &Confusion) -> Markup {
    let right = &closed.labels[confusion.right];
    html! {
        tr {
            th scope="row" lang=(context.language) { bdi { (cut(&right.label)) } }
            @match confusion.given {
                Some(given) => td lang=(context.language) { bdi { (cut(&closed.labels[given].label)) } },
                None => td { "no answer" },
            }
            td.number { (confusion.rows) }
            td.number { (share(confusion.rows as f64 / right.rows.max(1) as f64)) }
        }
    }
}

fn labels(context: Context<'_>, closed: &ClosedQuality) -> Markup {
    scrolling(
        "Labels",
        &html! {
            table {
                thead {
                    tr {
                        th scope="col" { "label" }
                        @for name in ["rows", "given", "precision", "recall", "F1"] {
                            th.number scope="col" { (name) }
                        }
                    }
                }
                tbody {
                    @for label in closed.labels.iter().take(LABELS) {
                        tr {
                            th scope="row" lang=(context.language) { bdi { (cut(&label.label)) } }
                            td.number { (label.rows) }
                            td.number { (label.given) }
                            td.number { (share(label.precision)) }
                            td.number { (share(label.recall)) }
                            td.number { (share(label.f1)) }
                        }
                    }
                }
            }
        },
    )
}
