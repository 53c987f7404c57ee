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
        let (engine, ()) = self.open_and_read(args, home, need, |_| Ok(()))?;
        Ok(engine)
    }

    /// The same, with what else `read` takes from the files of model and adapter: both had the same
    /// ones. Where they change meanwhile both are done anew, three times in all at most.
    ///
    /// # Errors
    /// As [`LocalArgs::open`] and `read`, and files that go on changing.
    pub(crate) fn open_and_read<T>(
        &self,
        args: &LocalArgs,
        home: &Path,
        need: Need,
        read: impl FnMut(&Arc<LocalEngine>) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Arc<LocalEngine>, T)> {
        let load = || args.open(home, need);
        self.settle(|| key(args, home, need), load, read)
    }

    /// Loads the engine of a key, where it is not open, and reads with it, until the key is the same
    /// before and after.
    fn settle<T>(
        &self,
        key: impl Fn() -> anyhow::Result<String>,
        mut load: impl FnMut() -> anyhow::Result<LocalEngine>,
        mut read: impl FnMut(&Arc<LocalEngine>) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Arc<LocalEngine>, T)> {
        // Held while a model is loaded: two who ask for it at once must not load it twice.
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, engine| engine.strong_count() > 0);
        let (key, engine, found) = settled(key, |key| {
            let engine = match open.get(key).and_then(Weak::upgrade) {
                Some(engine) => engine,
                None => Arc::new(load()?),
            };
            let found = read(&engine)?;
            Ok((key.to_owned(), engine, found))
        })?;
        open.insert(key, Arc::downgrade(&engine));
        Ok((engine, found))
    }
}

/// What tells engines apart: the files of model and adapter, and how they are used.
fn key(args: &LocalArgs, home: &Path, need: Need) -> anyhow::Result<String> {
    let path = resolve_model(home, args.model.as_deref(), need)?;
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
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::fs;
    use std::num::NonZeroUsize;
    use std::path::PathBuf;

    use super::super::identity::TRIES;
    use super::*;

    const MODEL: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../autoglm-model/fixtures/tiny-llama.gguf"
    );

    /// A model with a file beside it that stands for an adapter.
    struct Files {
        folder: tempfile::TempDir,
        args: LocalArgs,
    }

    impl Files {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = Self {
                args: LocalArgs {
                    model: Some(folder.path().join("model.gguf").display().to_string()),
                    threads: Some(NonZeroUsize::MIN),
                    cache_tokens: Some(64),
                    ..LocalArgs::default()
                },
                folder,
            };
            files.put_model();
            fs::create_dir(files.adapter()).unwrap();
            files.put_adapter("1");
            files
        }

        /// Puts the same model in its place as another file.
        fn put_model(&self) {
            let next = self.folder.path().join("next");
            fs::copy(MODEL, &next).unwrap();
            fs::rename(next, self.folder.path().join("model.gguf")).unwrap();
        }

        fn adapter(&self) -> PathBuf {
            self.folder.path().join("adapter")
        }

        fn put_adapter(&self, weights: &str) {
            fs::write(self.adapter().join("weights"), weights).unwrap();
        }

        fn weights(&self) -> String {
            fs::read_to_string(self.adapter().join("weights")).unwrap()
        }

        fn load(&self) -> anyhow::Result<LocalEngine> {
            self.args.open(self.folder.path(), Need::Closed)
        }

        /// The key with the adapter, which no engine is made of here.
        fn key(&self) -> anyhow::Result<String> {
            let args = LocalArgs {
                adapter: Some(self.adapter()),
                ..self.args.clone()
            };
            key(&args, self.folder.path(), Need::Closed)
        }
    }

    #[test]
    fn files_that_keep_changing_are_loaded_once_a_try() {
        let files = Files::new();
        let loads = Cell::new(0);
        let load = || {
            loads.set(loads.get() + 1);
            let engine = files.load();
            files.put_model();
            engine
        };
        let opened = Pool::default().settle(|| files.key(), load, |_| Ok(()));
        let why = opened.err().unwrap().to_string();
        assert!(why.contains("change while"), "{why}");
        assert_eq!(loads.get(), TRIES);
    }

    #[test]
    fn what_is_read_is_of_the_files_that_were_loaded() {
        let files = Files::new();
        let loaded = RefCell::new(Vec::new());
        let load = || {
            loaded.borrow_mut().push(files.weights());
            let engine = files.load();
            // Between loading and reading.
            files.put_adapter("2");
            engine
        };
        let pool = Pool::default();
        let (engine, read) = pool
            .settle(|| files.key(), load, |_| Ok(files.weights()))
            .unwrap();
        assert_eq!(read, "2");
        assert_eq!(*loaded.borrow(), ["1", "2"]);
        // It is open now, and not loaded again.
        let none = || -> anyhow::Result<LocalEngine> { anyhow::bail!("loaded again") };
        let (again, ()) = pool.settle(|| files.key(), none, |_| Ok(())).unwrap();
        assert!(Arc::ptr_eq(&engine, &again));
    }
}
