//! A name's versions as the registry keeps them: enough to find each again, and to see whether it
//! is still the same.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Health, Loaded, Mode, Models, Slot, Version};
use crate::ServerError;

/// The versions of a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The content of the model that the command line named when these took their places.
    pub(super) given: String,
    /// How many there have been.
    pub(super) versions: u64,
    pub(super) live: Entry,
    pub(super) previous: Option<Entry>,
    pub(super) trial: Option<Tried>,
    pub(super) last: Option<String>,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// Where it is loaded from.
    pub(super) source: String,
    /// The hash of its files.
    pub(super) content: String,
    /// Seconds since 1970.
    pub(super) loaded: u64,
}

/// A version on trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tried {
    pub(super) version: Entry,
    pub(super) mode: Mode,
    pub(super) health: Health,
}

impl Entry {
    fn of(version: &Version) -> Self {
        Self {
            number: version.number,
            source: version.source.clone(),
            content: version.content.clone(),
            loaded: version.created(),
        }
    }

    /// The version that was loaded again for this entry.
    pub(super) fn version(&self, name: &str, loaded: Loaded) -> Version {
        let at = UNIX_EPOCH + Duration::from_secs(self.loaded);
        Version::numbered(self.number, name, &self.source, loaded, at)
    }
}

impl Slot {
    /// What is put down of it.
    pub(super) fn record(&self) -> Record {
        let trial = self.trial.as_ref().map(|trial| Tried {
            version: Entry::of(&trial.version),
            mode: trial.mode,
            health: trial.health,
        });
        Record {
            given: self.given.clone(),
            versions: self.versions,
            live: Entry::of(&self.live),
            previous: self.previous.as_deref().map(Entry::of),
            trial,
            last: self.last.clone(),
        }
    }
}

impl Models {
    /// Puts a name's versions down.
    ///
    /// # Errors
    /// A file that fails.
    pub(super) fn put_down(&self, name: &str, slot: &Slot) -> Result<(), ServerError> {
        let Some(registry) = self.registry.get() else {
            return Ok(());
        };
        let record = serde_json::to_string(&slot.record()).expect("records are plain data");
        registry.put_versions(name, &record)
    }
}
