//! A collection in a database of PostgreSQL with pgvector, which several servers share.

mod address;
mod conditions;
mod dense;
mod lexical;
mod read;
mod session;
mod stems;
#[cfg(test)]
#[cfg(unix)]
mod tests;
mod write;

use std::cell::RefCell;

use autoglm_spec::EmbeddingSpace;

use super::telling::RANKED_PASSAGES;
use super::{About, Filter, Hit, Listed, Store, VectorKey};
use crate::RetrieveError;
use crate::passage::{Document, DocumentState, Passage, PassageId};
use session::{Fallible, Session, is_lost};
use stems::Stems;

pub use address::PostgresAddress;
pub use session::PostgresLock;

/// A collection in a schema of a database.
pub struct PostgresStore {
    address: PostgresAddress,
    collection: String,
    session: RefCell<Session>,
    stems: RefCell<Stems>,
    /// Vectors up to which all are compared in full.
    exact_vectors: usize,
    /// Passages that a search by words ranks at a time at most.
    ranked_passages: usize,
}

impl PostgresStore {
    /// Opens a collection, which is made where it is not there.
    ///
    /// # Errors
    /// A database that cannot be reached or has no pgvector, a name that is too long, a collection
    /// of a later version.
    pub fn open(address: &PostgresAddress, collection: &str) -> Result<Self, RetrieveError> {
        let session = Session::open(address, collection, true)?;
        session.map_or(
            Err(RetrieveError::Damaged {
                what: "a collection that was just made is gone",
            }),
            |session| Self::with(address, collection, session),
        )
    }

    /// Opens a collection; none where it is not there.
    ///
    /// # Errors
    /// As for [`PostgresStore::open`].
    pub fn find(
        address: &PostgresAddress,
        collection: &str,
    ) -> Result<Option<Self>, RetrieveError> {
        let session = Session::open(address, collection, false)?;
        session
            .map(|session| Self::with(address, collection, session))
            .transpose()
    }

    fn with(
        address: &PostgresAddress,
        collection: &str,
        session: Session,
    ) -> Result<Self, RetrieveError> {
        Ok(Self {
            address: address.clone(),
            collection: collection.to_owned(),
            session: RefCell::new(session),
            stems: RefCell::new(Stems::new()?),
            exact_vectors: dense::EXACT_VECTORS,
            ranked_passages: RANKED_PASSAGES,
        })
    }

    /// The store with another number of vectors up to which all are compared in full.
    #[must_use]
    pub fn with_exact_vectors(mut self, vectors: usize) -> Self {
        self.exact_vectors = vectors;
        self
    }

    /// Does something, and once more where the server has ended the connection meanwhile. Writes are
    /// whole documents and vectors, of which the second time changes nothing.
    fn run<T>(
        &self,
        work: impl Fn(&mut Session) -> Result<T, RetrieveError>,
    ) -> Result<T, RetrieveError> {
        let mut session = self.session.borrow_mut();
        match work(&mut session) {
            Err(error) if is_lost(&error) => {
                let Some(made) = Session::open(&self.address, &self.collection, false)? else {
                    return Err(error);
                };
                *session = made;
                work(&mut session)
            }
            done => done,
        }
    }

    /// The same for what fails with the client's errors.
    fn ask<T>(
        &self,
        action: &'static str,
        work: impl Fn(&mut Session) -> Fallible<T>,
    ) -> Result<T, RetrieveError> {
        self.run(|session| work(session).map_err(failed(action)))
    }
}

impl Store for PostgresStore {
    fn about(&self) -> Result<About, RetrieveError> {
        self.run(|session| session.reading(read::about))
    }

    fn space(&self) -> Result<Option<EmbeddingSpace>, RetrieveError> {
        self.run(read::space)
    }

    fn documents(&self) -> Result<Vec<Listed>, RetrieveError> {
        self.ask("list documents", read::documents)
    }

    fn set_space(&mut self, space: Option<&EmbeddingSpace>) -> Result<(), RetrieveError> {
        if self.space()?.as_ref() == space {
            return Ok(());
        }
        let change = |session: &mut Session| {
            // Another may have said the same while this one waited.
            if read::space(session)?.as_ref() == space {
                return Ok(());
            }
            write::set_space(session, space).map_err(failed("change the vectors' space"))
        };
        self.run(|session| session.writing_alone(change))
    }

    fn state(&self, path: &str) -> Result<Option<DocumentState>, RetrieveError> {
        self.run(|session| read::state(session, path))
    }

    fn put_document(&mut self, document: &Document) -> Result<(), RetrieveError> {
        self.run(|session| {
            let mut stems = self.stems.borrow_mut();
            session.writing(|session| write::put_document(session, &mut stems, document))
        })
    }

    fn touch(&mut self, path: &str, modified_ns: Option<i64>) -> Result<(), RetrieveError> {
        self.ask("note a document", |session| {
            write::touch(session, path, modified_ns)
        })
    }

    fn remove_document(&mut self, path: &str) -> Result<bool, RetrieveError> {
        let remove = |session: &mut Session| {
            write::remove_document(session, path).map_err(failed("remove a document"))
        };
        self.run(|session| session.writing(remove))
    }

    fn has_vectors(&self, keys: &[VectorKey]) -> Result<Vec<bool>, RetrieveError> {
        self.ask("look for vectors", |session| {
            read::has_vectors(session, keys)
        })
    }

    fn put_vectors(&mut self, vectors: &[(VectorKey, Vec<f32>)]) -> Result<(), RetrieveError> {
        let put = |session: &mut Session| {
            write::put_vectors(session, vectors).map_err(failed("write vectors"))
        };
        self.run(|session| session.writing(put))
    }

    fn tidy(&mut self) -> Result<(), RetrieveError> {
        let exact = self.exact_vectors;
        let tidy = |session: &mut Session| {
            write::forget_vectors(session).map_err(failed("tidy up"))?;
            dense::build(session, exact).map_err(failed("index vectors"))
        };
        self.run(|session| session.writing_alone(tidy))?;
        // Searches by words read the index alone where it is known that all rows are visible, and
        // are planned by what is known of the tables.
        for table in ["documents", "passages", "words", "vectors"] {
            self.ask("tidy up", |session| {
                session.batch(&format!("VACUUM (ANALYZE) {table}"))
            })?;
        }
        Ok(())
    }

    fn lexical(
        &self,
        terms: &[String],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrieveError> {
        let stems = self.stems.borrow_mut().of(terms)?;
        let stems: Vec<_> = stems.into_iter().flatten().collect();
        if stems.is_empty() {
            return Ok(Vec::new());
        }
        let bounds = (self.ranked_passages, limit);
        let search = |session: &mut Session| {
            lexical::search(session, &stems, filter, bounds).map_err(failed("search words"))
        };
        self.run(|session| session.reading(search))
    }

    fn frequencies(&self, terms: &[String]) -> Result<Vec<usize>, RetrieveError> {
        let stems = self.stems.borrow_mut().of(terms)?;
        self.ask("count words", |session| {
            lexical::frequencies(session, &stems)
        })
    }

    fn nearest(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrieveError> {
        let bounds = (self.exact_vectors, limit);
        let search = |session: &mut Session| {
            dense::search(session, vector, filter, bounds).map_err(failed("search vectors"))
        };
        self.run(|session| session.reading(search))
    }

    fn passages(&self, ids: &[PassageId]) -> Result<Vec<Passage>, RetrieveError> {
        self.run(|session| read::passages(session, ids))
    }

    fn vectors(&self, ids: &[PassageId]) -> Result<Vec<Option<Vec<f32>>>, RetrieveError> {
        self.ask("read vectors", |session| read::vectors(session, ids))
    }
}

/// Wraps an error of the database with what was being done.
fn failed(action: &'static str) -> impl Fn(postgres::Error) -> RetrieveError {
    move |source| RetrieveError::Postgres { action, source }
}
