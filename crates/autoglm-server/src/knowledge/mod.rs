//! Collections of documents over HTTP: what they hold, search, answers that rest on them, and
//! passages before a question of a conversation.

mod ask;
mod ground;
mod list;
mod order;
mod routes;
mod search;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use autoglm_retrieve::RetrieveError;
use autoglm_retrieve::search::{Ranked, SearchSettings, Searcher};
use autoglm_retrieve::store::Store;
use autoglm_spec::{Cancel, Embed, Embedding, EmbeddingSpace, EngineError};

pub(crate) use ground::{Ground, ground};
pub(crate) use order::{GroundOrder, take_ground};
pub(crate) use routes::routes;

use crate::ServerError;
use crate::app::App;
use crate::auth::Reach;
use crate::backend::Skill;

/// Where collections of documents are kept. Calls block; each has a thread of its own.
pub trait KnowledgeDesk: Send + Sync {
    /// The names of the collections in the order in which they were given.
    fn collections(&self) -> Vec<String>;

    /// Lets work read a collection as it is now.
    ///
    /// # Errors
    /// A collection that cannot be opened, and the work's own.
    fn read(
        &self,
        collection: &str,
        work: &mut dyn FnMut(&dyn Store) -> Result<(), ServerError>,
    ) -> Result<(), ServerError>;

    /// Whether vectors of a space say something of Chinese.
    fn knows_chinese(&self, space: &EmbeddingSpace) -> bool;
}

/// A collection that a client may use.
#[derive(Clone)]
struct Collection {
    desk: Arc<dyn KnowledgeDesk>,
    app: Arc<App>,
    name: String,
}

impl Collection {
    /// The collection of a name. One that is not for the client is refused before it is told whether
    /// it is there.
    fn of(app: &Arc<App>, reach: Option<&Reach>, name: &str) -> Result<Self, ServerError> {
        if let Some(reach) = reach {
            reach.check_collection(name)?;
        }
        let desk = app.knowledge.as_ref();
        let desk = desk.filter(|desk| desk.collections().iter().any(|own| own == name));
        let desk = desk.ok_or_else(|| ServerError::NoSuchCollection {
            name: name.to_owned(),
        })?;
        Ok(Self {
            desk: Arc::clone(desk),
            app: Arc::clone(app),
            name: name.to_owned(),
        })
    }

    /// Reads it.
    fn read<T>(
        &self,
        work: impl FnOnce(&dyn Store) -> Result<T, ServerError>,
    ) -> Result<T, ServerError> {
        let mut work = Some(work);
        let mut result = None;
        self.desk.read(&self.name, &mut |store| {
            if let Some(work) = work.take() {
                result = Some(work(store)?);
            }
            Ok(())
        })?;
        result.ok_or_else(|| ServerError::Bug {
            what: "a collection was not read".to_owned(),
        })
    }

    /// An error of the collection.
    fn failed(&self) -> impl Fn(RetrieveError) -> ServerError {
        let collection = self.name.clone();
        move |source| ServerError::Knowledge {
            collection: collection.clone(),
            source,
        }
    }

    /// A live model that makes vectors in the space of the collection's. A canary may be of another
    /// space, and has no part in it.
    fn embedder(&self, space: Option<&EmbeddingSpace>) -> Option<Counted> {
        let live = self.app.models.live();
        let version = live.iter().find(|version| match &version.skill {
            Skill::Embed(embed) => Some(embed.space()) == space,
            Skill::Write(_) => false,
        })?;
        match self.app.skill(version) {
            Skill::Embed(embed) => Some(Counted {
                embed,
                tokens: AtomicUsize::new(0),
            }),
            Skill::Write(_) => None,
        }
    }

    /// The passages for a query, and the tokens that were read to find them.
    fn find(
        &self,
        store: &dyn Store,
        query: &str,
        (settings, cancel): (&SearchSettings, &Cancel),
    ) -> Result<Found, ServerError> {
        let space = store.space().map_err(self.failed())?;
        let embed = self.embedder(space.as_ref());
        let settings = SearchSettings {
            vectors_know_chinese: space.is_some_and(|space| self.desk.knows_chinese(&space)),
            ..settings.clone()
        };
        let searcher = Searcher {
            store,
            embed: embed.as_ref().map(|embed| embed as &dyn Embed),
        };
        let passages = searcher.search(query, &settings, cancel);
        Ok(Found {
            passages: passages.map_err(self.failed())?,
            tokens: embed.map_or(0, |embed| embed.tokens.into_inner()),
        })
    }
}

/// Passages that were found.
struct Found {
    passages: Vec<Ranked>,
    /// Tokens that a model has read for them.
    tokens: usize,
}

/// A model that makes vectors, and how many tokens it has read.
struct Counted {
    embed: Arc<dyn Embed>,
    tokens: AtomicUsize,
}

impl Embed for Counted {
    fn space(&self) -> &EmbeddingSpace {
        self.embed.space()
    }

    fn embed(&self, texts: &[&str], cancel: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        let vectors = self.embed.embed(texts, cancel);
        let read = vectors.iter().flatten().map(|vector| vector.tokens).sum();
        self.tokens.fetch_add(read, Ordering::Relaxed);
        vectors
    }
}
