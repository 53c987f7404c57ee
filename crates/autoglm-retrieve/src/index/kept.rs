//! Documents that are kept elsewhere than in files of the disk, such as the objects of a repository.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{Event, Indexer, Outcome};
use crate::RetrieveError;
use crate::passage::{Document, DocumentState};
use crate::read::{Format, Found, ReadError, read};

/// All documents that are kept in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What the paths of all of them begin with, and of no other documents.
    pub prefix: String,
    /// What is known of all of them, for filters.
    pub meta: Map<String, Value>,
    /// The documents.
    pub documents: Vec<KeptDocument>,
}

/// A document that is kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptDocument {
    /// Its path, the prefix included.
    pub path: String,
    /// What it is read as.
    pub format: Format,
    /// Its bytes.
    pub size_bytes: u64,
    /// What changes when its bytes do.
    pub mark: [u8; 32],
}

/// Gives the bytes of a document.
type Fetch<'a> = dyn FnMut(&KeptDocument) -> Result<Vec<u8>, ReadError> + 'a;

impl Indexer<'_> {
    /// Brings the store up to date with documents that are kept elsewhere: reads those whose mark is not
    /// the one in the store, and removes those of the prefix that are gone.
    ///
    /// # Errors
    /// As for [`Indexer::run`].
    pub fn run_kept(
        &mut self,
        kept: &Kept,
        fetch: &mut Fetch<'_>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, RetrieveError> {
        self.agree_on_space()?;
        let mut outcome = Outcome::default();
        let (mut changed, mut files): (Vec<&KeptDocument>, Vec<(Found, bool)>) = Default::default();
        for document in &kept.documents {
            match self.store.state(&document.path)? {
                Some(state) if state.hash == self.stamped(document.mark) => outcome.unchanged += 1,
                state => {
                    changed.push(document);
                    files.push((as_found(document), state.is_some()));
                }
            }
        }
        on_event(Event::Planned {
            files: files.len(),
            bytes: files.iter().map(|(file, _)| file.size_bytes).sum(),
        });
        let read = &mut |indexer: &mut Indexer<'_>, place: usize, outcome: &mut Outcome| {
            let document: &KeptDocument = changed[place];
            match indexer.kept_document(kept, document, fetch, outcome) {
                // What does not answer has not gone.
                Err(ReadError::Io { source }) => Err(RetrieveError::Read {
                    path: document.path.clone(),
                    source,
                }),
                read => Ok(read.map(Some)),
            }
        };
        outcome.cancelled = !self.take(&files, read, &mut outcome, on_event)?;
        let there: BTreeSet<&str> = kept.documents.iter().map(|d| d.path.as_str()).collect();
        for known in self.store.documents()? {
            if known.path.starts_with(&kept.prefix) && !there.contains(known.path.as_str()) {
                outcome.removed += usize::from(self.store.remove_document(&known.path)?);
            }
        }
        if !outcome.cancelled && outcome.added + outcome.changed + outcome.removed > 0 {
            self.store.tidy()?;
        }
        Ok(outcome)
    }

    fn kept_document(
        &self,
        kept: &Kept,
        document: &KeptDocument,
        fetch: &mut Fetch<'_>,
        outcome: &mut Outcome,
    ) -> Result<Document, ReadError> {
        if document.size_bytes > self.limits.file_bytes {
            return Err(ReadError::TooLarge {
                what: "bytes",
                given: document.size_bytes,
                limit: self.limits.file_bytes,
            });
        }
        let extracted = read(&fetch(document)?, document.format, &self.limits)?;
        let state = DocumentState {
            hash: self.stamped(document.mark),
            size_bytes: document.size_bytes,
            modified_ns: None,
        };
        let mut cut = self.cut(&document.path, state, document.format, &extracted, outcome);
        for passage in &mut cut.passages {
            passage.meta.extend(kept.meta.clone());
        }
        Ok(cut)
    }
}

fn as_found(document: &KeptDocument) -> Found {
    Found {
        path: PathBuf::from(&document.path),
        format: document.format,
        size_bytes: document.size_bytes,
        modified_ns: None,
        is_named: false,
    }
}
