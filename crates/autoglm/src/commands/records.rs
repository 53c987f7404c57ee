//! Files of records that are read as a whole.

use std::path::Path;

use anyhow::Context;
use autoglm_spec::{Record, TaskSpec};
use autoglm_task::records::{NumberedRecord, RecordError};

use crate::streams::OpenInput;

/// The records of a file, each with its line or why it cannot be read.
///
/// # Errors
/// A file that cannot be opened or read to its end.
pub(crate) fn read_all(
    path: &Path,
    spec: &TaskSpec,
) -> anyhow::Result<Vec<Result<NumberedRecord, RecordError>>> {
    let mut items = Vec::new();
    for item in OpenInput::of_file(path, &spec.fields)?.records {
        match item {
            Err(error) if error.is_fatal() => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
            item => items.push(item),
        }
    }
    Ok(items)
}

/// The records of a file that can be read.
///
/// # Errors
/// As for [`read_all`].
pub(crate) fn readable(path: &Path, spec: &TaskSpec) -> anyhow::Result<Vec<Record>> {
    let items = read_all(path, spec)?.into_iter().flatten();
    Ok(items.map(|numbered| numbered.record).collect())
}
