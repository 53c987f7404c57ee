//! A file's bytes in memory without reading them: the one place where a file is mapped.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// A whole file, mapped read-only. Pages are read from disk when they are first touched.
///
/// The file must not be shortened while it is mapped: touching a page that no longer exists ends
/// the process with `SIGBUS`, as with every program that maps files. Replace a weight file by
/// renaming a new one over it, never by writing into it.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// What the operating system says when the file cannot be opened or mapped, and
    /// [`io::ErrorKind::InvalidInput`] for anything that is not a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        let file = File::open(path)?;
        // SAFETY: the map is read-only and private, and nothing in this process writes to the
        // file. Another process that changes the bytes can change what a reader sees, so readers
        // check what they take from the map when they use it; one that shortens the file ends
        // this process, which the type's documentation says.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map })
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_shows_the_files_bytes() {
        let path = std::env::temp_dir().join(format!("autoglm-map-{}", std::process::id()));
        std::fs::write(&path, b"weights").unwrap();
        assert_eq!(&*MappedFile::open(&path).unwrap(), b"weights");
        std::fs::write(&path, b"").unwrap();
        assert!(MappedFile::open(&path).unwrap().is_empty());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            MappedFile::open(&path).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn a_folder_is_refused() {
        let error = MappedFile::open(&std::env::temp_dir()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
