//! Soft prompts in folders: noticed when they change.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::SoftPrompt;
use crate::TaskError;
use crate::run::hexadecimal;

impl SoftPrompt {
    /// The soft prompt in a folder as PEFT writes it.
    ///
    /// # Errors
    /// When the folder or one of its files cannot be read.
    pub fn of_folder(folder: &Path) -> Result<Self, TaskError> {
        let folder = folder
            .canonicalize()
            .map_err(|source| cannot_read(folder, source))?;
        Ok(Self {
            hash: hash(&folder)?,
            folder: folder.display().to_string(),
        })
    }
}

/// Checks that a soft prompt is what it was when its strategy was made.
///
/// # Errors
/// When it is not, or cannot be read.
pub fn check_soft_prompt(soft: &SoftPrompt) -> Result<(), TaskError> {
    let found = hash(Path::new(&soft.folder))?;
    if found == soft.hash {
        return Ok(());
    }
    Err(TaskError::SoftPromptChanged {
        folder: soft.folder.clone(),
        stored: soft.hash.clone(),
        found,
    })
}

/// The hash of the names and contents of a folder's own files, in the order of their names.
fn hash(folder: &Path) -> Result<String, TaskError> {
    let entries = std::fs::read_dir(folder).map_err(|source| cannot_read(folder, source))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| cannot_read(folder, source))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    for path in files {
        let name = path.file_name().unwrap_or_default();
        hash.update(name.as_encoded_bytes());
        hash.update([0]);
        let mut file = File::open(&path).map_err(|source| cannot_read(&path, source))?;
        io::copy(&mut file, &mut hash).map_err(|source| cannot_read(&path, source))?;
    }
    Ok(hexadecimal(&hash.finalize()))
}

fn cannot_read(path: &Path, source: io::Error) -> TaskError {
    TaskError::Read {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_changed_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
        let soft = SoftPrompt::of_folder(folder.path()).unwrap();
        check_soft_prompt(&soft).unwrap();
        std::fs::write(folder.path().join("adapter_model.safetensors"), "x").unwrap();
        let changed = check_soft_prompt(&soft).unwrap_err();
        assert!(matches!(changed, TaskError::SoftPromptChanged { .. }));
    }
}
