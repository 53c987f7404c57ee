//! Reads the files of a folder that say how text becomes tokens.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use autoglm_token::TokenizerFiles;

use crate::ModelError;
use crate::bytes::in_file;

/// The largest file that is read: the largest known, the `tokenizer.json` of Gemma 3, has 33 MB.
const FILE_LIMIT_BYTES: u64 = 256 << 20;

/// The contents of a folder's tokenizer files, those that it has.
///
/// # Errors
/// A file that is there and cannot be read, or that has more than 256 MiB.
pub fn read_tokenizer_files(folder: &Path) -> Result<TokenizerFiles, ModelError> {
    TokenizerFiles::collect(|name| read(&folder.join(name)))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, ModelError> {
    let open = |source| ModelError::Open {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(open(error)),
    };
    let found_bytes = file.metadata().map_err(open)?.len();
    if found_bytes > FILE_LIMIT_BYTES {
        return Err(in_file(path)(ModelError::LargeFile {
            found_bytes,
            limit_bytes: FILE_LIMIT_BYTES,
        }));
    }
    let mut contents = Vec::new();
    // A file that grows meanwhile is cut, and then broken.
    file.take(FILE_LIMIT_BYTES)
        .read_to_end(&mut contents)
        .map_err(open)?;
    Ok(Some(contents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_there_are_read_and_others_left_out() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.model"), b"IQ== 0\n").unwrap();
        let files = read_tokenizer_files(folder.path()).unwrap();
        assert_eq!(files.tokenizer_model.as_deref(), Some(&b"IQ== 0\n"[..]));
        assert_eq!(files.tokenizer_json, None);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("config.json")).unwrap();
        let error = read_tokenizer_files(folder.path()).unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
    }
}
