//! What models have computed of prompts, kept in the data folder while no server runs.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context;
use autoglm_engine::EngineStats;
use autoglm_spec::Generate;
use sha2::{Digest, Sha256};

use super::backend::LocalBackend;
use super::tell;
use crate::models::hexadecimal;

/// How the files' names end.
const EXTENSION: &str = "kv";

/// Files of computed prompts, one for each model.
#[derive(Debug)]
pub(crate) struct KeptPrefixes {
    folder: PathBuf,
    /// Bytes of all files together at most.
    limit_bytes: u64,
    /// Models that were loaded, each with what tells it apart from others.
    models: Mutex<Vec<(String, Weak<LocalBackend>)>>,
}

impl KeptPrefixes {
    /// In the data folder, with so many bytes for all files together.
    pub(crate) fn new(home: &Path, limit_bytes: u64) -> Self {
        Self {
            folder: home.join("prefixes"),
            limit_bytes,
            models: Mutex::default(),
        }
    }

    /// Gives a model what its file holds, if it has one, and takes note of it for
    /// [`Self::save`]. A file that is refused is removed: it would be refused each time.
    pub(crate) fn restore(&self, identity: &str, model: &Arc<LocalBackend>) {
        let path = self.path(identity);
        if path.exists() {
            let name = &model.facts().name;
            match model.0.load_prefixes(&path, identity) {
                Ok(blocks) => tell(&format!("{name}: {} are there again", positions(blocks))),
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    tell(&format!("{name}: {} is removed: {error:#}", path.display()));
                    // One that cannot be removed is refused again.
                    let _ = fs::remove_file(&path);
                }
            }
        }
        let entry = (identity.to_owned(), Arc::downgrade(model));
        self.lock().push(entry);
    }

    /// Writes the files of the models that are still there, with the same room for each. Of others'
    /// files the newest stay, as far as there is room left.
    pub(crate) fn save(&self) {
        let models = self.models();
        let share = self.limit_bytes / models.len().max(1) as u64;
        for (identity, model) in &models {
            let name = &model.facts().name;
            match self.save_one(identity, model, share) {
                Ok(blocks) => tell(&format!("{name}: {} are kept", positions(blocks))),
                Err(error) => tell(&format!("{name}: nothing is kept: {error:#}")),
            }
        }
        let written: Vec<PathBuf> = models.keys().map(|identity| self.path(identity)).collect();
        if let Err(error) = self.make_room(&written) {
            tell(&format!("cannot tidy {}: {error}", self.folder.display()));
        }
    }

    fn save_one(&self, identity: &str, model: &LocalBackend, limit: u64) -> anyhow::Result<usize> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        let path = self.path(identity);
        Ok(model.0.save_prefixes(&path, identity, limit)?)
    }

    /// The models that are still there. Of several with the same weights and settings the one that
    /// has computed most.
    fn models(&self) -> BTreeMap<String, Arc<LocalBackend>> {
        let mut fullest = BTreeMap::<String, Arc<LocalBackend>>::new();
        let blocks = |model: &Arc<LocalBackend>| model.0.stats().prefix_blocks;
        for (identity, model) in self.lock().iter() {
            let Some(model) = model.upgrade() else {
                continue;
            };
            let before = fullest.get(identity).map(blocks);
            if before.is_none_or(|before| blocks(&model) >= before) {
                fullest.insert(identity.clone(), model);
            }
        }
        fullest
    }

    /// Removes the oldest files that were not written now while all take more than is allowed.
    fn make_room(&self, written: &[PathBuf]) -> io::Result<()> {
        let mut others = Vec::new();
        let mut taken = 0;
        for entry in fs::read_dir(&self.folder)? {
            let entry: DirEntry = entry?;
            let (path, facts) = (entry.path(), entry.metadata()?);
            if written.contains(&path) {
                taken += facts.len();
            } else if path.extension().is_some_and(|end| end == EXTENSION) {
                others.push((facts.modified()?, facts.len(), path));
            }
        }
        others.sort();
        for (_, len, path) in others.into_iter().rev() {
            if taken + len > self.limit_bytes {
                fs::remove_file(path)?;
            } else {
                taken += len;
            }
        }
        Ok(())
    }

    fn path(&self, identity: &str) -> PathBuf {
        let hash = Sha256::digest(identity);
        let name = hexadecimal(&hash);
        self.folder.join(name).with_extension(EXTENSION)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, Weak<LocalBackend>)>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn positions(blocks: usize) -> String {
    let count = blocks * EngineStats::BLOCK_TOKENS;
    format!("{count} computed positions of prompts")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_files_of_others_make_room() {
        let home = tempfile::tempdir().unwrap();
        let kept = KeptPrefixes::new(home.path(), 100);
        fs::create_dir(&kept.folder).unwrap();
        let write = |name: &str, len: usize, age: u64| {
            let path = kept.folder.join(name);
            fs::write(&path, vec![0; len]).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            let time = crate::streams::now() - Duration::from_secs(age);
            file.set_modified(time).unwrap();
            path
        };
        let own = write("own.kv", 60, 50);
        let new = write("new.kv", 30, 10);
        let old = write("old.kv", 30, 20);
        let note = write("note.txt", 500, 90);
        kept.make_room(std::slice::from_ref(&own)).unwrap();
        assert!(own.exists() && new.exists() && note.exists());
        assert!(!old.exists());
    }
}
