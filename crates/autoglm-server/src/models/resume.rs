//! Going on with the versions that were live when the server ended.
//!
//! A version comes back only where its files are what they were: the content is compared, not the
//! path. One that is not is refused and told, and what the command line names stays.

use std::sync::Arc;

use super::record::{Entry, Record};
use super::{Loaded, Loader, Models, Slot, Trial, Version, still_answers};
use crate::ServerError;
use crate::store::ServerStore;

/// One name that is resumed.
struct Resumed<'r> {
    name: &'r str,
    loader: &'r Loader,
    /// The version that the command line names.
    given: Arc<Version>,
    remarks: Vec<String>,
}

impl Models {
    /// Goes on with what the registry has of each name, and puts changes down there from now on.
    /// Says what a user should know. Blocks while models are loaded.
    ///
    /// # Errors
    /// A registry that cannot be read.
    pub(crate) fn resume(
        &self,
        registry: &Arc<ServerStore>,
        loader: &Loader,
    ) -> Result<Vec<String>, ServerError> {
        let mut remarks = Vec::new();
        for given in self.live() {
            if let Some(text) = registry.versions(&given.name)? {
                let name = given.name.clone();
                let mut resumed = Resumed {
                    name: &name,
                    loader,
                    given,
                    remarks: Vec::new(),
                };
                if let Some(slot) = resumed.slot(&text) {
                    self.lock().insert(name.clone(), slot);
                }
                remarks.extend(resumed.remarks);
            }
        }
        // A second call would come from a second start, which there is not.
        let _ = self.registry.set(Arc::clone(registry));
        Ok(remarks)
    }
}

impl Resumed<'_> {
    /// The versions of the name, where the live one is there again.
    fn slot(&mut self, text: &str) -> Option<Slot> {
        let Ok(record) = serde_json::from_str::<Record>(text) else {
            self.remark("its versions on record cannot be read");
            return None;
        };
        let is_given = record.live.content == self.given.content;
        if record.given != self.given.content && !is_given {
            self.remark(&format!(
                "another model is given than the one whose place version {} took; {} is served",
                record.live.number, self.given.source
            ));
            return None;
        }
        let Some(live) = self.version(&record.live) else {
            self.remark(&format!("{} stays", self.given.source));
            return Some(self.given_alone(&record));
        };
        if !is_given {
            self.remark(&format!("version {} goes on", live.number));
        }
        let previous = record.previous.as_ref();
        let previous = previous.and_then(|entry| self.version(entry));
        let trial = record.trial.as_ref().and_then(|tried| {
            let version = self.version(&tried.version)?;
            self.remark(&format!("the trial of version {} goes on", version.number));
            Some(Arc::new(Trial::new(version, tried.mode, tried.health)))
        });
        Some(Slot {
            given: self.given.content.clone(),
            live,
            previous,
            trial,
            versions: record.versions,
            last: record.last,
            changes: 0,
        })
    }

    /// What the command line names, with numbers that no version has had.
    fn given_alone(&self, record: &Record) -> Slot {
        Slot {
            given: self.given.content.clone(),
            live: Arc::clone(&self.given),
            previous: None,
            trial: None,
            versions: record.versions,
            last: self.remarks.last().cloned(),
            changes: 0,
        }
    }

    /// The version of an entry, loaded again where it is not the one that is given.
    fn version(&mut self, entry: &Entry) -> Option<Arc<Version>> {
        if entry.content == self.given.content {
            let loaded = Loaded {
                identity: self.given.identity.clone(),
                content: self.given.content.clone(),
                skill: self.given.skill.clone(),
            };
            return Some(Arc::new(entry.version(self.name, loaded)));
        }
        match self.load(entry) {
            Ok(loaded) => Some(Arc::new(entry.version(self.name, loaded))),
            Err(why) => {
                let (number, source) = (entry.number, &entry.source);
                self.remark(&format!("version {number} ({source}) is refused: {why}"));
                None
            }
        }
    }

    fn load(&self, entry: &Entry) -> Result<Loaded, String> {
        let loaded = (self.loader)(&entry.source).map_err(|error| error.to_string())?;
        if loaded.content != entry.content {
            return Err("its files are not what they were when it was examined".to_owned());
        }
        // Settings may be others now; how far it is from the given one was judged when it came.
        still_answers(&loaded.skill, &self.given.skill).map_err(|error| error.to_string())?;
        Ok(loaded)
    }

    fn remark(&mut self, what: &str) {
        self.remarks.push(format!("{}: {what}", self.name));
    }
}
