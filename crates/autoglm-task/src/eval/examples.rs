//! Examples for a prompt, drawn from labelled records so that anyone can draw the same again.

use std::collections::{BTreeMap, BTreeSet};

use autoglm_spec::{Example, Output, Record, TaskSpec};
use sha2::{Digest, Sha256};

use crate::TaskError;
use crate::library::{example_of, identity};

/// How examples are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// Examples of each label, or of all answers together where the task has no labels; all
    /// there are where none is given.
    pub per_label: Option<usize>,
    /// Decides which ones, and their order.
    pub seed: u64,
    /// The field that holds the right answer, as in [`Evaluation`](super::Evaluation).
    pub gold_field: Option<&'a str>,
}

/// A record of the pool that can be drawn.
struct Candidate {
    ticket: [u8; 32],
    example: Example,
}

/// Draws examples from `pool`, none that is a record in `held_out` by its [`identity`].
///
/// Each record gets a ticket, the SHA-256 of the seed in decimal, a line feed and its task fields
/// as JSON; the lowest tickets of each label are drawn. So the draw depends on nothing but seed and
/// records, not on the pool's order, and records that occur twice count once. In the prompt the
/// labels take turns: first each label's lowest ticket, then each label's second, and so on; each
/// turn is in the order of its tickets.
///
/// # Errors
/// When a label has fewer usable records than are wanted.
pub fn draw_examples(
    spec: &TaskSpec,
    pool: impl IntoIterator<Item = Record>,
    held_out: &[Record],
    draw: &Draw<'_>,
) -> Result<Vec<Example>, TaskError> {
    let mut groups = candidates(spec, pool, held_out, draw);
    let mut drawn = Vec::new();
    for label in wanted_labels(spec) {
        let mut group = groups.remove(&label).unwrap_or_default();
        let wanted = draw.per_label.unwrap_or(group.len());
        if group.len() < wanted {
            return Err(TaskError::TooFewExamples {
                label,
                found: group.len(),
                wanted,
            });
        }
        group.sort_by_key(|candidate| candidate.ticket);
        group.truncate(wanted);
        drawn.extend(group.into_iter().enumerate());
    }
    drawn.sort_by_key(|(turn, candidate)| (*turn, candidate.ticket));
    let examples = drawn.into_iter().map(|(_, candidate)| candidate.example);
    Ok(examples.collect())
}

/// The names of the groups to draw from: the labels, or one for all open answers.
fn wanted_labels(spec: &TaskSpec) -> Vec<String> {
    match &spec.output {
        Output::Labels { labels } => labels.iter().map(|label| label.name.clone()).collect(),
        Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => vec![String::new()],
    }
}

fn candidates(
    spec: &TaskSpec,
    pool: impl IntoIterator<Item = Record>,
    held_out: &[Record],
    draw: &Draw<'_>,
) -> BTreeMap<String, Vec<Candidate>> {
    let closed = matches!(spec.output, Output::Labels { .. });
    let ticket_of = |input: &Record| ticket(draw.seed, input);
    let of = |record: &Record| identity(&spec.fields, record);
    let mut taken: BTreeSet<String> = held_out.iter().map(of).collect();
    let mut groups: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    for record in pool {
        let Ok(example) = example_of(spec, draw.gold_field, &record) else {
            continue;
        };
        let ticket = ticket_of(&example.input);
        if !taken.insert(of(&example.input)) {
            continue;
        }
        let group = if closed {
            example.output.clone()
        } else {
            String::new()
        };
        groups
            .entry(group)
            .or_default()
            .push(Candidate { ticket, example });
    }
    groups
}

/// What decides on the order of records: it depends on nothing but the seed and the record.
pub(crate) fn ticket(seed: u64, input: &Record) -> [u8; 32] {
    let json = serde_json::Value::Object(input.clone());
    Sha256::digest(format!("{seed}\n{json}")).into()
}
