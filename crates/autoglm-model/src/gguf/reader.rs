//! A cursor over bytes that nobody vouches for: every read is checked against what is left.

use crate::ModelError;

/// Reads little-endian values from a byte slice, front to back.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The offset of the next byte.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `len` bytes, as part of `what`.
    pub(super) fn take(&mut self, len: u64, what: &'static str) -> Result<&'a [u8], ModelError> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| rest.get(..len))
            .ok_or(ModelError::Truncated {
                what,
                offset: self.at,
                wanted_bytes: len,
                left_bytes: rest.len(),
            })?;
        self.at += taken.len();
        Ok(taken)
    }

    /// The next `N` bytes, as part of `what`.
    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], ModelError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, what)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, ModelError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, ModelError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of things that take at least `smallest_bytes` each, no larger than what is left
    /// can hold.
    pub(super) fn count(
        &mut self,
        smallest_bytes: usize,
        what: &'static str,
    ) -> Result<usize, ModelError> {
        let count = self.u64(what)?;
        let limit = (self.left() / smallest_bytes) as u64;
        if count > limit {
            return Err(ModelError::Count { what, count, limit });
        }
        Ok(count as usize)
    }

    /// A length and that many bytes.
    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a [u8], ModelError> {
        let len = self.u64(what)?;
        self.take(len, what)
    }

    /// A key or name: UTF-8 of at most `limit_bytes`.
    pub(super) fn name(
        &mut self,
        limit_bytes: u64,
        what: &'static str,
    ) -> Result<&'a str, ModelError> {
        let offset = self.at;
        let found_bytes = self.u64(what)?;
        if found_bytes > limit_bytes {
            return Err(ModelError::LongName {
                what,
                offset,
                found_bytes,
                limit_bytes,
            });
        }
        let bytes = self.take(found_bytes, what)?;
        std::str::from_utf8(bytes).map_err(|_| ModelError::NotUtf8 { what, offset })
    }
}
