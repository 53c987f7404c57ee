//! The labelled records in three parts: to propose from, to choose by, and untouched until the end.

use std::collections::{BTreeMap, BTreeSet};

use autoglm_spec::{Output, TaskSpec};

use crate::TaskError;
use crate::chance::Chance;
use crate::eval::Labelled;
use crate::library::identity;

/// Fewer records than this cannot be parted into thirds that say anything.
pub const LEAST_RECORDS: usize = 24;

/// The parts, about a third of the records each, with labels in the proportions of the whole; so
/// has each beginning of a part.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Examples come from here, and failures that writers of instructions are shown.
    pub propose: Vec<Labelled>,
    /// Strategies are compared on these.
    pub select: Vec<Labelled>,
    /// Whether the winner is better is told by these.
    pub untouched: Vec<Labelled>,
}

impl Split {
    /// Parts records by a seed. Records that occur twice count once, and those that stand in the
    /// task as examples not at all.
    ///
    /// # Errors
    /// When fewer than [`LEAST_RECORDS`] are left.
    pub fn of(spec: &TaskSpec, records: Vec<Labelled>, seed: u64) -> Result<Self, TaskError> {
        let records = distinct(spec, records);
        if records.len() < LEAST_RECORDS {
            return Err(TaskError::TooFewRecords {
                found: records.len(),
                wanted: LEAST_RECORDS,
            });
        }
        let [propose, select, untouched] = dealt(spec, records, seed);
        Ok(Self {
            propose,
            select,
            untouched,
        })
    }

    /// How many records each part has.
    pub fn sizes(&self) -> [usize; 3] {
        [self.propose.len(), self.select.len(), self.untouched.len()]
    }
}

fn distinct(spec: &TaskSpec, records: Vec<Labelled>) -> Vec<Labelled> {
    let examples = spec.examples.iter();
    let mut seen: BTreeSet<String> = examples.map(|e| identity(&spec.fields, &e.input)).collect();
    let mut kept = records;
    kept.retain(|labelled| seen.insert(identity(&spec.fields, &labelled.record)));
    kept
}

/// Deals the records of each label to the parts in turn. Within a part the i-th of a label's n
/// stands at (i + u)/n of the way, u random, so that each stretch has the labels in proportion.
fn dealt(spec: &TaskSpec, records: Vec<Labelled>, seed: u64) -> [Vec<Labelled>; 3] {
    let mut chance = Chance::new(seed);
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    let mut next = 0;
    for mut group in by_label(spec, records).into_values() {
        group.sort_by_key(|labelled| identity(&spec.fields, &labelled.record));
        chance.shuffle(&mut group);
        let size = group.len() as f64;
        for (turn, labelled) in group.into_iter().enumerate() {
            let within = chance.below(1 << 20) as f64 / f64::from(1 << 20);
            parts[next].push(((turn as f64 + 3.0 * within) / size, labelled));
            next = (next + 1) % 3;
        }
    }
    parts.map(|mut part| {
        part.sort_by(|a, b| a.0.total_cmp(&b.0));
        part.into_iter().map(|(_, labelled)| labelled).collect()
    })
}

fn by_label(spec: &TaskSpec, records: Vec<Labelled>) -> BTreeMap<String, Vec<Labelled>> {
    let closed = matches!(spec.output, Output::Labels { .. });
    let mut groups: BTreeMap<String, Vec<Labelled>> = BTreeMap::new();
    for labelled in records {
        let group = if closed {
            labelled.gold.clone()
        } else {
            String::new()
        };
        groups.entry(group).or_default().push(labelled);
    }
    groups
}
