//! Where a stored model lies: one GGUF file, or a folder with several files.

use std::fs;
use std::path::PathBuf;

use super::StoreError;
use super::catalog::DefaultModel;
use super::checksum::sha256;
use super::manifest::modified_ns;
use super::talk::Bar;

/// A model in the data folder.
pub(super) struct Content {
    /// The file or folder.
    pub(super) path: PathBuf,
    /// All files, in the order in which they are hashed.
    files: Vec<PathBuf>,
}

/// What can be told of a model's content without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// Bytes of all files.
    pub(super) size_bytes: u64,
    /// When the last of them was written: see [`modified_ns`].
    pub(super) modified_ns: u64,
}

impl Content {
    /// A model in one file.
    pub(super) fn file(path: PathBuf) -> Self {
        Self {
            files: vec![path.clone()],
            path,
        }
    }

    /// A default model that is a folder.
    pub(super) fn folder(path: PathBuf, model: &DefaultModel) -> Self {
        let files = model
            .files
            .iter()
            .map(|file| path.join(file.name))
            .collect();
        Self { path, files }
    }

    /// The size and time of the content, where all of it is here.
    pub(super) fn measure(&self) -> Option<Measure> {
        let mut measure = Measure {
            size_bytes: 0,
            modified_ns: 0,
        };
        for file in &self.files {
            let metadata = fs::metadata(file).ok()?;
            measure.size_bytes += metadata.len();
            measure.modified_ns = measure.modified_ns.max(modified_ns(&metadata));
        }
        Some(measure)
    }

    /// The SHA-256 of all files, one behind the other.
    pub(super) fn sha256(&self, bar: &Bar<'_>) -> Result<String, StoreError> {
        sha256(&self.files, bar)
    }
}
