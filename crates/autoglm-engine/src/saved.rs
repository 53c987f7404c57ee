//! What an engine has computed of prompts, kept in a file over a restart.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use autoglm_model::{CacheFull, Outputs, Step};
use autoglm_spec::EngineError;
use autoglm_token::TokenId;
use sha2::{Digest, Sha256};

use crate::error::LocalError;
use crate::local::LocalEngine;
use crate::prefix::{Identity, PrefixFileError};
use crate::runner::{Machine, Runner};

/// Tokens that are computed to know a model by what it computes.
const PROBE_TOKENS: usize = 32;

impl LocalEngine {
    /// Writes the cached prefixes to a file of at most `limit_bytes`, the most recently used ones
    /// first; says how many blocks. `model` tells the model's files and settings apart from
    /// others, as a hash of them does. The file is written beside its place and put there when it
    /// is whole; nobody but its owner may read it, as it has the texts of prompts. Requests wait
    /// meanwhile.
    ///
    /// # Errors
    /// A model that embeds texts alone, or a file that cannot be written.
    pub fn save_prefixes(
        &self,
        path: &Path,
        model: &str,
        limit_bytes: u64,
    ) -> Result<usize, EngineError> {
        self.check_writes()?;
        let saved = self.save(path, model, limit_bytes);
        saved.map_err(EngineError::engine)
    }

    /// Takes the prefixes of a file that [`LocalEngine::save_prefixes`] wrote, as far as the cache
    /// has room; says how many blocks. Later requests are answered as if the engine had computed
    /// them.
    ///
    /// # Errors
    /// A file of another model, type of cache or version of this program, or one that is damaged:
    /// nothing of it is taken then. An engine that has prefixes already.
    pub fn load_prefixes(&self, path: &Path, model: &str) -> Result<usize, EngineError> {
        self.check_writes()?;
        let loaded = self.load(path, model);
        loaded.map_err(EngineError::engine)
    }

    fn save(&self, path: &Path, model: &str, limit_bytes: u64) -> Result<usize, LocalError> {
        let beside = beside(path).map_err(PrefixFileError::from)?;
        let file = create(&beside).map_err(PrefixFileError::from)?;
        let saved = self.desk.borrow(|scheduler| {
            let runner = &mut scheduler.runner;
            let identity = self.identity(runner, model)?;
            let (tree, cache) = (&runner.prefixes, &runner.cache);
            Ok(tree.save(cache, &identity, limit_bytes, &file)?)
        });
        let saved = saved.and_then(|blocks| {
            put_in_place(&file, &beside, path).map_err(PrefixFileError::from)?;
            Ok(blocks)
        });
        if saved.is_err() {
            // What is half written is of no use; that it stays is no further harm.
            let _ = std::fs::remove_file(&beside);
        }
        saved
    }

    fn load(&self, path: &Path, model: &str) -> Result<usize, LocalError> {
        let vocabulary = self.tokenizer().vocabulary_len();
        self.desk.borrow(|scheduler| {
            let runner = &mut scheduler.runner;
            let identity = self.identity(runner, model)?;
            let (tree, cache) = (&mut runner.prefixes, &mut runner.cache);
            Ok(tree.load(cache, &identity, vocabulary, path)?)
        })
    }

    /// What tells this model and this program from others: what the caller knows the model by, its
    /// configuration, and what it predicts behind some tokens. The prediction is another one where
    /// the weights, the kernels or how the cache rounds are.
    fn identity(&self, runner: &mut Runner, model: &str) -> Result<Identity, LocalError> {
        let config = self.model().config();
        let count = PROBE_TOKENS.min(config.context_tokens);
        let spread = |place: usize| (place * 7_919 % config.vocabulary) as TokenId;
        let tokens: Vec<TokenId> = (1..=count).map(spread).collect();
        let machine = Machine {
            adapter: None,
            ..self.machine()
        };
        let logits = predict(runner, machine, &tokens).map_err(LocalError::CacheFull)?;
        let mut hash = Sha256::new();
        for text in [env!("CARGO_PKG_VERSION"), model, &format!("{config:?}")] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        for logit in logits {
            hash.update(logit.to_le_bytes());
        }
        Ok(hash.finalize().into())
    }
}

/// Where a file is written before it is whole.
fn beside(path: &Path) -> Result<PathBuf, Error> {
    let names_none = || Error::new(ErrorKind::InvalidInput, "the path names no file");
    let mut name = path.file_name().ok_or_else(names_none)?.to_owned();
    name.push(".part");
    Ok(path.with_file_name(name))
}

/// A new file that its owner alone may read.
fn create(path: &Path) -> Result<File, Error> {
    // One that was left half written may have been readable.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn put_in_place(file: &File, beside: &Path, path: &Path) -> Result<(), Error> {
    file.sync_all()?;
    std::fs::rename(beside, path)
}

/// The logits behind some tokens, computed anew.
fn predict(
    runner: &mut Runner,
    machine: Machine<'_>,
    tokens: &[TokenId],
) -> Result<Vec<f32>, CacheFull> {
    let mut sequence = runner.begin(machine)?;
    let mut step = [Step {
        sequence: &mut sequence,
        tokens,
        outputs: Outputs::Last,
    }];
    let passed = runner.forward(machine, &mut step);
    let mut found = Vec::new();
    if let Ok(rows) = &passed {
        let rows: Vec<usize> = rows.iter().cloned().flatten().collect();
        runner.for_each_logits(machine, &rows, |_, logits| found.extend_from_slice(logits));
    }
    runner.cache.release(sequence);
    passed.map(|_| found)
}
