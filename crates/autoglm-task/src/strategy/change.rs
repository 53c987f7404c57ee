//! What differs between two strategies, in words.

use autoglm_spec::{Calibration, Example, Sampling};

use super::{Branch, ExampleChoice, Strategy, content_hash};
use crate::select::{Nearness, Pool};
use crate::words::cut_to;

/// Characters of a wording that are shown.
const SHOWN_CHARACTERS: usize = 300;

/// What changes from one strategy to another, a line a change; empty where nothing does.
pub fn changes(from: &Strategy, to: &Strategy) -> Vec<String> {
    let mut lines = Vec::new();
    let mut note = |what: &str, from: String, to: String| {
        if from != to {
            lines.push(format!("{what}: {from} → {to}"));
        }
    };
    note("instruction", wording(from), wording(to));
    note("answer called", answer_title(from), answer_title(to));
    note("examples", examples(from), examples(to));
    note("examples for each record", selection(from), selection(to));
    note("calibration", calibration(from), calibration(to));
    note("orders of the examples", orders(from), orders(to));
    note("sampling", sampling(&from.sampling), sampling(&to.sampling));
    note("soft prompt", soft_prompt(from), soft_prompt(to));
    note("route", route(from), route(to));
    if lines.is_empty() && from.examples != to.examples {
        lines.push("examples: others, or in another order".to_owned());
    }
    lines
}

fn wording(strategy: &Strategy) -> String {
    match &strategy.instruction {
        None => "as the task has it".to_owned(),
        Some(text) => format!("“{}”", shortened(text)),
    }
}

fn shortened(text: &str) -> String {
    let line = text.lines().collect::<Vec<_>>().join(" / ");
    cut_to(SHOWN_CHARACTERS, &line)
}

fn answer_title(strategy: &Strategy) -> String {
    let title = strategy.answer_title.clone();
    title.unwrap_or_else(|| "as the task has it".to_owned())
}

fn examples(strategy: &Strategy) -> String {
    match &strategy.examples {
        ExampleChoice::Task => "the task's own".to_owned(),
        ExampleChoice::Fixed(examples) => match examples.len() {
            0 => "none".to_owned(),
            count => format!("{count} fixed ({})", fingerprint(examples)),
        },
    }
}

fn selection(strategy: &Strategy) -> String {
    let Some(selection) = &strategy.selection else {
        return "none".to_owned();
    };
    let by = match selection.by {
        Nearness::Words => "words",
        Nearness::Vectors => "vectors",
        Nearness::Both => "words and vectors",
    };
    let pool = match &selection.pool {
        Pool::Library => "the labelled examples in the store".to_owned(),
        Pool::Fixed(examples) => format!("{} ({})", examples.len(), fingerprint(examples)),
    };
    let tokens = selection
        .tokens
        .map(|most| format!(", {most} tokens at most"));
    let tokens = tokens.unwrap_or_default();
    format!("the {} nearest by {by} of {pool}{tokens}", selection.count)
}

/// Tells sets of examples apart.
fn fingerprint(examples: &[Example]) -> String {
    let lone = Strategy {
        instruction: None,
        answer_title: None,
        examples: ExampleChoice::Fixed(examples.to_vec()),
        selection: None,
        calibration: Calibration::None,
        prior: None,
        both_orders: false,
        sampling: Sampling::GREEDY,
        soft_prompt: None,
        route: None,
    };
    lone.hash()[..8].to_owned()
}

fn calibration(strategy: &Strategy) -> String {
    match (strategy.calibration, &strategy.prior) {
        (Calibration::None, _) => "none".to_owned(),
        (Calibration::Contextual, _) => "contextual".to_owned(),
        (Calibration::Batch, _) => "batch".to_owned(),
        (Calibration::Fitted, None) => "fitted".to_owned(),
        (Calibration::Fitted, Some(prior)) => format!(
            "by {} labelled records ({})",
            prior.records,
            &content_hash(prior)[..8]
        ),
    }
}

fn orders(strategy: &Strategy) -> String {
    if strategy.both_orders { "both" } else { "one" }.to_owned()
}

fn sampling(sampling: &Sampling) -> String {
    if *sampling == Sampling::GREEDY {
        return "the most likely token".to_owned();
    }
    let mut parts = vec![format!("temperature {}", sampling.temperature)];
    if sampling.top_p < 1.0 {
        parts.push(format!("top-p {}", sampling.top_p));
    }
    if sampling.repetition_penalty != 1.0 {
        parts.push(format!(
            "repetition penalty {}",
            sampling.repetition_penalty
        ));
    }
    parts.join(", ")
}

fn soft_prompt(strategy: &Strategy) -> String {
    match &strategy.soft_prompt {
        None => "none".to_owned(),
        Some(soft) => format!("{} ({})", soft.folder, &soft.hash[..soft.hash.len().min(8)]),
    }
}

fn route(strategy: &Strategy) -> String {
    let Some(route) = &strategy.route else {
        return "none".to_owned();
    };
    let names: Vec<String> = route.branches.iter().map(Branch::name).collect();
    let lessons = route.lessons.len();
    format!(
        "each record to {}, learnt from {lessons} records",
        names.join(" or ")
    )
}
