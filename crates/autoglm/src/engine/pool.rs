//! Engines of this machine that are open, so that whoever asks for the same one shares it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use autoglm_engine::LocalEngine;

use super::LocalArgs;
use crate::models::Need;

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
        let key = format!(
            "{} {:?} {:?} {:?}",
            args.identity(home, need)?,
            args.threads,
            args.cache_tokens,
            args.memory_limit
        );
        // Held while a model is loaded: two who ask for it at once must not load it twice.
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, engine| engine.strong_count() > 0);
        if let Some(engine) = open.get(&key).and_then(Weak::upgrade) {
            return Ok(engine);
        }
        let engine = Arc::new(args.open(home, need)?);
        open.insert(key, Arc::downgrade(&engine));
        Ok(engine)
    }
}
