//! What is recorded of a stored model: a small JSON file beside it.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::StoreError;

/// What is known of a stored model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Where it is from.
    pub source: Source,
    /// SHA-256 of the file when it was last hashed, in hexadecimal.
    pub sha256: String,
    /// The file's size.
    pub size_bytes: u64,
    /// When the file was last written, as far as was seen when it was last hashed: nanoseconds
    /// since 1970. A file that shows another time is hashed again before it is used; 0 never
    /// matches.
    pub modified_ns: u64,
    /// The licence, where the source states one.
    pub licence: Option<String>,
}

/// Where a model is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source {
    /// Packages of the Python package index.
    Packages {
        /// The packages with their versions.
        requirements: Vec<String>,
    },
    /// A model hub.
    Hub {
        /// The repository, `owner/name`.
        repository: String,
        /// The file in it.
        file: String,
        /// The commit of the repository.
        commit: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages { requirements } => match requirements.as_slice() {
                [one] => write!(f, "package {one}"),
                [first, ..] => write!(f, "package {first} and {} more", requirements.len() - 1),
                [] => f.write_str("packages"),
            },
            Self::Hub { repository, .. } => write!(f, "hub {repository}"),
        }
    }
}

impl Manifest {
    /// Reads a manifest, or nothing where there is none that can be understood: the model is then
    /// hashed anew.
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Writes the manifest in place of the one before.
    pub fn write(&self, path: &Path) -> Result<(), StoreError> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|source| StoreError::Manifest {
            path: path.to_owned(),
            source,
        })?;
        json.push(b'\n');
        let partial = path.with_extension(format!("json.{}", std::process::id()));
        let write = || {
            let mut file = fs::File::create(&partial)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&partial, path)
        };
        write().map_err(StoreError::io("write", path))
    }
}

/// When a file was last written: nanoseconds since 1970, and 0 where that is not known.
pub fn modified_ns(metadata: &fs::Metadata) -> u64 {
    metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|age| u64::try_from(age.as_nanos()).ok())
        .unwrap_or(0)
}
