//! Commands over the user's own documents: a collection and the model that makes its vectors.

pub mod ask;
mod git;
pub mod index;
pub(crate) mod passages;
pub(crate) mod place;
mod progress;
mod quality;
mod ranking;
pub mod search;
mod show;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use autoglm_engine::LocalEngine;
use autoglm_kernel::Isa;
use autoglm_model::QuantizedType;
use autoglm_retrieve::store::Store;
use autoglm_spec::{Embed, EmbeddingSpace};
use clap::Args;

use crate::engine::LocalArgs;
use crate::models::{Need, default_for};
use place::{Lock, StoreArgs};

/// Which collection.
#[derive(Debug, Clone, Args)]
pub struct CollectionArgs {
    /// The collection of documents.
    #[arg(long, short = 'c', value_name = "NAME", default_value = "default", value_parser = name)]
    collection: String,
    #[command(flatten)]
    store: StoreArgs,
}

impl CollectionArgs {
    /// The collection of this name.
    ///
    /// # Errors
    /// A text that is no name.
    fn named(text: &str) -> anyhow::Result<Self> {
        Ok(Self {
            collection: checked_name(text)?,
            store: StoreArgs::default(),
        })
    }

    /// Opens the collection, which is made where there is none.
    ///
    /// # Errors
    /// A file or database that cannot be used.
    fn open(&self, home: &Path) -> anyhow::Result<Box<dyn Store>> {
        Ok(self.store.place(home)?.open(&self.collection)?)
    }

    /// Opens a collection that must hold something.
    ///
    /// # Errors
    /// A collection that is not there or is empty.
    fn open_filled(&self, home: &Path) -> anyhow::Result<Box<dyn Store>> {
        let hint = "hint: `autoglm index PATH` fills it";
        let Some(store) = self.store.place(home)?.find(&self.collection)? else {
            anyhow::bail!("there is no collection {}\n{hint}", self.collection);
        };
        let about = store.about()?;
        anyhow::ensure!(
            about.documents > 0,
            "the collection {} is empty\n{hint}",
            self.collection
        );
        Ok(store)
    }

    /// Keeps other processes from indexing into the collection as long as the value lives.
    ///
    /// # Errors
    /// Another process that is doing so.
    fn lock(&self, home: &Path) -> anyhow::Result<Lock> {
        self.store.place(home)?.lock(&self.collection)
    }
}

/// A text that names a collection.
///
/// # Errors
/// A text that is no name.
pub(crate) fn checked_name(text: &str) -> anyhow::Result<String> {
    let checked = name(text);
    checked.map_err(|wanted| anyhow::anyhow!("{text:?} is no name of a collection: {wanted}"))
}

/// A file of a collection in the data folder.
pub(crate) fn path_of(home: &Path, collection: &str, extension: &str) -> PathBuf {
    home.join("knowledge")
        .join(format!("{collection}.{extension}"))
}

/// A name that is a file's name everywhere.
fn name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && !text.starts_with('.') && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("want letters, digits, -, _ and ., and no . in front".to_owned())
    }
}

/// What makes vectors of passages and queries.
#[derive(Debug, Clone, Default, Args)]
pub struct EmbedderArgs {
    /// The model that makes vectors: as for `autoglm embed`, or none to search by words alone.
    #[arg(long, value_name = "MODEL|none")]
    embedder: Option<String>,
}

impl EmbedderArgs {
    /// Opens the model; `None` where there shall be none.
    ///
    /// # Errors
    /// A model that cannot be fetched or opened.
    fn open(
        &self,
        threads: Option<NonZeroUsize>,
        home: &Path,
    ) -> anyhow::Result<Option<LocalEngine>> {
        if self.embedder.as_deref() == Some("none") {
            return Ok(None);
        }
        let local = LocalArgs {
            model: self.embedder.clone(),
            threads,
            quantize: self.embedder.is_none().then(fastest_type),
            ..LocalArgs::default()
        };
        local.open(home, Need::Embeddings).map(Some)
    }

    /// Opens the model for a collection that is searched; `None` where its passages have no vectors.
    ///
    /// # Errors
    /// As for [`EmbedderArgs::open`].
    fn open_for(
        &self,
        store: &dyn Store,
        threads: Option<NonZeroUsize>,
        home: &Path,
    ) -> anyhow::Result<Option<LocalEngine>> {
        match store.about()?.space {
            Some(_) => self.open(threads, home),
            None => Ok(None),
        }
    }
}

/// The type of weights that makes vectors fastest here. Vectors are the same but for rounding and find
/// the same (`docs/embeddings.md`, `docs/knowledge.md`).
fn fastest_type() -> QuantizedType {
    match Isa::best() {
        Isa::Amx => QuantizedType::Bf16,
        _ => QuantizedType::Q8_0,
    }
}

/// Whether vectors of a space say something of Chinese: those of the default model do not.
pub(crate) fn knows_chinese(space: Option<&EmbeddingSpace>) -> bool {
    space.is_some_and(|space| space.name != default_for(Need::Embeddings).name)
}

/// The part of an engine that makes vectors.
fn as_embed(engine: Option<&LocalEngine>) -> Option<&dyn Embed> {
    engine.map(|engine| engine as &dyn Embed)
}
