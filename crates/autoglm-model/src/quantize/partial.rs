//! A file that grows tensor by tensor beside its future place, with a journal that says which
//! tensors are whole, so that an interrupted run goes on where it was.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::ModelError;
use crate::gguf::writer::Plan;

/// Bytes that are read at once when finished tensors are checked.
const CHECK_BYTES: usize = 1 << 20;

/// The file in the making.
pub(super) struct Partial {
    target: PathBuf,
    path: PathBuf,
    journal_path: PathBuf,
    file: File,
    journal: File,
    hash: Sha256,
}

impl Partial {
    /// Begins a file, or goes on with one that was begun: returns it with the number of tensors
    /// that are whole. `identity` says what goes into the file; a file that was begun from
    /// something else is begun anew.
    pub(super) fn open(
        target: &Path,
        plan: &Plan,
        identity: &str,
    ) -> Result<(Self, usize), ModelError> {
        let (path, journal_path) = (beside(target, ".part"), beside(target, ".part.journal"));
        let journal = open_file(&journal_path)?;
        match journal.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ModelError::BeingWritten {
                    path: target.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(cannot_write(&journal_path, source)),
        }
        let mut partial = Self {
            target: target.to_owned(),
            file: open_file(&path)?,
            path,
            journal_path,
            journal,
            hash: Sha256::new(),
        };
        let done = partial
            .resume(plan, &title(plan, identity))
            .map_err(|source| partial.failed(source))?;
        Ok((partial, done))
    }

    /// Keeps what is whole, drops the rest, and stands behind it.
    fn resume(&mut self, plan: &Plan, title: &str) -> io::Result<usize> {
        let lines: Vec<String> = BufReader::new(&self.journal)
            .lines()
            .map_while(Result::ok)
            .collect();
        let same = lines.first().is_some_and(|line| line == title);
        let done = if same {
            self.whole(plan, &lines[1..])?
        } else {
            0
        };
        let end = match done {
            0 => 0,
            done => plan.tensors[done - 1].end(),
        };
        truncate(&mut self.file, end)?;
        if end == 0 {
            self.file.write_all(&plan.head)?;
        }
        truncate(&mut self.journal, 0)?;
        let kept =
            std::iter::once(title).chain(lines.iter().skip(1).take(done).map(String::as_str));
        let text: String = kept.flat_map(|line| [line, "\n"]).collect();
        self.journal.write_all(text.as_bytes())?;
        Ok(done)
    }

    /// How many tensors are as the journal says. The first one's hash covers the head too.
    fn whole(&mut self, plan: &Plan, lines: &[String]) -> io::Result<usize> {
        self.file.rewind()?;
        let mut start = 0;
        for (done, (line, tensor)) in lines.iter().zip(&plan.tensors).enumerate() {
            let (mut hash, mut left) = (Sha256::new(), tensor.end() - start);
            let mut buffer = vec![0; CHECK_BYTES];
            while left > 0 {
                let part = &mut buffer[..left.min(CHECK_BYTES as u64) as usize];
                match self.file.read_exact(part) {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(done),
                    outcome => outcome?,
                }
                hash.update(&part);
                left -= part.len() as u64;
            }
            if *line != hex(hash) {
                return Ok(done);
            }
            start = tensor.end();
        }
        Ok(lines.len().min(plan.tensors.len()))
    }

    /// Adds bytes of the tensor that is being written; `head` goes before the first one's.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        self.hash.update(bytes);
        self.file
            .write_all(bytes)
            .map_err(|source| self.failed(source))
    }

    /// Counts the file's head into the first tensor's hash.
    pub(super) fn count_head(&mut self, head: &[u8]) {
        self.hash.update(head);
    }

    /// Notes that a tensor is whole. Whether its bytes reached the disk the hash will tell.
    pub(super) fn finish_tensor(&mut self) -> Result<(), ModelError> {
        let line = hex(std::mem::take(&mut self.hash)) + "\n";
        self.journal
            .write_all(line.as_bytes())
            .map_err(|source| self.failed(source))
    }

    /// Gives the whole file its name.
    pub(super) fn finish(self) -> Result<(), ModelError> {
        self.file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.path, &self.target))
            .map_err(|source| cannot_write(&self.target, source))?;
        // The file is whole and in its place; a journal that stays does no harm.
        let _ = std::fs::remove_file(&self.journal_path);
        Ok(())
    }

    fn failed(&self, source: io::Error) -> ModelError {
        cannot_write(&self.path, source)
    }
}

fn cannot_write(path: &Path, source: io::Error) -> ModelError {
    ModelError::Write {
        path: path.to_owned(),
        source,
    }
}

fn open_file(path: &Path) -> Result<File, ModelError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|source| cannot_write(path, source))
}

fn truncate(file: &mut File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() != len {
        file.set_len(len)?;
    }
    file.seek(SeekFrom::Start(len)).map(drop)
}

/// `.NAME` with an ending, in the same folder.
fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(ending);
    target.with_file_name(name)
}

/// The journal's first line: everything that the bytes of the file depend on.
fn title(plan: &Plan, identity: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(&plan.head);
    hash.update(identity);
    hash.update(env!("CARGO_PKG_VERSION"));
    format!("quantize {}", hex(hash))
}

fn hex(hash: Sha256) -> String {
    let digits = hash.finalize();
    digits.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
