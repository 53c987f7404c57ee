//! Brings a collection up to date with files and folders.

mod kept;
mod plan;
#[cfg(test)]
mod tests;

use std::path::Path;

use autoglm_spec::{Cancel, Embed, EngineError};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::RetrieveError;
use crate::chunk::{ChunkSettings, CountTokens, chunk};
use crate::passage::{Document, DocumentState};
use crate::read::{Extracted, Format, Found, Limits, ReadError, read};
use crate::store::{Store, VectorKey};
use crate::text::TextLanguage;
pub use kept::{Kept, KeptDocument};
use plan::plan;

/// Passages whose vectors are made together, and then kept together.
const BATCH_PASSAGES: usize = 256;

/// A file written so shortly before it was looked at may be written once more within the resolution
/// of its time; its bytes are looked at again the next time.
const RECENT_NS: i64 = 2_000_000_000;

/// Raised whenever the same bytes are read or cut in another way, so that documents are read again.
const READING: u32 = 1;

/// Brings a store up to date.
pub struct Indexer<'a> {
    /// The collection.
    pub store: &'a mut dyn Store,
    /// What makes vectors of passages; none for search by words alone.
    pub embed: Option<&'a dyn Embed>,
    /// Whether its vectors say something of Chinese; Chinese passages have none otherwise.
    pub vectors_know_chinese: bool,
    /// How tokens are counted.
    pub tokens: &'a dyn CountTokens,
    /// How large passages are.
    pub chunks: ChunkSettings,
    /// What files may ask for.
    pub limits: Limits,
    /// The time, in nanoseconds since 1970.
    pub now_ns: i64,
    /// Stops the work; what was done until then stays.
    pub cancel: &'a Cancel,
}

/// What happens while a store is brought up to date.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// Files were looked for.
    Planned {
        /// Files that must be read.
        files: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// A file was read.
    Read {
        /// Its path.
        path: &'a str,
        /// Its bytes.
        bytes: u64,
        /// Its passages.
        passages: usize,
    },
    /// Vectors were made of so many passages.
    Embedded {
        /// Passages.
        passages: usize,
    },
    /// Something could not be read.
    Broken(&'a Broken),
}

/// A file that could not be read, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Its path.
    pub path: String,
    /// What is wrong.
    pub reason: String,
    /// Whether the rest of it was read.
    pub in_part: bool,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Documents that were not there before.
    pub added: usize,
    /// Documents that were there in another form.
    pub changed: usize,
    /// Documents that are as they were.
    pub unchanged: usize,
    /// Documents whose files are gone.
    pub removed: usize,
    /// Passages that were written.
    pub passages: usize,
    /// Vectors that were made; others were there.
    pub embedded: usize,
    /// What could not be read.
    pub broken: Vec<Broken>,
    /// Whether the work was stopped before its end.
    pub cancelled: bool,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.removed += other.removed;
        self.passages += other.passages;
        self.embedded += other.embedded;
        self.broken.extend(other.broken);
        self.cancelled |= other.cancelled;
    }
}

/// Reads a file by its place in a list, for an outcome; nothing where it is as it was.
type ReadFile<'a> = dyn FnMut(
        &mut Indexer<'_>,
        usize,
        &mut Outcome,
    ) -> Result<Result<Option<Document>, ReadError>, RetrieveError>
    + 'a;

impl Indexer<'_> {
    /// Brings the store up to date with all files at and below some paths: reads what is new or has
    /// changed, and removes what is gone.
    ///
    /// # Errors
    /// A path that is neither there nor indexed, a store that fails, an engine that fails for all
    /// texts or is of another space than the store's vectors.
    pub fn run(
        &mut self,
        roots: &[&Path],
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, RetrieveError> {
        self.agree_on_space()?;
        let mut outcome = Outcome::default();
        let plan = plan(self.store, roots, self.way())?;
        outcome.unchanged = plan.unchanged;
        for broken in &plan.broken {
            on_event(Event::Broken(broken));
        }
        outcome.broken.extend(plan.broken.iter().cloned());
        on_event(Event::Planned {
            files: plan.files.len(),
            bytes: plan.files.iter().map(|(file, _)| file.size_bytes).sum(),
        });
        let read = &mut |indexer: &mut Indexer<'_>, place: usize, outcome: &mut Outcome| {
            indexer.document(&plan.files[place].0, outcome)
        };
        let cancelled = !self.take(&plan.files, read, &mut outcome, on_event)?;
        for path in &plan.gone {
            outcome.removed += usize::from(self.store.remove_document(path)?);
        }
        outcome.cancelled = cancelled;
        if !cancelled && outcome.added + outcome.changed + outcome.removed > 0 {
            self.store.tidy()?;
        }
        Ok(outcome)
    }

    /// Four bytes that are others where documents are read or cut in another way.
    fn way(&self) -> [u8; 4] {
        let way = Sha256::digest(format!("{READING} {}", self.chunks.max_tokens));
        [way[0], way[1], way[2], way[3]]
    }

    /// A hash of content that also tells how the content was read, in its first bytes.
    fn stamped(&self, mut hash: [u8; 32]) -> [u8; 32] {
        hash[..4].copy_from_slice(&self.way());
        hash
    }

    fn agree_on_space(&mut self) -> Result<(), RetrieveError> {
        let found = self.store.space()?;
        match (found, self.embed.map(Embed::space)) {
            (Some(found), Some(wanted)) if found != *wanted => Err(RetrieveError::Space {
                found: found.name,
                wanted: wanted.name.clone(),
            }),
            (None, Some(wanted)) => self.store.set_space(Some(wanted)),
            _ => Ok(()),
        }
    }

    /// Reads files and writes them; `false` where that was stopped.
    fn take(
        &mut self,
        files: &[(Found, bool)],
        read: &mut ReadFile<'_>,
        outcome: &mut Outcome,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, RetrieveError> {
        let mut waiting: Vec<(Document, bool)> = Vec::new();
        let mut passages = 0;
        for (place, (file, is_known)) in files.iter().enumerate() {
            if self.cancel.is_cancelled() {
                return Ok(false);
            }
            let told = outcome.broken.len();
            match read(self, place, outcome)? {
                Ok(Some(document)) => {
                    on_event(Event::Read {
                        path: &document.path,
                        bytes: file.size_bytes,
                        passages: document.passages.len(),
                    });
                    passages += document.passages.len();
                    waiting.push((document, *is_known));
                }
                Ok(None) => outcome.unchanged += 1,
                Err(error) => self.give_up(file, &error, *is_known, outcome)?,
            }
            for broken in &outcome.broken[told..] {
                on_event(Event::Broken(broken));
            }
            if passages >= BATCH_PASSAGES {
                if !self.write(&mut waiting, outcome, on_event)? {
                    return Ok(false);
                }
                passages = 0;
            }
        }
        self.write(&mut waiting, outcome, on_event)
    }

    /// A file that cannot be read is no document any more, whatever it was before.
    fn give_up(
        &mut self,
        file: &Found,
        error: &ReadError,
        is_known: bool,
        outcome: &mut Outcome,
    ) -> Result<(), RetrieveError> {
        let path = path_of(file);
        if is_known {
            outcome.removed += usize::from(self.store.remove_document(&path)?);
        }
        // Of a folder's files, those that are no text were never meant.
        if matches!(error, ReadError::Unknown) && !file.is_named {
            return Ok(());
        }
        let reason = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        outcome.broken.push(Broken {
            path,
            reason,
            in_part: false,
        });
        Ok(())
    }

    /// The document of a file; none where its bytes are those of the one that is there.
    fn document(
        &mut self,
        file: &Found,
        outcome: &mut Outcome,
    ) -> Result<Result<Option<Document>, ReadError>, RetrieveError> {
        if file.size_bytes > self.limits.file_bytes {
            return Ok(Err(ReadError::TooLarge {
                what: "bytes",
                given: file.size_bytes,
                limit: self.limits.file_bytes,
            }));
        }
        let bytes = match std::fs::read(&file.path) {
            Ok(bytes) => bytes,
            Err(source) => return Ok(Err(ReadError::Io { source })),
        };
        let path = path_of(file);
        let state = DocumentState {
            hash: self.stamped(Sha256::digest(&bytes).into()),
            size_bytes: file.size_bytes,
            modified_ns: file.modified_ns.filter(|at| self.now_ns - at > RECENT_NS),
        };
        if self
            .store
            .state(&path)?
            .is_some_and(|known| known.hash == state.hash)
        {
            self.store.touch(&path, state.modified_ns)?;
            return Ok(Ok(None));
        }
        match read(&bytes, file.format, &self.limits) {
            Ok(extracted) => Ok(Ok(Some(self.cut(
                &path,
                state,
                file.format,
                &extracted,
                outcome,
            )))),
            Err(error) => Ok(Err(error)),
        }
    }

    /// The document of a text, with what could not be read in it.
    fn cut(
        &self,
        path: &str,
        state: DocumentState,
        format: Format,
        extracted: &Extracted,
        outcome: &mut Outcome,
    ) -> Document {
        let remarks = extracted.remarks.iter().map(|reason| Broken {
            path: path.to_owned(),
            reason: reason.clone(),
            in_part: true,
        });
        outcome.broken.extend(remarks);
        Document {
            passages: chunk(extracted, self.tokens, self.chunks),
            format: format.name().to_owned(),
            path: path.to_owned(),
            state,
        }
    }

    /// Puts a document that is no file, under a name in place of a path.
    ///
    /// # Errors
    /// As for [`Indexer::run`].
    pub fn put(
        &mut self,
        name: &str,
        bytes: &[u8],
        format: Format,
    ) -> Result<Outcome, RetrieveError> {
        self.agree_on_space()?;
        let mut outcome = Outcome::default();
        let is_known = self.store.state(name)?.is_some();
        let state = DocumentState {
            hash: self.stamped(Sha256::digest(bytes).into()),
            size_bytes: bytes.len() as u64,
            modified_ns: None,
        };
        match read(bytes, format, &self.limits) {
            Ok(extracted) => {
                let document = self.cut(name, state, format, &extracted, &mut outcome);
                let done =
                    self.write(&mut vec![(document, is_known)], &mut outcome, &mut |_| {})?;
                outcome.cancelled = !done;
            }
            Err(error) => outcome.broken.push(Broken {
                path: name.to_owned(),
                reason: error.to_string(),
                in_part: false,
            }),
        }
        Ok(outcome)
    }

    /// Makes the vectors that are missing and writes documents; `false` where that was stopped.
    fn write(
        &mut self,
        waiting: &mut Vec<(Document, bool)>,
        outcome: &mut Outcome,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, RetrieveError> {
        if !self.embed_missing(waiting, outcome, on_event)? {
            return Ok(false);
        }
        for (document, is_known) in waiting.drain(..) {
            self.store.put_document(&document)?;
            outcome.passages += document.passages.len();
            outcome.changed += usize::from(is_known);
            outcome.added += usize::from(!is_known);
        }
        Ok(true)
    }

    /// Makes vectors, some at a time; each lot is kept before the next, so that a run that is killed
    /// goes on where it was.
    fn embed_missing(
        &mut self,
        waiting: &[(Document, bool)],
        outcome: &mut Outcome,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, RetrieveError> {
        let Some(embed) = self.embed else {
            return Ok(true);
        };
        let texts: Vec<String> = waiting
            .iter()
            .flat_map(|(document, _)| &document.passages)
            .filter(|passage| {
                self.vectors_know_chinese || passage.language != TextLanguage::Chinese
            })
            .map(crate::passage::Passage::with_titles)
            .collect();
        for lot in texts.chunks(BATCH_PASSAGES) {
            let keys: Vec<VectorKey> = lot.iter().map(|text| VectorKey::of(text)).collect();
            let known = self.store.has_vectors(&keys)?;
            let missing = lot.iter().zip(&keys).zip(known).filter(|(_, known)| !known);
            let (texts, keys): (Vec<&str>, Vec<VectorKey>) = missing
                .map(|((text, key), _)| (text.as_str(), *key))
                .unzip();
            let Some(vectors) = vectors(embed, &texts, &keys, self.cancel)? else {
                return Ok(false);
            };
            self.store.put_vectors(&vectors)?;
            outcome.embedded += vectors.len();
            on_event(Event::Embedded {
                passages: lot.len(),
            });
        }
        Ok(true)
    }
}

/// Vectors with what each was made of.
type Keyed = Vec<(VectorKey, Vec<f32>)>;

/// Vectors of texts; none where that was stopped.
fn vectors(
    embed: &dyn Embed,
    texts: &[&str],
    keys: &[VectorKey],
    cancel: &Cancel,
) -> Result<Option<Keyed>, RetrieveError> {
    let embedded = embed.embed(texts, cancel);
    if embedded.len() != texts.len() {
        return Err(RetrieveError::ResultCount {
            given: embedded.len(),
            wanted: texts.len(),
        });
    }
    let mut vectors = Vec::with_capacity(texts.len());
    for (embedding, key) in embedded.into_iter().zip(keys) {
        match embedding {
            Ok(embedding) => vectors.push((*key, embedding.vector)),
            Err(EngineError::Cancelled) => return Ok(None),
            Err(source) => return Err(source.into()),
        }
    }
    Ok(Some(vectors))
}

fn path_of(file: &Found) -> String {
    file.path.to_string_lossy().into_owned()
}
