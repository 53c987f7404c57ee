//! A collection in one SQLite file.

mod dense;
mod lexical;
mod read;
mod signs;
#[cfg(test)]
mod tests;
mod write;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use autoglm_spec::EmbeddingSpace;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::telling::RANKED_PASSAGES;
use super::{About, Filter, Hit, Listed, Store, VectorKey};
use crate::RetrieveError;
use crate::passage::{Document, DocumentState, Passage, PassageId};
use dense::{EXACT_VECTORS, Matrix};
use signs::SignCodes;

/// What brings a file from the version of its place to the next; files carry their version in
/// `user_version`. Entries are never changed once released, only added.
const MIGRATIONS: [&str; 2] = [include_str!("schema.sql"), include_str!("signs.sql")];

/// How long a write waits for another process's.
const BUSY_WAIT: Duration = Duration::from_mins(1);

/// Bytes of the file that are mapped: reads then need no copy, and the system decides what stays in
/// memory. A cache of pages in its place takes longer.
const MAPPED_BYTES: i64 = 8 << 30;

/// A collection in one SQLite file.
pub struct SqliteStore {
    connection: Connection,
    /// Vectors up to which all are compared in full.
    exact_vectors: usize,
    /// Passages that a search by words ranks at a time at most.
    pub(super) ranked_passages: usize,
    /// All vectors, as long as nothing is written.
    matrix: RefCell<Option<Cached<Matrix>>>,
    /// Their codes, where there are many.
    signs: RefCell<Option<Cached<SignCodes>>>,
    /// Writes of this connection, which `data_version` does not count.
    writes: Cell<u64>,
}

/// Something that holds as long as the file is not written.
struct Cached<T> {
    version: (i64, u64),
    value: T,
}

impl SqliteStore {
    /// Opens the file, which is made with its folder where it does not exist.
    ///
    /// # Errors
    /// When it cannot be made or opened, is no database, or comes from a later version.
    pub fn open(path: &Path) -> Result<Self, RetrieveError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| RetrieveError::StoreFolder {
                path: path.display().to_string(),
                source,
            })?;
        }
        Self::prepare(Connection::open(path).map_err(failed("open"))?)
    }

    /// A store that lives as long as the value.
    ///
    /// # Errors
    /// When SQLite has no memory.
    pub fn in_memory() -> Result<Self, RetrieveError> {
        Self::prepare(Connection::open_in_memory().map_err(failed("open"))?)
    }

    /// The store with another number of vectors up to which all are compared in full.
    #[must_use]
    pub fn with_exact_vectors(mut self, vectors: usize) -> Self {
        self.exact_vectors = vectors;
        self
    }

    fn prepare(mut connection: Connection) -> Result<Self, RetrieveError> {
        let settings = |connection: &Connection| -> rusqlite::Result<()> {
            connection.busy_timeout(BUSY_WAIT)?;
            // Readers and one writer at once; a committed row survives the end of the process.
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
            connection.set_prepared_statement_cache_capacity(64);
            Ok(())
        };
        settings(&connection).map_err(failed("open"))?;
        migrate(&mut connection)?;
        Ok(Self {
            connection,
            exact_vectors: EXACT_VECTORS,
            ranked_passages: RANKED_PASSAGES,
            matrix: RefCell::new(None),
            signs: RefCell::new(None),
            writes: Cell::new(0),
        })
    }

    /// What changes whenever anything is written, by whomever.
    fn version(&self) -> rusqlite::Result<(i64, u64)> {
        let others = self
            .connection
            .pragma_query_value(None, "data_version", |row| row.get(0))?;
        Ok((others, self.writes.get()))
    }

    /// Writes all of something, or nothing.
    fn write<T>(
        &mut self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, RetrieveError> {
        self.writes.set(self.writes.get() + 1);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed(action))?;
        let result = work(&transaction).map_err(failed(action))?;
        transaction.commit().map_err(failed(action))?;
        Ok(result)
    }
}

fn migrate(connection: &mut Connection) -> Result<(), RetrieveError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("migrate"))?;
    let found: i64 = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed("migrate"))?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(RetrieveError::StoreVersion { found, known });
    }
    for migration in &MIGRATIONS[found.max(0) as usize..] {
        transaction
            .execute_batch(migration)
            .map_err(failed("migrate"))?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(failed("migrate"))?;
    transaction.commit().map_err(failed("migrate"))
}

impl Store for SqliteStore {
    fn about(&self) -> Result<About, RetrieveError> {
        read::about(&self.connection)
    }

    fn space(&self) -> Result<Option<EmbeddingSpace>, RetrieveError> {
        read::space(&self.connection)
    }

    fn documents(&self) -> Result<Vec<Listed>, RetrieveError> {
        read::documents(&self.connection).map_err(failed("list documents"))
    }

    fn set_space(&mut self, space: Option<&EmbeddingSpace>) -> Result<(), RetrieveError> {
        if read::space(&self.connection)?.as_ref() == space {
            return Ok(());
        }
        self.write("change the vectors' space", |connection| {
            write::set_space(connection, space)
        })
    }

    fn state(&self, path: &str) -> Result<Option<DocumentState>, RetrieveError> {
        read::state(&self.connection, path)
            .optional()
            .map_err(failed("look for a document"))
    }

    fn put_document(&mut self, document: &Document) -> Result<(), RetrieveError> {
        self.write("write a document", |connection| {
            write::put_document(connection, document)
        })
    }

    fn touch(&mut self, path: &str, modified_ns: Option<i64>) -> Result<(), RetrieveError> {
        self.write("note a document", |connection| {
            write::touch(connection, path, modified_ns)
        })
    }

    fn remove_document(&mut self, path: &str) -> Result<bool, RetrieveError> {
        self.write("remove a document", |connection| {
            write::remove_document(connection, path)
        })
    }

    fn has_vectors(&self, keys: &[VectorKey]) -> Result<Vec<bool>, RetrieveError> {
        read::has_vectors(&self.connection, keys).map_err(failed("look for vectors"))
    }

    fn put_vectors(&mut self, vectors: &[(VectorKey, Vec<f32>)]) -> Result<(), RetrieveError> {
        self.write("write vectors", |connection| {
            write::put_vectors(connection, vectors)
        })
    }

    fn tidy(&mut self) -> Result<(), RetrieveError> {
        self.write("tidy up", write::forget_vectors)?;
        self.write("count words", write::recount_words)?;
        self.build_signs()
    }

    fn lexical(
        &self,
        terms: &[String],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrieveError> {
        lexical::search(
            &self.connection,
            terms,
            filter,
            (self.ranked_passages, limit),
        )
        .map_err(failed("search words"))
    }

    fn frequencies(&self, terms: &[String]) -> Result<Vec<usize>, RetrieveError> {
        lexical::frequencies(&self.connection, terms).map_err(failed("count words"))
    }

    fn nearest(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrieveError> {
        self.nearest_passages(vector, filter, limit)
    }

    fn passages(&self, ids: &[PassageId]) -> Result<Vec<Passage>, RetrieveError> {
        read::passages(&self.connection, ids)
    }

    fn vectors(&self, ids: &[PassageId]) -> Result<Vec<Option<Vec<f32>>>, RetrieveError> {
        read::vectors(&self.connection, ids).map_err(failed("read vectors"))
    }
}

/// Wraps an error of the database with what was being done.
fn failed(action: &'static str) -> impl Fn(rusqlite::Error) -> RetrieveError {
    move |source| RetrieveError::Store { action, source }
}

/// Numbers as bytes, the lowest byte first.
fn bytes_of(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn numbers_of(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}
