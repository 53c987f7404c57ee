//! Loading what is served: models by path or name, each told apart by the content of its files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::Context;
use autoglm_engine::LocalEngine;
use autoglm_server::{Loaded, Skill};
use autoglm_spec::Generate;
use sha2::{Digest, Sha256};

use super::backend::LocalBackend;
use super::prefixes::KeptPrefixes;
use crate::engine::{LocalArgs, Pool};
use crate::models::{Need, hexadecimal, resolve_model};

/// Bytes that are hashed at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// How models are loaded.
#[derive(Clone)]
pub(crate) struct ModelPlan {
    /// Threads, cache and the like; its model is what is loaded where none is named.
    pub(crate) args: LocalArgs,
    /// The data folder.
    pub(crate) home: PathBuf,
    /// Keeps what is computed of prompts over a restart, where that is asked for.
    pub(crate) prefixes: Option<Arc<KeptPrefixes>>,
    /// Models that are open, tasks' included.
    pub(crate) pool: Arc<Pool>,
    /// The content of models that are open.
    pub(crate) contents: Arc<Contents>,
}

/// The hashes of models' files, each for as long as its model is open: the pool gives a model again
/// only while its files are as they were, and what is in memory does not change.
#[derive(Default)]
pub(crate) struct Contents(Mutex<Vec<(Weak<LocalEngine>, String)>>);

impl Contents {
    /// The hash of the files that an engine was loaded from, where it is known.
    fn of(&self, engine: &Arc<LocalEngine>) -> Option<String> {
        self.lock().iter().find_map(|(model, hash)| {
            let is_it = std::ptr::eq(model.as_ptr(), Arc::as_ptr(engine));
            is_it.then(|| hash.clone())
        })
    }

    /// Keeps an engine's hash.
    fn keep(&self, engine: &Arc<LocalEngine>, hash: &str) {
        let is_known = self.of(engine).is_some();
        let mut all = self.lock();
        all.retain(|(model, _)| model.strong_count() > 0);
        if !is_known {
            all.push((Arc::downgrade(engine), hash.to_owned()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Weak<LocalEngine>, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A model with the name that it is served by.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) loaded: Loaded,
}

/// Loads a model: a path, a name, or the default for a need.
///
/// # Errors
/// No such model, or one that is not usable.
pub(crate) fn load(plan: &ModelPlan, model: Option<&str>, need: Need) -> anyhow::Result<Named> {
    let path = resolve_model(&plan.home, model, need)?;
    let args = LocalArgs {
        model: Some(path.display().to_string()),
        ..plan.args.clone()
    };
    // Files that are replaced after they were opened must not give the model their hashes.
    let read = |engine: &Arc<LocalEngine>| -> anyhow::Result<_> {
        let hash = match plan.contents.of(engine) {
            Some(hash) => hash,
            None => content_hash(&path)
                .with_context(|| format!("cannot read the model {}", path.display()))?,
        };
        let adapter = args.adapter.as_deref().map(content_hash).transpose()?;
        Ok((hash, adapter))
    };
    let (engine, (hash, adapter)) = plan.pool.open_and_read(&args, &plan.home, need, read)?;
    plan.contents.keep(&engine, &hash);
    let settings = format!("{:?} {:?}", args.quantize, args.cache_type);
    let identity = format!("{hash} {settings} {adapter:?}");
    Ok(Named {
        name: engine.facts().name.clone(),
        loaded: Loaded {
            skill: skill(engine, &identity, plan.prefixes.as_deref()),
            identity,
            content: hash,
        },
    })
}

/// A model that cannot write makes vectors, of which nothing is kept.
fn skill(engine: Arc<LocalEngine>, identity: &str, prefixes: Option<&KeptPrefixes>) -> Skill {
    if !engine.model().config().causal {
        return Skill::Embed(engine);
    }
    let model = Arc::new(LocalBackend(engine));
    if let Some(prefixes) = prefixes {
        prefixes.restore(identity, &model);
    }
    Skill::Write(model)
}

/// The SHA-256 of a file, or of a folder's files with their names.
fn content_hash(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    if path.is_dir() {
        let entries: io::Result<Vec<_>> = fs::read_dir(path)?.collect();
        let mut paths: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        for file in paths.iter().filter(|path| path.is_file()) {
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update([0]);
            hash_file(file, &mut hash)?;
        }
    } else {
        hash_file(path, &mut hash)?;
    }
    let digits = hash.finalize();
    Ok(hexadecimal(&digits))
}

fn hash_file(path: &Path, hash: &mut Sha256) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        hash.update(&chunk[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_models_apart_and_time_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.gguf");
        let write = |text: &str| {
            fs::write(&file, text).unwrap();
            (
                content_hash(&file).unwrap(),
                content_hash(folder.path()).unwrap(),
            )
        };
        let first = write("GGUF 1");
        let second = write("GGUF 2");
        assert_ne!(first.0, second.0);
        assert_ne!(first.1, second.1);
        assert_eq!(first, write("GGUF 1"));
    }
}
