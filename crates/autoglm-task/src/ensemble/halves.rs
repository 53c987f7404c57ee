//! Labelled rows in two halves, and the examples that each half gives its prompt.

use std::collections::BTreeSet;

use autoglm_spec::{Example, TaskSpec};

use crate::TaskError;
use crate::eval::ticket;
use crate::library::{identity, task_fields};

/// A labelled row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelledRow {
    pub(super) example: Example,
    /// Place of its label in the task.
    pub(super) label: usize,
    /// Which half it belongs to: 0 or 1. It is judged behind the other half's prompt.
    pub(super) half: usize,
}

/// The rows with the places of their labels, once each, in an order that depends on nothing but
/// the rows; the labels take turns.
pub(super) fn labelled(
    spec: &TaskSpec,
    rows: &[Example],
) -> Result<Vec<(Example, usize)>, TaskError> {
    let labels = spec.output.labels();
    let place = |example: &Example| {
        let found = labels.iter().position(|l| l.name == example.output);
        found.ok_or_else(|| TaskError::NoSuchLabel {
            label: example.output.clone(),
            labels: labels.iter().map(|label| label.name.clone()).collect(),
        })
    };
    let mut seen = BTreeSet::new();
    let mut tickets = Vec::new();
    for example in spec.examples.iter().chain(rows) {
        let Ok(input) = task_fields(spec, &example.input) else {
            continue;
        };
        let (ticket, label) = (ticket(0, &input), place(example)?);
        if seen.insert(identity(&spec.fields, &input)) {
            let output = example.output.clone();
            tickets.push((ticket, Example { input, output }, label));
        }
    }
    tickets.sort_by_key(|(ticket, ..)| *ticket);
    let mut turns = vec![0usize; labels.len()];
    let mut ordered: Vec<(usize, Example, usize)> = tickets
        .into_iter()
        .map(|(_, example, label)| {
            turns[label] += 1;
            (turns[label], example, label)
        })
        .collect();
    ordered.sort_by_key(|(turn, ..)| *turn);
    let rows = ordered.into_iter();
    Ok(rows.map(|(_, example, label)| (example, label)).collect())
}

/// Deals the rows of each label to the halves in turn. The label of an odd row decides which half
/// gets it, so that halves stay even over many labels.
pub(super) fn deal(rows: Vec<(Example, usize)>, label_count: usize) -> Vec<LabelledRow> {
    let mut dealt = vec![0usize; label_count];
    rows.into_iter()
        .map(|(example, label)| {
            let half = (dealt[label] + label) % 2;
            dealt[label] += 1;
            LabelledRow {
                example,
                label,
                half,
            }
        })
        .collect()
}

/// The first `shots` rows of each label in a half, in turns over the labels.
pub(super) fn examples(rows: &[LabelledRow], half: usize, shots: usize) -> Vec<Example> {
    let mut taken: Vec<(usize, usize, &Example)> = Vec::new();
    for row in rows.iter().filter(|row| row.half == half) {
        let turn = taken
            .iter()
            .filter(|(_, label, _)| *label == row.label)
            .count();
        if turn < shots {
            taken.push((turn, row.label, &row.example));
        }
    }
    // Stable: within a turn, labels stand in the order in which their rows came.
    taken.sort_by_key(|(turn, ..)| *turn);
    taken.into_iter().map(|(.., e)| e.clone()).collect()
}

/// The most rows that one label has in a half.
pub(super) fn most_of_a_label(rows: &[LabelledRow], label_count: usize) -> usize {
    let mut counts = vec![[0usize; 2]; label_count];
    for row in rows {
        counts[row.label][row.half] += 1;
    }
    counts.into_iter().flatten().max().unwrap_or(0)
}

/// Whether at least two labels have a row in each half.
pub(super) fn can_be_checked<'a>(
    rows: impl IntoIterator<Item = &'a LabelledRow>,
    label_count: usize,
) -> bool {
    let mut has = vec![[false; 2]; label_count];
    for row in rows {
        has[row.label][row.half] = true;
    }
    has.iter().filter(|halves| **halves == [true; 2]).count() >= 2
}
