//! Files that gzip has packed, as packages have their documents.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::{Limits, ReadError};

/// Whether a file is packed.
pub(super) fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 8])
}

/// The file that is packed in another one.
///
/// # Errors
/// A file that is damaged or larger than the limit.
pub(super) fn unpack(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, ReadError> {
    let limit = limits.unpacked_bytes as u64;
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(bytes)
        .take(limit + 1)
        .read_to_end(&mut unpacked);
    let read = read.map_err(|error| ReadError::Broken {
        format: "gzip",
        reason: error.to_string(),
    })?;
    if read as u64 > limit {
        return Err(ReadError::TooLarge {
            what: "bytes unpacked",
            given: read as u64,
            limit,
        });
    }
    Ok(unpacked)
}
