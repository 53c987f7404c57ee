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

    /// Gives the pages of a part of the file back to the system, which reads them again when they
    /// are touched again. Nothing happens for bytes of other memory, and on systems other than
    /// Unix.
    pub fn release(&self, part: &[u8]) {
        #[cfg(all(unix, not(miri)))]
        if let Some(offset) = self.offset_of(part) {
            // SAFETY: the pages belong to a read-only map of a file, so that what is read after
            // this are the bytes of the file, as before.
            let released = unsafe {
                self.map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    offset,
                    part.len(),
                )
            };
            // Where the system refuses, the pages stay until the map is dropped.
            drop(released);
        }
        #[cfg(not(all(unix, not(miri))))]
        let _ = part;
    }

    /// Where a part lies in the file; `None` for bytes of other memory and for no bytes.
    #[cfg(all(unix, not(miri)))]
    fn offset_of(&self, part: &[u8]) -> Option<usize> {
        let (file, part) = (self.map.as_ptr_range(), part.as_ptr_range());
        let inside = file.start <= part.start && part.end <= file.end && part.start < part.end;
        inside.then(|| part.start.addr() - file.start.addr())
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
    fn released_bytes_are_there_again_when_they_are_read() {
        let path = std::env::temp_dir().join(format!("autoglm-release-{}", std::process::id()));
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let map = MappedFile::open(&path).unwrap();
        for part in [0..100_000, 5_000..70_001, 99_999..100_000, 7..7] {
            assert_eq!(&*map, bytes);
            map.release(&map[part]);
        }
        map.release(&bytes);
        assert_eq!(&*map, bytes);
        std::fs::remove_file(&path).unwrap();
    }

    /// How much of a file's map is in memory, in KiB.
    #[cfg(target_os = "linux")]
    fn resident_kib(path: &Path) -> usize {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let of_file = maps
            .split_once(path.to_str().unwrap())
            .map(|(_, rest)| rest)
            .unwrap();
        let line = of_file.lines().find_map(|line| line.strip_prefix("Rss:"));
        let size = line.unwrap().trim().trim_end_matches(" kB");
        size.parse().unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn released_bytes_take_no_memory() {
        let path = std::env::temp_dir().join(format!("autoglm-resident-{}", std::process::id()));
        std::fs::write(&path, vec![1; 4 << 20]).unwrap();
        let map = MappedFile::open(&path).unwrap();
        assert_eq!(
            map.iter().map(|byte| usize::from(*byte)).sum::<usize>(),
            4 << 20
        );
        assert!(resident_kib(&path) >= 4 << 10);
        map.release(&map[..1 << 20]);
        // At least this MiB: the system may take back a whole huge page.
        assert!(resident_kib(&path) <= 3 << 10);
        map.release(&map);
        assert_eq!(resident_kib(&path), 0);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_folder_is_refused() {
        let error = MappedFile::open(&std::env::temp_dir()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
