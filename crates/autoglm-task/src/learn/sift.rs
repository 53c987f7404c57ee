//! What of a task's feedback takes part.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use autoglm_spec::{Record, TaskSpec};

use crate::TaskError;
use crate::library::identity;
use crate::store::{EvaluationStore, Feedback, RunId, RunKind, Store};

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
pub fn only_opinions_of<S: Store + ?Sized>(
    (model, ensemble): (&str, Option<&str>),
    feedback: &mut [Feedback],
    store: &S,
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

/// Forgets the opinions that are not those of the model and judge of the task's latest run that
/// measured nothing: what answers now.
///
/// # Errors
/// When the store cannot be read.
pub fn only_present_opinions<S: Store + EvaluationStore + ?Sized>(
    task: &str,
    feedback: &mut [Feedback],
    store: &S,
) -> Result<(), TaskError> {
    let Some(present) = store.latest_run(task, RunKind::Answering)? else {
        return Ok(());
    };
    let (model, ensemble) = (&present.key.model.name, &present.key.ensemble);
    only_opinions_of((model, ensemble.as_deref()), feedback, store)
}

fn is_run_of<S: Store + ?Sized>(
    (model, ensemble): (&str, Option<&str>),
    run: RunId,
    store: &S,
) -> Result<bool, TaskError> {
    match store.run(run) {
        Ok(run) => Ok(run.key.model.name == model && run.key.ensemble.as_deref() == ensemble),
        Err(TaskError::NoSuchRun { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
