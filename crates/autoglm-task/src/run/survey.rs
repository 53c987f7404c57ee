//! What can be known of an input before it is run: its content's hash and how many records it has.

use std::fmt::Write as _;
use std::io::{self, BufReader, Read};

use sha2::{Digest, Sha256};

use crate::TaskError;
use crate::records::{InputFormat, count_records};

/// What is known of an input beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// SHA-256 of the content in hexadecimal.
    pub fingerprint: String,
    /// Records, malformed ones included.
    pub records: u64,
}

/// Reads an input once to its end.
///
/// # Errors
/// When it cannot be read.
pub fn survey(input: impl Read, format: InputFormat) -> Result<Survey, TaskError> {
    let mut hashing = Hashing {
        input,
        hash: Sha256::new(),
    };
    let records = count_records(BufReader::with_capacity(1 << 20, &mut hashing), format)
        .map_err(|source| TaskError::Input { source })?;
    Ok(Survey {
        fingerprint: hexadecimal(&hashing.hash.finalize()),
        records,
    })
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

struct Hashing<R> {
    input: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
