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

/// What the system tells of a model's files: another text wherever one of them was changed or
/// replaced, even by one of the same length and time.
///
/// # Errors
/// A file that is not there.
pub(super) fn file_stamp(model: &Path) -> io::Result<String> {
    let files = files_of(model)?;
    let places: io::Result<Vec<_>> = files.iter().map(|(path, ..)| place_of(path)).collect();
    Ok(format!("{files:?} {:?}", places?))
}

/// Where a file is on its device, and when anything about it last changed.
#[cfg(unix)]
fn place_of(path: &Path) -> io::Result<(u64, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

#[cfg(not(unix))]
fn place_of(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Times that work is done at most: the first time, and anew where files have changed meanwhile.
pub(super) const TRIES: usize = 3;

/// Does what reads files until they are the same before and after, [`TRIES`] times at most: then all
/// of it was done with the same files. `stamp` tells them apart and is given to the work.
///
/// # Errors
/// As the two, and files that go on changing.
pub(super) fn settled<T>(
    stamp: impl Fn() -> anyhow::Result<String>,
    mut work: impl FnMut(&str) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut before = stamp()?;
    for _ in 0..TRIES {
        let done = work(&before);
        let after = stamp()?;
        if before == after {
            return done;
        }
        before = after;
    }
    anyhow::bail!("the model's files change while they are read")
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
    fn a_file_in_another_s_place_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let (model, other) = (folder.path().join("m"), folder.path().join("o"));
        fs::write(&model, "one").unwrap();
        fs::write(&other, "two").unwrap();
        let first = file_stamp(&model).unwrap();
        assert_eq!(file_stamp(&model).unwrap(), first);
        let time = fs::metadata(&model).unwrap().modified().unwrap();
        let handle = fs::File::options().write(true).open(&other).unwrap();
        handle.set_modified(time).unwrap();
        fs::rename(&other, &model).unwrap();
        if cfg!(unix) {
            assert_ne!(file_stamp(&model).unwrap(), first);
        }
    }

    #[test]
    fn what_was_read_of_files_that_change_meanwhile_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m");
        fs::write(&model, "first").unwrap();
        let replace = |text: &str| {
            fs::write(folder.path().join("o"), text).unwrap();
            fs::rename(folder.path().join("o"), &model).unwrap();
        };
        let stamp = || -> anyhow::Result<String> { Ok(file_stamp(&model)?) };
        let mut times = 0;
        let pair = settled(stamp, |_| {
            let opened = fs::read_to_string(&model)?;
            times += 1;
            if times == 1 {
                replace("second, longer");
            }
            Ok((opened, fs::read_to_string(&model)?))
        });
        let (opened, hashed) = pair.unwrap();
        assert_eq!((opened.as_str(), times), ("second, longer", 2));
        assert_eq!(opened, hashed);
        let mut times = 0;
        let restless = settled(stamp, |_| {
            times += 1;
            replace(&"x".repeat(10 + times));
            Ok(())
        });
        assert!(restless.unwrap_err().to_string().contains("change while"));
        assert_eq!(times, TRIES);
        // A failure of files that stayed as they were is told as it is.
        let failed: anyhow::Result<()> = settled(stamp, |_| anyhow::bail!("no model"));
        assert_eq!(failed.unwrap_err().to_string(), "no model");
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
