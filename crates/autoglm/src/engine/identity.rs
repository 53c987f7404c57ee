//! What the answers of an engine depend on besides the requests, so that what was learnt from one
//! is not taken for another's.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context;
use autoglm_task::strategy::SoftPrompt;

use super::{EngineArgs, LocalArgs};
use crate::models::{Need, resolve_model};

impl EngineArgs {
    /// A text that is another one wherever other answers may come: for a model on this machine its
    /// files, how they are loaded and the content of the adapter; for a server its address, the
    /// model's name and how it is asked.
    ///
    /// # Errors
    /// A model or adapter that is not there or cannot be read.
    pub fn identity(&self, home: &Path, need: Need) -> anyhow::Result<String> {
        if self.remote.url()?.is_some() {
            let model = &self.local.model;
            return Ok(format!("{model:?} {:?}", self.remote.answers_depend_on()));
        }
        self.local.identity(home, need)
    }
}

impl LocalArgs {
    /// As for [`EngineArgs::identity`].
    pub(super) fn identity(&self, home: &Path, need: Need) -> anyhow::Result<String> {
        let path = resolve_model(home, self.model.as_deref(), need)?;
        let cannot_read = || format!("cannot read the model {}", path.display());
        let files = files_of(&path).with_context(cannot_read)?;
        let adapter = self.adapter.as_deref().map(SoftPrompt::of_folder);
        let adapter = adapter.transpose()?.map(|adapter| adapter.hash);
        Ok(format!(
            "{files:?} {:?} {:?} {adapter:?}",
            self.quantize, self.cache_type
        ))
    }
}

/// The file, or a folder's files, each with its bytes and the time of its last change.
fn files_of(model: &Path) -> io::Result<Vec<(PathBuf, u64, u128)>> {
    let model = model.canonicalize()?;
    let mut paths = vec![model.clone()];
    if model.is_dir() {
        let entries: io::Result<Vec<_>> = fs::read_dir(&model)?.collect();
        paths = entries?.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
    }
    paths
        .into_iter()
        .map(|path| {
            let metadata = fs::metadata(&path)?;
            Ok((path, metadata.len(), changed_ns(&metadata)))
        })
        .collect()
}

/// The time of the last change in nanoseconds; 0 where the file system does not tell.
fn changed_ns(metadata: &Metadata) -> u128 {
    let changed = metadata.modified().ok();
    let since = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        engine: EngineArgs,
    }

    fn identity(words: &[&str]) -> String {
        let line = Line::try_parse_from([&["test"], words].concat()).unwrap();
        line.engine.identity(Path::new("."), Need::Closed).unwrap()
    }

    #[test]
    fn another_content_of_model_or_adapter_is_another_engine() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(at("adapter")).unwrap();
        fs::write(at("adapter/weights"), "1").unwrap();
        fs::write(at("model.gguf"), "GGUF").unwrap();
        let (model, adapter) = (at("model.gguf"), at("adapter"));
        let plain = || identity(&["--model", &model]);
        let adapted = || identity(&["--model", &model, "--adapter", &adapter]);
        let (first, first_adapted) = (plain(), adapted());
        assert_eq!(plain(), first);
        assert_ne!(first_adapted, first);
        assert_ne!(identity(&["--model", &model, "--quantize", "q4_0"]), first);
        fs::write(at("adapter/weights"), "2").unwrap();
        assert_ne!(adapted(), first_adapted);
        fs::write(&model, "GGUF, longer").unwrap();
        assert_ne!(plain(), first);
    }

    #[test]
    fn servers_are_told_apart_by_address_model_and_how_they_are_asked() {
        let first = identity(&["--engine", "http://127.0.0.1:1"]);
        let others: [&[&str]; 3] = [
            &["--engine", "http://127.0.0.1:2"],
            &["--engine", "http://127.0.0.1:1", "--model", "glm"],
            &["--engine", "http://127.0.0.1:1", "--prompts", "plain"],
        ];
        for other in others {
            assert_ne!(identity(other), first, "{other:?}");
        }
    }
}
