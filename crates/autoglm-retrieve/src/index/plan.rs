//! What must be done for a store to be up to date.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Broken, path_of};
use crate::RetrieveError;
use crate::read::{Found, find_files};
use crate::store::Store;

/// What must be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Files to read, and whether the store has them.
    pub(super) files: Vec<(Found, bool)>,
    /// Files that look as they did.
    pub(super) unchanged: usize,
    /// Documents whose files are gone.
    pub(super) gone: Vec<String>,
    /// What could not be looked at.
    pub(super) broken: Vec<Broken>,
}

/// Looks at the files at and below some paths. Those that were read in another `way` are read again.
pub(super) fn plan(
    store: &dyn Store,
    roots: &[&Path],
    way: [u8; 4],
) -> Result<Plan, RetrieveError> {
    let mut plan = Plan::default();
    let known: BTreeSet<String> = store.documents()?.into_iter().map(|d| d.path).collect();
    let mut seen = BTreeSet::new();
    for root in roots {
        let below = |path: &&String| Path::new(path.as_str()).starts_with(root);
        let exists = std::fs::metadata(root);
        let (files, errors) = match exists {
            Ok(_) => find_files(root),
            Err(_) if known.iter().any(|path| below(&path)) => Default::default(),
            Err(source) => {
                return Err(RetrieveError::NoSuchPath {
                    path: root.display().to_string(),
                    source,
                });
            }
        };
        let cannot_look: Vec<_> = errors.iter().map(|(path, _)| path.clone()).collect();
        plan.broken
            .extend(errors.into_iter().map(|(path, reason)| Broken {
                path: path.display().to_string(),
                reason,
                in_part: false,
            }));
        for file in files {
            if seen.insert(path_of(&file)) {
                sort_in(&mut plan, store, file, way)?;
            }
        }
        // What could not be looked at may still be there.
        let hidden = |path: &&String| {
            cannot_look
                .iter()
                .any(|folder| Path::new(path.as_str()).starts_with(folder))
        };
        let gone = known
            .iter()
            .filter(below)
            .filter(|path| !seen.contains(*path) && !hidden(path));
        plan.gone.extend(gone.cloned());
    }
    plan.gone.sort();
    plan.gone.dedup();
    Ok(plan)
}

fn sort_in(
    plan: &mut Plan,
    store: &dyn Store,
    file: Found,
    way: [u8; 4],
) -> Result<(), RetrieveError> {
    let state = store.state(&path_of(&file))?;
    let looks_the_same = state.as_ref().is_some_and(|state| {
        state.hash.starts_with(&way)
            && state.size_bytes == file.size_bytes
            && state.modified_ns.is_some()
            && state.modified_ns == file.modified_ns
    });
    if looks_the_same {
        plan.unchanged += 1;
    } else {
        plan.files.push((file, state.is_some()));
    }
    Ok(())
}
