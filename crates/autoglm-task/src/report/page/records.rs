//! Records that are worth a look, each with the commands that show it and say what is right.

use maud::{Markup, html};

use super::super::records::computed_tokens;
use super::super::{RecordFacts, RunFacts};
use super::words::{counted, duration, minute, part, percent, share, shell};
use super::{Context, nothing};
use crate::words::file_name;

/// Records that are seen without a click.
const OPEN_RECORDS: usize = 10;

pub(super) fn costliest(context: Context<'_>) -> Markup {
    let Some(run) = &context.report.run else {
        return none(context);
    };
    let records = run.records.saturating_sub(run.errors);
    let computed = computed_tokens(&run.usage) as u64;
    let cached = part(
        run.usage.cached_tokens as u64,
        run.usage.prompt_tokens as u64,
    );
    html! {
        (of_run(run))
        p.small {
            (counted(computed, "token")) " computed, " (format!("{:.1}", part(computed, records)))
            " a record; " (percent(cached)) " of the prompts' tokens were known from earlier ones; "
            "the records for which most were computed come first. A run's first record also pays for \
            what all prompts share."
        }
        @if context.report.costliest.is_empty() {
            p { "No record of the run was answered." }
        } @else {
            (list(context, &context.report.costliest))
        }
    }
}

pub(super) fn least_sure(context: Context<'_>) -> Markup {
    let Some(run) = &context.report.run else {
        return none(context);
    };
    html! {
        (of_run(run))
        @if context.report.least_sure.is_empty() {
            p { "No record of the run has an answer." }
        } @else {
            (list(context, &context.report.least_sure))
        }
    }
}

fn none(context: Context<'_>) -> Markup {
    let command = format!(
        "autoglm run {} --input records.jsonl --output answers.jsonl",
        shell(context.task)
    );
    nothing("The task was never run. This command does:", &command)
}

fn of_run(run: &RunFacts) -> Markup {
    html! {
        p.small {
            "Of run " (run.id.0) ", " (minute(run.created_ms)) " UTC, "
            bdi { (file_name(&run.source)) } ", " (counted(run.records, "record"))
            @if run.errors > 0 { ", " (run.errors) " without an answer" }
            ", model " bdi { (run.model) } "."
        }
    }
}

fn list(context: Context<'_>, records: &[RecordFacts]) -> Markup {
    let (seen, hidden) = records.split_at(records.len().min(OPEN_RECORDS));
    html! {
        ol.records { @for record in seen { (card(context, record)) } }
        @if !hidden.is_empty() {
            details {
                summary { (hidden.len()) " more" }
                ol.records start=(seen.len() + 1) { @for record in hidden { (card(context, record)) } }
            }
        }
    }
}

fn card(context: Context<'_>, record: &RecordFacts) -> Markup {
    html! {
        li {
            div.head {
                span.where { "record " (record.index) ", line " (record.line) }
                span.cost { (cost(record)) }
            }
            (verdict(context, record))
            @for (title, text) in &record.input {
                p.text dir="auto" lang=(context.language) {
                    @if record.input.len() > 1 { span.field { (title) } " " }
                    (text)
                }
            }
            @if let Some(error) = &record.error { p.warning { (error) } }
            details { summary { "Commands" } pre tabindex="0" { code { (commands(context, record)) } } }
        }
    }
}

fn cost(record: &RecordFacts) -> String {
    let usage = &record.usage;
    let tokens = counted(computed_tokens(usage) as u64, "token");
    let cached = (usage.cached_tokens > 0).then(|| format!("{} cached", usage.cached_tokens));
    let time = (!usage.compute.is_zero()).then(|| duration(usage.compute));
    let parts: Vec<String> = [Some(tokens), cached, time].into_iter().flatten().collect();
    parts.join(", ")
}

fn verdict(context: Context<'_>, record: &RecordFacts) -> Markup {
    html! {
        @if let (Some(answer), Some(confidence)) = (&record.answer, record.confidence) {
            p.verdict {
                strong.wrong[record.is_right == Some(false)] lang=(context.language) dir="auto" { (answer) }
                " " (share(f64::from(confidence)))
                @if let Some((label, probability)) = &record.runner_up {
                    span.small { ", then " bdi lang=(context.language) { (label) } " " (share(f64::from(*probability))) }
                }
                @if record.abstained { " " span.mark { "withheld" } }
                @match (record.is_right, &record.gold) {
                    (Some(true), _) => { " " span.mark.right { "right" } }
                    (_, Some(gold)) => {
                        " " span.mark { "right answer: " bdi lang=(context.language) { (gold) } }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The command lines that show a record and say what is right.
fn commands(context: Context<'_>, record: &RecordFacts) -> String {
    let (run, index) = (record.run.0, record.index);
    let show = format!("autoglm runs show {run} --record {index}");
    if context.report.task.label_count == 0 || record.input.is_empty() {
        return show;
    }
    let task = shell(context.task);
    format!("{show}\nautoglm feedback {task} --run {run} --record {index} --correct LABEL")
}
