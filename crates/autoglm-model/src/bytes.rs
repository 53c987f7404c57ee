//! The bytes of a file: mapped, or in memory.

use std::path::Path;

use autoglm_kernel::MappedFile;

use crate::error::ModelError;

/// Where a file's bytes are.
#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(MappedFile),
    Owned(Vec<u8>),
}

impl Bytes {
    pub(crate) fn map(path: &Path) -> Result<Self, ModelError> {
        let map = MappedFile::open(path).map_err(|source| ModelError::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::Mapped(map))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }

    /// Gives the memory of a part of a mapped file back; see [`MappedFile::release`].
    pub(crate) fn release(&self, part: &[u8]) {
        if let Self::Mapped(map) = self {
            map.release(part);
        }
    }
}

/// Says in which file an error lies.
pub(crate) fn in_file(path: &Path) -> impl Fn(ModelError) -> ModelError + '_ {
    |error| ModelError::File {
        path: path.to_owned(),
        source: Box::new(error),
    }
}
