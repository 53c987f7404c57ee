//! Whether stored models are what they should be: quickly at every use, fully on request.

use std::fs;

use super::catalog::{DEFAULTS, DefaultModel, default_named};
use super::content::Content;
use super::content::Measure;
use super::manifest::Manifest;
use super::{ModelStore, Need, StoreError};

/// How a model stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is not here.
    Missing,
    /// It is here, and nothing was recorded that it could be compared with.
    Unrecorded,
    /// It is here and what it was when its SHA-256 was found right.
    Sound,
    /// It is here and not what it was.
    Damaged {
        /// The size or SHA-256 of the file.
        found: String,
        /// The size or SHA-256 that is wanted.
        wanted: String,
    },
}

/// A model that is stored or could be fetched.
#[derive(Debug)]
pub struct StoredModel {
    /// Its name.
    pub name: String,
    /// Its size, or the size that it will have.
    pub size_bytes: u64,
    /// Its licence, where that is known.
    pub licence: Option<String>,
    /// Where it is from, in words.
    pub source: String,
    /// How it stands, as far as can be told without reading it.
    pub standing: Standing,
    /// The kind of answer that it is the default for.
    pub default_for: Option<Need>,
}

impl ModelStore {
    /// All models that are stored, and the defaults whether they are or not, by name.
    pub fn list(&self) -> Result<Vec<StoredModel>, StoreError> {
        let names = self.names()?;
        Ok(names.iter().map(|name| self.describe(name)).collect())
    }

    /// Reads a whole model and compares its SHA-256 with the one on record.
    pub fn verify(&self, name: &str) -> Result<Standing, StoreError> {
        self.check(name, &self.content(name), self.wanted_sha256(name))
    }

    /// Reads the content of a model, where it is here and its SHA-256 is known.
    fn check(
        &self,
        name: &str,
        content: &Content,
        wanted: Option<String>,
    ) -> Result<Standing, StoreError> {
        let (Some(measure), Some(wanted)) = (content.measure(), wanted) else {
            return Ok(match self.glance(name, content) {
                Glance::Told(standing) => standing,
                Glance::Touched => Standing::Unrecorded,
            });
        };
        let bar = self
            .talk
            .bar(&format!("checking {name}"), measure.size_bytes);
        let found = content.sha256(&bar)?;
        let sound = found == wanted;
        // A damaged file must not pass for sound because its size and time are unchanged.
        self.note_check(name, measure, sound)?;
        if sound {
            return Ok(Standing::Sound);
        }
        Ok(Standing::Damaged {
            found: format!("SHA-256 {found}"),
            wanted,
        })
    }

    /// The names of all models that are stored, and of the defaults.
    pub(super) fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut names: Vec<String> = DEFAULTS.iter().map(|m| m.name.to_owned()).collect();
        match fs::read_dir(&self.folder) {
            Ok(entries) => names.extend(entries.flatten().filter_map(|entry| {
                let name = entry.file_name();
                Some(name.to_str()?.strip_suffix(".gguf")?.to_owned())
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("list", &self.folder)(error)),
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// How a model stands, by size and time where those suffice; a file that was touched is
    /// hashed.
    pub(super) fn standing(&self, name: &str) -> Result<Standing, StoreError> {
        match self.glance(name, &self.content(name)) {
            Glance::Told(standing) => Ok(standing),
            Glance::Touched => self.verify(name),
        }
    }

    /// How a default model stands, whose SHA-256 is known without a record.
    pub(super) fn default_standing(&self, model: &DefaultModel) -> Result<Standing, StoreError> {
        let content = self.content_of(model);
        let standing = match self.glance(model.name, &content) {
            Glance::Told(standing) => standing,
            Glance::Touched => self.check(model.name, &content, Some(model.sha256.to_owned()))?,
        };
        let recorded = Manifest::read(&self.manifest_file(model.name)).map(|m| m.sha256);
        match standing {
            Standing::Sound if recorded.as_deref() != Some(model.sha256) => Ok(Standing::Damaged {
                found: format!("SHA-256 {}", recorded.unwrap_or_default()),
                wanted: model.sha256.to_owned(),
            }),
            Standing::Unrecorded => self.adopt(model),
            other => Ok(other),
        }
    }

    /// Records a default model's file that someone else has put here, if it is the right one.
    fn adopt(&self, model: &DefaultModel) -> Result<Standing, StoreError> {
        let content = self.content_of(model);
        let bar = self
            .talk
            .bar(&format!("checking {}", model.name), model.size_bytes);
        let found = content.sha256(&bar)?;
        if found == model.sha256 {
            self.record_default(model)?;
            return Ok(Standing::Sound);
        }
        Ok(Standing::Damaged {
            found: format!("SHA-256 {found}"),
            wanted: model.sha256.to_owned(),
        })
    }

    /// What can be told of a model without reading it.
    fn glance(&self, name: &str, content: &Content) -> Glance {
        let Some(measure) = content.measure() else {
            return Glance::Told(Standing::Missing);
        };
        let Some(manifest) = Manifest::read(&self.manifest_file(name)) else {
            return Glance::Told(Standing::Unrecorded);
        };
        if measure.size_bytes != manifest.size_bytes {
            return Glance::Told(Standing::Damaged {
                found: format!("{} bytes", measure.size_bytes),
                wanted: format!("{} bytes", manifest.size_bytes),
            });
        }
        if manifest.modified_ns != 0 && manifest.modified_ns == measure.modified_ns {
            return Glance::Told(Standing::Sound);
        }
        Glance::Touched
    }

    fn wanted_sha256(&self, name: &str) -> Option<String> {
        match default_named(name) {
            Some(model) => Some(model.sha256.to_owned()),
            None => Some(Manifest::read(&self.manifest_file(name))?.sha256),
        }
    }

    fn note_check(&self, name: &str, measure: Measure, sound: bool) -> Result<(), StoreError> {
        let path = self.manifest_file(name);
        match (Manifest::read(&path), default_named(name)) {
            (Some(mut manifest), _) => {
                manifest.modified_ns = if sound { measure.modified_ns } else { 0 };
                manifest.write(&path)
            }
            (None, Some(model)) if sound => self.record_default(model),
            (None, _) => Ok(()),
        }
    }

    fn describe(&self, name: &str) -> StoredModel {
        let manifest = Manifest::read(&self.manifest_file(name));
        let default = default_named(name);
        let size = self
            .content(name)
            .measure()
            .map(|measure| measure.size_bytes);
        let licence = manifest.as_ref().and_then(|m| m.licence.clone());
        let source = match (&manifest, default) {
            (Some(manifest), _) => manifest.source.to_string(),
            (None, Some(model)) => format!("package {}", model.packages[0].requirement()),
            (None, None) => "unknown".to_owned(),
        };
        StoredModel {
            name: name.to_owned(),
            size_bytes: size.or(default.map(|m| m.size_bytes)).unwrap_or(0),
            licence: licence.or(default.map(|m| m.licence.to_owned())),
            source,
            standing: match self.glance(name, &self.content(name)) {
                Glance::Told(standing) => standing,
                Glance::Touched => Standing::Unrecorded,
            },
            default_for: default.map(|m| m.need),
        }
    }
}

/// What can be told without reading a file.
enum Glance {
    Told(Standing),
    /// The file was written since it was hashed.
    Touched,
}
