//! What a compiler cannot check: which crate may use which, whether documents name things that
//! exist, what no file may contain, how large files may be, how modules may be called.
//!
//! Every check is a function from paths and texts to findings, so that its tests need no files.

mod edges;
mod files;
mod map;
mod names;
mod text;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// Something that must be changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, relative to the repository's root, with `/` between folders.
    path: String,
    /// The line, from 1, where the finding has one.
    line: Option<usize>,
    /// What is wrong and what would be right.
    message: String,
}

impl Finding {
    fn new(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            message: message.into(),
        }
    }

    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::new(path, message)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// A file of the repository.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Relative to the root, with `/` between folders.
    path: String,
    /// Size on disk.
    size_bytes: u64,
    /// The content, where it is UTF-8 text.
    text: Option<String>,
}

impl File {
    fn has_extension(&self, wanted: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|extension| extension == wanted)
    }
}

#[cfg(test)]
impl File {
    fn with_text(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            size_bytes: text.len() as u64,
            text: Some(text.to_owned()),
        }
    }
}

/// Runs every check on the repository and prints what they find.
pub(crate) fn run() -> anyhow::Result<()> {
    let files = read_files(&crate::root())?;
    let findings = check_all(&files);
    for finding in &findings {
        eprintln_finding(finding);
    }
    ensure!(findings.is_empty(), "{} findings", findings.len());
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "the findings are what the command is for"
)]
fn eprintln_finding(finding: &Finding) {
    eprintln!("{finding}");
}

fn check_all(files: &[File]) -> Vec<Finding> {
    let checks = [
        edges::check,
        files::check,
        map::check,
        names::check,
        text::check,
    ];
    let mut findings: Vec<Finding> = checks.iter().flat_map(|check| check(files)).collect();
    findings.sort();
    findings
}

/// Every file that git tracks or would add.
fn read_files(root: &Path) -> anyhow::Result<Vec<File>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("cannot start git, which lists the repository's files")?;
    ensure!(
        output.status.success(),
        "git cannot list the repository's files"
    );
    let listing = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let paths = listing.split('\0').filter(|path| !path.is_empty());
    paths
        // A file may be deleted and not yet staged.
        .filter(|path| root.join(path).is_file())
        .map(|path| read_file(root, path))
        .collect()
}

fn read_file(root: &Path, path: &str) -> anyhow::Result<File> {
    let bytes = fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
    Ok(File {
        path: path.to_owned(),
        size_bytes: bytes.len() as u64,
        text: String::from_utf8(bytes).ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_has_no_findings() {
        let files = read_files(&crate::root()).unwrap();
        assert!(files.iter().any(|file| file.path == "Cargo.toml"));
        let findings: Vec<String> = check_all(&files).iter().map(ToString::to_string).collect();
        assert_eq!(findings, Vec::<String>::new());
    }

    #[test]
    fn a_finding_names_its_line_where_it_has_one() {
        assert_eq!(Finding::at("a.rs", 3, "odd").to_string(), "a.rs:3: odd");
        assert_eq!(Finding::new("a.rs", "odd").to_string(), "a.rs: odd");
    }
}
