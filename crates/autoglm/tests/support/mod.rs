//! The binary in an empty folder, and the default models where they were fetched.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of this"
)]
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic and say what it skipped"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A tiny model of the repository.
pub fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../autoglm-model/fixtures");
    folder.join(name).to_str().unwrap().to_owned()
}

/// What is printed as an object a line.
pub fn rows(output: &str) -> Vec<Value> {
    let rows = output.lines();
    rows.map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// An empty folder with a home of its own.
pub struct Desk {
    folder: TempDir,
}

impl Desk {
    pub fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_autoglm"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("AUTOGLM_HOME", self.path("home"))
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Exit code and standard error of a command that must fail.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?} succeeded");
        (output.status.code().unwrap(), text(&output.stderr))
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The file of a default model in the user's own home; `None`, said on standard error, where it
/// was not fetched (`autoglm model pull` does).
pub fn default_model(name: &str) -> Option<String> {
    let ask = |args: &[&str]| -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_autoglm"))
            .args(args)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let listed = ask(&["model", "list", "--json"]);
    let here = listed
        .as_array()
        .into_iter()
        .flatten()
        .any(|model| model["name"] == name && model["state"] != "not fetched");
    if !here {
        eprintln!("skipped: the default model {name} was not fetched");
        return None;
    }
    let path = ask(&["model", "info", name, "--json"])["path"]
        .as_str()?
        .to_owned();
    Some(path)
}
