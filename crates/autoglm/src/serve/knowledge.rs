//! The collections of documents that are served, as the server asks for them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use autoglm_retrieve::RetrieveError;
use autoglm_retrieve::store::{SqliteStore, Store};
use autoglm_server::{KnowledgeDesk, ServerError};
use autoglm_spec::EmbeddingSpace;

use crate::commands::knowledge::place::Place;
use crate::commands::knowledge::{checked_name, knows_chinese};

/// Connections to a collection that are kept while nobody uses them.
const MOST_IDLE: usize = 8;

/// The collections that are served.
pub(crate) struct Collections(Vec<Served>);

struct Served {
    name: String,
    source: Source,
    idle: Mutex<Vec<Box<dyn Store>>>,
}

enum Source {
    /// A file that was given by its path.
    File(PathBuf),
    /// The collection of the name in a place.
    Place(Place),
}

impl Collections {
    /// Collections that are each given by name or by file.
    ///
    /// # Errors
    /// A collection that is not there or cannot be opened, two of the same name.
    pub(crate) fn open(given: &[String], place: &Place) -> anyhow::Result<Self> {
        let mut served: Vec<Served> = Vec::new();
        for text in given {
            let one = Served::find(text, place)
                .and_then(Served::checked)
                .with_context(|| format!("cannot serve the collection {text}"))?;
            let is_there = served.iter().any(|other| other.name == one.name);
            anyhow::ensure!(!is_there, "two collections are called {}", one.name);
            served.push(one);
        }
        Ok(Self(served))
    }
}

impl Served {
    /// A file, or a collection of a place.
    fn find(text: &str, place: &Place) -> anyhow::Result<Self> {
        let file = Path::new(text);
        let (name, source) = if file.is_file() {
            let name = file.file_stem().context("a file without a name")?;
            let name = name.to_string_lossy().into_owned();
            (name, Source::File(file.to_owned()))
        } else {
            (checked_name(text)?, Source::Place(place.clone()))
        };
        Ok(Self {
            name,
            source,
            idle: Mutex::default(),
        })
    }

    /// The same, opened once.
    fn checked(self) -> anyhow::Result<Self> {
        let store = self.open()?.with_context(|| {
            let name = &self.name;
            format!("there is no collection {name}\nhint: `autoglm index PATH --collection {name}` makes it")
        })?;
        store.about()?;
        self.give_back(store);
        Ok(self)
    }

    /// Opens the collection once more; none where it is not there.
    fn open(&self) -> Result<Option<Box<dyn Store>>, RetrieveError> {
        match &self.source {
            Source::File(path) => Ok(Some(Box::new(SqliteStore::open(path)?))),
            Source::Place(place) => place.find(&self.name),
        }
    }

    fn take(&self) -> Result<Option<Box<dyn Store>>, RetrieveError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.map_or_else(|| self.open(), |store| Ok(Some(store)))
    }

    fn give_back(&self, store: Box<dyn Store>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(store);
        }
    }
}

impl KnowledgeDesk for Collections {
    fn collections(&self) -> Vec<String> {
        self.0.iter().map(|served| served.name.clone()).collect()
    }

    fn read(
        &self,
        collection: &str,
        work: &mut dyn FnMut(&dyn Store) -> Result<(), ServerError>,
    ) -> Result<(), ServerError> {
        let missing = || ServerError::NoSuchCollection {
            name: collection.to_owned(),
        };
        let served = self.0.iter().find(|served| served.name == collection);
        let served = served.ok_or_else(missing)?;
        let taken = served.take().map_err(|source| ServerError::Knowledge {
            collection: collection.to_owned(),
            source,
        })?;
        let store = taken.ok_or_else(missing)?;
        let result = work(&*store);
        served.give_back(store);
        result
    }

    fn knows_chinese(&self, space: &EmbeddingSpace) -> bool {
        knows_chinese(Some(space))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::knowledge::path_of;

    #[test]
    fn a_collection_is_found_by_name_or_file_and_one_that_is_none_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = path_of(home.path(), "guide", "sqlite");
        let place = Place::Files(home.path().to_owned());
        drop(SqliteStore::open(&path).unwrap());
        let file = path.display().to_string();
        for given in ["guide", &file] {
            let open = Collections::open(&[given.to_owned()], &place).unwrap();
            assert_eq!(open.collections(), ["guide"]);
            let mut documents = None;
            let mut work = |store: &dyn Store| {
                documents = Some(store.about().unwrap().documents);
                Ok(())
            };
            open.read("guide", &mut work).unwrap();
            assert_eq!(documents, Some(0));
            assert!(open.read("other", &mut |_| Ok(())).is_err());
        }
        let told = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
            let error = Collections::open(&given, &place).err().unwrap();
            format!("{error:#}")
        };
        assert!(told(&["none"]).contains("there is no collection none"));
        assert!(told(&["../x"]).contains("letters"));
        assert!(told(&["guide", &file]).contains("two collections"));
    }
}
