//! Files of records that are read as a whole.

use std::path::Path;

use anyhow::Context;
use autoglm_spec::{Record, TaskSpec};

use crate::streams::OpenInput;

/// The records of a file that can be read.
///
/// # Errors
/// A file that cannot be opened or read to its end.
pub(crate) fn readable(path: &Path, spec: &TaskSpec) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for item in OpenInput::of_file(path, &spec.fields)?.records {
        match item {
            Ok(numbered) => records.push(numbered.record),
            Err(error) if error.is_fatal() => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
            Err(_) => {}
        }
    }
    Ok(records)
}
