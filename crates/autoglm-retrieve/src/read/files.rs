//! Files below a path, as Git sees them.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ignore::WalkBuilder;

use super::Format;

/// A file that may be a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// What it is read as.
    pub format: Format,
    /// Its bytes.
    pub size_bytes: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub modified_ns: Option<i64>,
    /// Whether the user has named it, rather than a folder around it.
    pub is_named: bool,
}

/// The files at and below a path, in the order of their names. Hidden files and what `.gitignore`
/// leaves out are left out, links are not followed. Errors name what could not be looked at.
pub fn find_files(root: &Path) -> (Vec<Found>, Vec<(PathBuf, String)>) {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    let mut walk = WalkBuilder::new(root);
    walk.require_git(false).sort_by_file_path(Ord::cmp);
    for entry in walk.build() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                errors.push((root.to_owned(), error.to_string()));
                continue;
            }
        };
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let is_named = entry.depth() == 0;
        let Some(format) = Format::of_name(entry.path()).or(is_named.then_some(Format::Plain))
        else {
            continue;
        };
        match entry.metadata() {
            Ok(facts) => found.push(Found {
                path: entry.into_path(),
                format,
                size_bytes: facts.len(),
                modified_ns: facts.modified().ok().and_then(|at| {
                    let since = at.duration_since(UNIX_EPOCH).ok()?;
                    i64::try_from(since.as_nanos()).ok()
                }),
                is_named,
            }),
            Err(error) => errors.push((entry.into_path(), error.to_string())),
        }
    }
    (found, errors)
}
