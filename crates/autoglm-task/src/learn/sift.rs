//! What of a task's feedback takes part.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use autoglm_spec::{Record, TaskSpec};

use super::reader::identity;
use crate::TaskError;
use crate::store::{Feedback, RunId, Store};

/// Leaves out what was said of records that are held out to be measured on.
pub fn leave_out(spec: &TaskSpec, feedback: &mut Vec<Feedback>, held_out: &[Record]) {
    if held_out.is_empty() {
        return;
    }
    let of = |record: &Record| identity(&spec.fields, record);
    let held_out: BTreeSet<String> = held_out.iter().map(of).collect();
    feedback.retain(|row| !held_out.contains(&of(&row.input)));
}

/// Forgets the opinions that are not those of a model, by its name, with the judge that labelled
/// records have taught, by its hash: what others said tells nothing of how far to trust these.
///
/// # Errors
/// When the store cannot be read.
pub fn only_opinions_of(
    (model, ensemble): (&str, Option<&str>),
    feedback: &mut [Feedback],
    store: &dyn Store,
) -> Result<(), TaskError> {
    let mut known: BTreeMap<RunId, bool> = BTreeMap::new();
    for row in feedback {
        // Rows of no run have no opinion.
        let Some(run) = row.run else { continue };
        let is_theirs = match known.entry(run) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => *place.insert(is_run_of((model, ensemble), run, store)?),
        };
        if !is_theirs {
            row.opinion = None;
        }
    }
    Ok(())
}

fn is_run_of(
    (model, ensemble): (&str, Option<&str>),
    run: RunId,
    store: &dyn Store,
) -> Result<bool, TaskError> {
    match store.run(run) {
        Ok(run) => Ok(run.key.model.name == model && run.key.ensemble.as_deref() == ensemble),
        Err(TaskError::NoSuchRun { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
