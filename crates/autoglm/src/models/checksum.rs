//! SHA-256 of files, while they are written and afterwards.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::StoreError;
use super::talk::Bar;

/// Large enough that a call costs nothing, small enough for the second-level cache.
const CHUNK_BYTES: usize = 256 << 10;

/// A writer that hashes what goes through it.
pub struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
    written_bytes: u64,
}

impl<W: Write> HashingWriter<W> {
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            written_bytes: 0,
        }
    }

    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// The writer within and the hash of everything that was written.
    pub fn finish(self) -> (W, String) {
        (self.inner, hexadecimal(&self.hash.finalize()))
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.written_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The SHA-256 of files, one behind the other, in hexadecimal.
pub fn sha256(paths: &[PathBuf], bar: &Bar<'_>) -> Result<String, StoreError> {
    let mut hash = Sha256::new();
    let mut done = 0;
    for path in paths {
        let add = |bytes: &[u8]| {
            hash.update(bytes);
            done += bytes.len() as u64;
            bar.set(done);
        };
        read_all(path, add).map_err(StoreError::io("read", path))?;
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// Calls `add` with all bytes of a file, some at a time.
fn read_all(path: &Path, mut add: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(()),
            n => add(&chunk[..n]),
        }
    }
}

/// Two digits for each byte.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // A `String` takes whatever it is given.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
