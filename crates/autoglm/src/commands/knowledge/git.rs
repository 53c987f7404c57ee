//! Repositories as documents: read from Git's objects at a revision, without a working tree.
//!
//! The program `git` does the reading. Repositories come from anywhere: no hook runs, nothing is checked
//! out, no submodule and no large file is fetched, and no argument is taken for an option.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail, ensure};
use autoglm_retrieve::index::{Kept, KeptDocument};
use autoglm_retrieve::read::{Format, Limits, ReadError};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Bytes of the list of a revision's files: a million paths of usual length.
const LIST_BYTES: u64 = 128 << 20;
/// Files of packs, of which each fetch leaves two or three, above which a copy is tidied up.
const MOST_PACK_FILES: usize = 30;
/// How a pointer to a large file begins that is kept elsewhere.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
/// The reference under which a remote revision is kept.
const FETCHED: &str = "refs/autoglm/indexed";

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Repository {
    /// Where it is: a folder, or an address.
    place: Place,
    /// What it is read at: a branch, tag or commit.
    revision: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Folder(PathBuf),
    Remote(String),
}

impl Repository {
    /// The repository that an argument names; none where it names a file or folder. `path@revision` is a
    /// repository where `path` is one and there is no file of the whole name.
    ///
    /// # Errors
    /// A revision or an address that is not allowed, a revision of what is no repository.
    pub(super) fn named(argument: &Path, revision: Option<&str>) -> anyhow::Result<Option<Self>> {
        let text = argument.to_string_lossy();
        let head = || revision.unwrap_or("HEAD").to_owned();
        let found = if is_address(&text) && !argument.exists() {
            check_user(&text)?;
            ensure!(
                ["https://", "ssh://", "file://"]
                    .iter()
                    .any(|s| text.starts_with(s))
                    || !text.contains("://"),
                "{text}: repositories are fetched by https, ssh and from files alone"
            );
            Self {
                place: Place::Remote(text.into_owned()),
                revision: head(),
            }
        } else if argument.exists() {
            if revision.is_none() && !is_bare(argument) {
                return Ok(None);
            }
            ensure!(is_repository(argument), "{text} is no Git repository");
            Self {
                place: Place::Folder(argument.canonicalize()?),
                revision: head(),
            }
        } else {
            let Some((folder, own)) = text.rsplit_once('@') else {
                return Ok(None);
            };
            if !is_repository(Path::new(folder)) {
                return Ok(None);
            }
            ensure!(
                revision.is_none(),
                "{text} names a revision, and so does --revision"
            );
            let folder = Path::new(folder).canonicalize()?;
            Self {
                place: Place::Folder(folder),
                revision: own.to_owned(),
            }
        };
        found.check()?;
        Ok(Some(found))
    }

    /// What could be taken for an option, or would end a line.
    fn check(&self) -> anyhow::Result<()> {
        let address = match &self.place {
            Place::Remote(address) => address,
            Place::Folder(_) => "",
        };
        for text in [address, &self.revision] {
            let is_bad = text.starts_with('-') || text.chars().any(char::is_control);
            ensure!(!is_bad, "{text:?} is no name of a repository or revision");
        }
        ensure!(!self.revision.is_empty(), "no revision stands behind @");
        Ok(())
    }

    /// Whether it must be fetched.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self.place, Place::Remote(_))
    }

    /// What the paths of its documents begin with. Those of folders say that they are no files.
    fn prefix(&self) -> String {
        match &self.place {
            Place::Folder(folder) => format!("git:{}@{}:", folder.display(), self.revision),
            Place::Remote(address) => format!("{address}@{}:", self.revision),
        }
    }

    /// The commit that it is at now; a repository that is elsewhere is fetched into a folder below
    /// `copies` first.
    ///
    /// # Errors
    /// No `git`, an address that does not answer, a revision that is not there.
    pub(super) fn commit(&self, copies: &Path) -> anyhow::Result<Commit> {
        let (folder, revision) = match &self.place {
            Place::Folder(folder) => (folder.clone(), self.revision.as_str()),
            Place::Remote(address) => (fetch(address, &self.revision, copies)?, FETCHED),
        };
        let commit = format!("{revision}^{{commit}}");
        let arguments = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &commit,
        ];
        let id = output(&folder, &arguments, 1 << 10).with_context(|| {
            format!(
                "there is no revision {} in {}",
                self.revision,
                self.prefix()
            )
        })?;
        let id = String::from_utf8_lossy(&id).trim().to_owned();
        Ok(Commit { folder, id })
    }

    /// The files at a commit.
    ///
    /// # Errors
    /// No `git`, a repository that is damaged.
    pub(super) fn open(&self, Commit { folder, id }: &Commit) -> anyhow::Result<Objects> {
        let list = ["ls-tree", "-r", "-z", "-l", "--full-tree", id];
        let list = output(folder, &list, LIST_BYTES)?;
        let prefix = self.prefix();
        let mut meta = Map::new();
        meta.insert("commit".to_owned(), Value::String(id.clone()));
        meta.insert("revision".to_owned(), Value::String(self.revision.clone()));
        let entries = list.split(|byte| *byte == 0).filter_map(entry);
        let (ids, documents) = entries
            .filter_map(|entry| entry.document(&prefix))
            .unzip::<String, KeptDocument, Vec<_>, Vec<_>>();
        Ok(Objects {
            reader: BlobReader::start(folder)?,
            ids,
            kept: Kept {
                prefix,
                meta,
                documents,
            },
        })
    }
}

/// What a revision stands for, and where its objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    folder: PathBuf,
    id: String,
}

/// The files of a repository at a revision.
pub(super) struct Objects {
    /// What is to be indexed.
    pub(super) kept: Kept,
    reader: BlobReader,
    ids: Vec<String>,
}

impl Objects {
    /// What reads a document, apart from the list of them.
    pub(super) fn split(
        self,
    ) -> (
        Kept,
        impl FnMut(&KeptDocument) -> Result<Vec<u8>, ReadError>,
    ) {
        let Self {
            kept,
            mut reader,
            ids,
        } = self;
        let by_path: std::collections::BTreeMap<String, String> = kept
            .documents
            .iter()
            .map(|document| document.path.clone())
            .zip(ids)
            .collect();
        let limit = Limits::default().file_bytes;
        let read = move |document: &KeptDocument| {
            let id = by_path.get(&document.path).map_or("", String::as_str);
            let bytes = reader
                .read(id, limit)
                .map_err(|source| ReadError::Io { source })?;
            if bytes.starts_with(LFS_POINTER) {
                return Err(ReadError::Broken {
                    format: "file",
                    reason: "it is kept outside of the repository, by Git LFS".to_owned(),
                });
            }
            Ok(bytes)
        };
        (kept, read)
    }
}

/// A file of a revision.
struct Entry {
    id: String,
    size_bytes: u64,
    path: String,
}

/// A file of the list that `ls-tree -l` gives; links and submodules are none.
fn entry(line: &[u8]) -> Option<Entry> {
    let line = String::from_utf8_lossy(line);
    let (facts, path) = line.split_once('\t')?;
    let facts: Vec<&str> = facts.split_whitespace().collect();
    let [mode, "blob", id, size] = facts[..] else {
        return None;
    };
    mode.starts_with("100").then_some(Entry {
        id: id.to_owned(),
        size_bytes: size.parse().ok()?,
        path: path.to_owned(),
    })
}

impl Entry {
    /// Its document; none where its name says that it is none, or hides it.
    fn document(self, prefix: &str) -> Option<(String, KeptDocument)> {
        let is_hidden = self.path.split('/').any(|part| part.starts_with('.'));
        let format = Format::of_name(Path::new(&self.path)).filter(|_| !is_hidden)?;
        let document = KeptDocument {
            path: format!("{prefix}{}", self.path),
            format,
            size_bytes: self.size_bytes,
            mark: Sha256::digest(format!("blob {}", self.id)).into(),
        };
        Some((self.id, document))
    }
}

/// Gives the bytes of objects, one after the other.
struct BlobReader {
    child: Child,
    ask: Option<ChildStdin>,
    answer: BufReader<ChildStdout>,
}

impl BlobReader {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut command = git(folder);
        command.args(["cat-file", "--batch"]).stdin(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().context(NO_GIT)?;
        let ask = child.stdin.take();
        let answer = child.stdout.take().context("git has no output")?;
        Ok(Self {
            child,
            ask,
            answer: BufReader::new(answer),
        })
    }

    fn read(&mut self, id: &str, limit: u64) -> std::io::Result<Vec<u8>> {
        let broken = |what: &str| std::io::Error::other(format!("git gives {what}"));
        let ask = self.ask.as_mut().ok_or_else(|| broken("no answer"))?;
        writeln!(ask, "{id}")?;
        ask.flush()?;
        let mut head = String::new();
        self.answer.read_line(&mut head)?;
        let size = head
            .trim_end()
            .rsplit_once(" blob ")
            .and_then(|(_, size)| size.parse().ok());
        let size: u64 = size.ok_or_else(|| broken("no such object"))?;
        if size > limit {
            // The rest of the answer would be taken for the next one.
            self.ask = None;
            return Err(broken("more than it said"));
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(std::io::Error::other)?];
        self.answer.read_exact(&mut bytes)?;
        self.answer.read_exact(&mut [0])?;
        Ok(bytes)
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        // Without questions it ends by itself.
        self.ask = None;
        let _ = self.child.wait();
    }
}

const NO_GIT: &str = "cannot run git, which reads repositories\nhint: install it, \
                      https://git-scm.com, and see that it is on PATH";

/// The program, told to run nothing else and to ask nobody.
fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    for setting in [
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "submodule.recurse=false",
        "gc.auto=0",
        "maintenance.auto=false",
    ] {
        command.args(["-c", setting]);
    }
    command.arg("--no-replace-objects").arg("-C").arg(folder);
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ASKPASS",
        "SSH_ASKPASS",
    ] {
        command.env_remove(name);
    }
    command
        // What is missing in a folder is not fetched from where its settings say.
        .env("GIT_ALLOW_PROTOCOL", "")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// What the program prints, `limit` bytes at most.
fn output(folder: &Path, arguments: &[&str], limit: u64) -> anyhow::Result<Vec<u8>> {
    output_of(git(folder), folder, arguments, limit)
}

fn output_of(
    mut command: Command,
    folder: &Path,
    arguments: &[&str],
    limit: u64,
) -> anyhow::Result<Vec<u8>> {
    let mut child = command
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .context(NO_GIT)?;
    let errors = child.stderr.take();
    let told = std::thread::spawn(move || {
        let mut told = String::new();
        let _ = errors.map(|errors| errors.take(8 << 10).read_to_string(&mut told));
        told
    });
    let mut bytes = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(limit + 1).read_to_end(&mut bytes)?;
    }
    let status = child.wait()?;
    let told = told.join().unwrap_or_default();
    ensure!(
        bytes.len() as u64 <= limit,
        "{} has too many files",
        folder.display()
    );
    if !status.success() {
        bail!("git {} failed\n{}", arguments[0], told.trim());
    }
    Ok(bytes)
}

/// Fetches a revision without its history; gives the folder that it is in.
fn fetch(address: &str, revision: &str, copies: &Path) -> anyhow::Result<PathBuf> {
    let name = Sha256::digest(format!("{address}@{revision}"));
    let name = name.iter().take(8).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    });
    let folder = copies.join(name);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    if !is_bare(&folder) {
        output(
            &folder,
            &["init", "--quiet", "--bare", "--template="],
            1 << 10,
        )?;
    }
    let reference = format!("+{revision}:{FETCHED}");
    let arguments = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--no-recurse-submodules",
        "--end-of-options",
        address,
        &reference,
    ];
    let mut command = git(&folder);
    command.env("GIT_ALLOW_PROTOCOL", "https:ssh:file");
    if !crate::environment::says_how_git_uses_ssh() {
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    }
    output_of(command, &folder, &arguments, 1 << 10)
        .with_context(|| format!("cannot fetch {revision} of {address}"))?;
    tidy(&folder)?;
    Ok(folder)
}

/// Throws away what earlier fetches have left, where there is much of it.
fn tidy(folder: &Path) -> anyhow::Result<()> {
    let packs = std::fs::read_dir(folder.join("objects/pack"));
    if packs.map_or(0, Iterator::count) > MOST_PACK_FILES {
        output(folder, &["gc", "--quiet", "--prune=now"], 1 << 10)?;
    }
    Ok(())
}

/// Paths of documents begin with the address, and are shown: it must not hold a secret, which over
/// https the user's name may be, too.
fn check_user(address: &str) -> anyhow::Result<()> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Ok(());
    };
    let user = rest
        .split('/')
        .next()
        .and_then(|host| host.rsplit_once('@'));
    ensure!(
        user.is_none_or(|(user, _)| scheme == "ssh" && !user.contains(':')),
        "an address of a repository must not hold a password or token\n\
         hint: Git asks a credential helper for it (git help credentials)"
    );
    Ok(())
}

/// Whether an argument is an address: `https://…`, `ssh://…`, `user@host:path`.
fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let has_scheme = scheme.is_some_and(|s| {
        !s.is_empty()
            && s.chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let host = text.split_once(':').map(|(host, _)| host);
    has_scheme || host.is_some_and(|host| host.contains('@') && !host.contains('/'))
}

fn is_repository(path: &Path) -> bool {
    path.join(".git").exists() || is_bare(path)
}

/// Whether a folder holds a repository itself, without a working tree.
fn is_bare(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("refs").is_dir()
}
