//! Engines of this machine that are open, so that whoever asks for the same one shares it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context;
use autoglm_engine::LocalEngine;

use super::LocalArgs;
use super::identity::{file_stamp, settled};
use crate::models::{Need, resolve_model};

/// Engines that are open. They are closed when nobody uses them any more.
#[derive(Default)]
pub(crate) struct Pool(Mutex<BTreeMap<String, Weak<LocalEngine>>>);

impl Pool {
    /// Opens an engine, or gives the one that was opened of the same files in the same way.
    ///
    /// # Errors
    /// As [`LocalArgs::open`].
    pub(crate) fn open(
        &self,
        args: &LocalArgs,
        home: &Path,
        need: Need,
    ) -> anyhow::Result<Arc<LocalEngine>> {
        let path = resolve_model(home, args.model.as_deref(), need)?;
        let key = || -> anyhow::Result<String> {
            let stamp = file_stamp(&path);
            let stamp = stamp.with_context(|| format!("cannot read the model {}", path.display()));
            Ok(format!(
                "{} {} {:?} {:?} {:?}",
                args.identity(home, need)?,
                stamp?,
                args.threads,
                args.cache_tokens,
                args.memory_limit
            ))
        };
        // Held while a model is loaded: two who ask for it at once must not load it twice.
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, engine| engine.strong_count() > 0);
        let (key, engine) = settled(key, |key| {
            let engine = match open.get(key).and_then(Weak::upgrade) {
                Some(engine) => engine,
                None => Arc::new(args.open(home, need)?),
            };
            Ok((key.to_owned(), engine))
        })?;
        open.insert(key, Arc::downgrade(&engine));
        Ok(engine)
    }
}
